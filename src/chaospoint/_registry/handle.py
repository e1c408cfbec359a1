"""The handle of the rules that one call of ``arm`` armed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from chaospoint._kernel.bell import Bell, TaskBell
from chaospoint._kernel.context import transparently
from chaospoint._kernel.quantity import quantity

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.clock import Clock
    from chaospoint._registry.disarming import Disarming

__all__ = ["Armed"]

_sum = sum  # bound early, because the program may place a point on `sum`


class Armed:
    """A handle of rules that were armed together: their counts, waits, and a way to disarm them.

    Safe to use from any thread.  The counts remain after disarming.
    """

    __module__ = "chaospoint"

    __slots__ = ("_engine", "rules")

    def __init__(self, engine: Disarming, rules: Sequence[ArmedRule]) -> None:
        self._engine = engine
        self.rules = tuple(rules)

    def __repr__(self) -> str:
        texts = "; ".join(rule.shown for rule in self.rules)
        return f"<Armed {texts}: {self._counted}>"

    @property
    def _counted(self) -> str:
        injections, reaches = self.injections, self.reaches
        return f"{quantity(injections, 'injection')} in {quantity(reaches, 'reach', 'reaches')}"

    @property
    def injections(self) -> int:
        """The number of injections by these rules."""
        return _sum(rule.injections for rule in self.rules)

    @property
    def reaches(self) -> int:
        """The number of reaches in which one of these rules was tried and matched."""
        return _sum(rule.reaches for rule in self.rules)

    @property
    def interrupted(self) -> int:
        """The number of injections that disarming, disabling or expiry ended early."""
        return _sum(rule.interrupted for rule in self.rules)

    @property
    def overflow(self) -> int:
        """The number of calls that passed because ``max_active`` injections were active."""
        return _sum(rule.overflow for rule in self.rules)

    @property
    def paused(self) -> int:
        """The number of calls that a pause holds now."""
        return sum(len(rule.paused) for rule in self.rules)

    def release(self) -> int:
        """Release the calls that are paused now; return their number.

        The faults after the pause then act.  Later calls are paused again.
        """
        return sum(rule.release() for rule in self.rules)

    def disarm(self) -> None:
        """Disarm these rules and wake the calls that they hold; ended rules are ignored."""
        self._engine.remove(self.rules, "disarmed")

    def wait_for(self, *, injections: int = 1, timeout: float = 10.0) -> None:
        """Wait until there were ``injections`` in all; ``timeout`` is in seconds.

        Raises `TimeoutError` with the counts, at once if the rules have ended.  Blocks the thread;
        in a coroutine use `await_for`.
        """
        self._wait(self._injected(injections), timeout)

    async def await_for(self, *, injections: int = 1, timeout: float = 10.0) -> None:
        """Wait in a coroutine as `wait_for` does on a thread."""
        await self._await(self._injected(injections), timeout)

    def wait_until_paused(self, calls: int = 1, timeout: float = 10.0) -> None:
        """Wait until a pause holds this many calls at once; otherwise like `wait_for`."""
        self._wait(self._held(calls), timeout)

    async def await_until_paused(self, calls: int = 1, timeout: float = 10.0) -> None:
        """Wait in a coroutine as `wait_until_paused` does on a thread."""
        await self._await(self._held(calls), timeout)

    def _injected(self, wanted: int) -> _Goal:
        return _Goal(f"{wanted} injection{'s' * (wanted != 1)}", lambda: self.injections >= wanted)

    def _held(self, wanted: int) -> _Goal:
        return _Goal(f"{wanted} paused call{'s' * (wanted != 1)}", lambda: self.paused >= wanted)

    def _wait(self, goal: _Goal, timeout: float) -> None:
        clock, bell = self._engine.timer, Bell()
        watch = _Watch(self, goal, timeout, bell, clock.monotonic)
        try:
            _wait(watch, clock, bell)
        finally:
            try:
                watch.end()
            except BaseException:  # a signal handler raised in it
                watch.end()
                raise

    async def _await(self, goal: _Goal, timeout: float) -> None:
        import asyncio  # late, because a program without tasks need not load it

        clock, bell = self._engine.timer, TaskBell(asyncio.get_running_loop())
        watch = _Watch(self, goal, timeout, bell, partial(clock.time_in, bell.loop))
        try:
            await _await(watch, clock, bell)
        finally:
            try:
                watch.end()
            except BaseException:  # a signal handler raised in it
                watch.end()
                raise

    def _there(self, goal: _Goal, left: float, timeout: float) -> bool:
        if goal.reached():
            return True
        seen = self._counted
        if paused := self.paused:
            seen += f", {paused} paused"
        texts = "; ".join(rule.shown for rule in self.rules)
        if all(rule.why is not None for rule in self.rules):
            ends = ", ".join(sorted({str(rule.why) for rule in self.rules}))
            raise TimeoutError(f"waited for {goal.what} of {texts}: {ends} with {seen}")
        if left <= 0.0:
            raise TimeoutError(f"waited {timeout:g} s for {goal.what} of {texts}: saw {seen}")
        return False


class _Goal(NamedTuple):
    """The condition of a wait, and its description."""

    what: str
    reached: Callable[[], bool]


class _Watch:
    """Checks a goal, and rings a bell whenever the counts of the rules change."""

    def __init__(
        self,
        handle: Armed,
        goal: _Goal,
        timeout: float,
        bell: Bell | TaskBell,
        now: Callable[[], float],
    ) -> None:
        self._handle = handle
        self._goal = goal
        self._timeout = timeout
        self._bell = bell
        self._now = now
        self._deadline = now() + timeout

    @property
    def left(self) -> float:
        """The seconds until the timeout."""
        return self._deadline - self._now()

    def goes_on(self) -> bool:
        """Return whether to wait; later changes ring the bell."""
        self._bell.clear()
        for rule in self._handle.rules:
            rule.watchers.add(self._bell.set)
        return not transparently(self._handle._there, self._goal, self.left, self._timeout)

    def end(self) -> None:
        """Stop ringing the bell."""
        for rule in self._handle.rules:
            rule.watchers.discard(self._bell.set)


# CPython 3.12 and 3.13 leave the jump back of a loop out of the `try` around it, and look for
# signals there, so the loops are in functions of their own.


def _wait(watch: _Watch, clock: Clock, bell: Bell) -> None:
    while watch.goes_on():
        clock.wait(bell, watch.left)


async def _await(watch: _Watch, clock: Clock, bell: TaskBell) -> None:
    while watch.goes_on():
        await clock.await_(bell, watch.left)
