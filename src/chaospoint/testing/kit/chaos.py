"""Arm faults for one test, count calls, stage races, and check the test at its end.

The pytest fixture ``chaos`` returns a `Chaos`; tests without pytest enter one by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakSet

from chaospoint import _environ
from chaospoint._kernel.chance import draw_seed
from chaospoint._kernel.names import is_glob, matches
from chaospoint._kernel.quantity import quantity
from chaospoint._kernel.reporting import warn
from chaospoint._registry.handle import Armed
from chaospoint._registry.registry import Registry, default_registry
from chaospoint._registry.unreached import obstacle
from chaospoint.arming import arm_from, plan_of
from chaospoint.errors import ChaosError, UnknownPoint
from chaospoint.plan.shorthand import SHORT_KEYS
from chaospoint.testing.clocks.skipping import SkippingClock, skipping
from chaospoint.testing.kit.block import Block
from chaospoint.testing.kit.held_until import HeldUntil
from chaospoint.testing.kit.leftovers import Leftovers
from chaospoint.testing.kit.limit import PauseLimit, check_seconds
from chaospoint.testing.kit.verdict import by_chance, fired, held, nearest_of, reached, unfired
from chaospoint.testing.kit.watch import Watch

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, Unpack

    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.injection import Injection
    from chaospoint._kernel.point import Point
    from chaospoint.plan.plan import Plan
    from chaospoint.plan.rule import Keys, Rule

__all__ = ["Chaos"]

_TIMEOUT = 10.0  # in seconds
_T = TypeVar("_T")


_active: WeakSet[Chaos] = WeakSet()  # several, because one may be entered within another


class _Arming(NamedTuple):
    """A handle, and whether its rules have to fire."""

    handle: Armed
    must_fire: bool


class Chaos:
    """Arms faults for one test, and checks at its end that each rule fired.

    Write ``with Chaos() as chaos:``, or ``chaos = self.enterContext(Chaos())`` in a
    `unittest.TestCase`; under pytest use the fixture ``chaos``. The end of the block disarms
    everything that the block armed. It raises `AssertionError` if a rule armed here never fired,
    if a call is still paused, if other code left a rule armed or chaospoint disabled, or if
    chaospoint itself had an error. If an exception leaves the block, a note on it gives
    these problems and the seed, if there is a problem or something was armed.

    ``seed``: the seed of rules and plans that have none; if None, the value of
    ``CHAOSPOINT_SEED``, or a random one. ``must_fire``: the default for `arm`, `armed` and
    `pause`. The methods can be called from any thread; enter and leave the block on the same one.
    """

    def __init__(
        self, *, registry: Registry | None = None, seed: int | None = None, must_fire: bool = True
    ) -> None:
        self.registry = default_registry() if registry is None else registry
        given = _environ.seed() if seed is None else seed
        self.seed = draw_seed() if given is None else given
        self._drawn = given is None
        self._must_fire = must_fire
        self._armed: list[_Arming] = []
        self._pauses: list[PauseLimit] = []
        self._orders: list[HeldUntil] = []
        self._blocks: list[Block[Any]] = []
        self._end = ExitStack()
        self._seen: list[Injection] = []
        self._watch: Watch | None = None
        self._ended = False
        self._leftovers: Leftovers | None = None

    def __repr__(self) -> str:
        return f"<Chaos with seed {self.seed}: {quantity(len(self._seen), 'injection')}>"

    # -- arming ---------------------------------------------------------------------------

    def arm(
        self,
        point: str | Point | Rule | Plan,
        text: str | None = None,
        *,
        must_fire: bool | None = None,
        strict: bool = False,
        **keys: Unpack[Keys],
    ) -> Armed:
        """Arm faults until the end of the test; otherwise like `chaospoint.arm`.

        With ``must_fire=False`` the test does not fail if one of these rules never fires. Raises
        the same errors as `chaospoint.arm`.
        """
        self._running_watch()
        plan = plan_of(point, keys, text)
        handle = arm_from("test", plan, self.registry, seed=self.seed, strict=strict)
        self._end.callback(handle.disarm)
        self._armed.append(_Arming(handle, self._must_fire if must_fire is None else must_fire))
        return handle

    def armed(
        self,
        point: str | Point | Rule | Plan,
        text: str | None = None,
        *,
        must_fire: bool | None = None,
        strict: bool = False,
        **keys: Unpack[Keys],
    ) -> Block[Armed]:
        """Arm faults for the length of a ``with`` block; otherwise like `arm`.

        An invalid rule raises here, before the block. The test fails if the block is never
        entered.
        """
        plan = plan_of(point, keys, text)

        @contextmanager
        def arming() -> Iterator[Armed]:
            handle = self.arm(plan, must_fire=must_fire, strict=strict)
            try:
                yield handle
            finally:
                handle.disarm()

        return self._block(f"armed({point!r}, ...)", arming)

    def _block(self, name: str, make: Callable[[], AbstractContextManager[_T]]) -> Block[_T]:
        block = Block(name, make)
        self._blocks.append(block)
        return block

    def disarm(self, pattern: str = "*") -> int:
        """Disarm all rules on a name or glob, from every source; return the number of rules.

        Raises `UnknownPoint` for a name that no point and no rule has.
        """
        if all(rule.pattern != pattern for rule in self.registry.rules()) and pattern != "*":
            self._check_known(pattern)
        return self.registry.disarm(pattern, by="test")

    # -- counts ---------------------------------------------------------------------------

    @property
    def history(self) -> tuple[Injection, ...]:
        """All injections since the test began, oldest first, as a tuple of `Injection`.

        It includes rules from other sources, such as the environment. `injections` counts them.
        """
        return tuple(self._seen)

    def injections(self, point: str) -> int:
        """Return the number of injections in this test at a point, or at all points of a glob.

        Raises `UnknownPoint` if no point matches, so that a misspelt name does not count as 0.
        """
        self._check_known(point)
        return sum(matches(point, injection.point) for injection in self.history)

    def reaches(self, point: str) -> int:
        """Return the number of calls that reached a point, or the points of a glob, in this test.

        Unlike `Armed.reaches`, this counts calls even if no rule was armed.  Raises `UnknownPoint`
        if no point matches.
        """
        self._check_known(point)
        return 0 if self._watch is None else self._watch.reaches(point)

    def _check_known(self, pattern: str) -> None:
        if not self.registry.engine.points.names(pattern):
            raise UnknownPoint(pattern, self.registry.nearest(pattern))

    # -- time and order -------------------------------------------------------------------

    def fake_clock(self) -> Block[SkippingClock]:
        """Skip the waits of faults within a ``with`` block, and record them.

        Latencies, hangs with a limit and expiries pass at once. The timers of asyncio event loops,
        and so ``asyncio.timeout``, see the skipped time as passed. The block returns the clock:
        its ``waits`` lists the recorded seconds, and ``advance(seconds)`` lets time pass.
        """
        return self._block("fake_clock()", lambda: skipping(self.registry))

    def pause(
        self,
        point: str,
        *,
        timeout: float = _TIMEOUT,
        must_fire: bool | None = None,
        **keys: Unpack[Keys],
    ) -> Armed:
        """Hold each call at a point, or at all points of a glob, until `release` is called.

        ``timeout``: the real seconds a call may be held; after that it continues and the test
        fails. ``keys``: which calls are held, such as ``times=1`` or ``where``. Calls in a forked
        child process are not held.
        """
        check_seconds(timeout)
        if wrong := [key for key in ("faults", *SHORT_KEYS, "expires_after") if key in keys]:
            raise ChaosError(
                f"pause() does not take {wrong[0]!r}: it holds calls until they are released; use"
                " arm() for other faults"
            )
        keys["faults"] = [{"kind": "pause"}]
        handle = self.arm(point, must_fire=must_fire, **keys)

        def problem(points: str) -> str:
            return (
                f"a call of {points} was paused and not released within {timeout:g} s, so it"
                " continued: call chaos.release(), or pass pause() a longer timeout"
            )

        self._pauses.append(limit := PauseLimit(handle, timeout, problem))
        self._end.callback(limit.stop)
        return handle

    def wait_until_paused(self, point: str, calls: int = 1, timeout: float = _TIMEOUT) -> None:
        """Block this thread until ``calls`` calls are paused at a point or glob at the same time.

        Raises `TimeoutError`, with the number of paused calls, after ``timeout`` seconds, and
        `ChaosError` if no `pause` is armed there. In a coroutine use `await_until_paused`.
        """
        self._pausing(point).wait_until_paused(calls, timeout)

    async def await_until_paused(
        self, point: str, calls: int = 1, timeout: float = _TIMEOUT
    ) -> None:
        """Wait like `wait_until_paused`, without blocking the event loop."""
        await self._pausing(point).await_until_paused(calls, timeout)

    def _pausing(self, pattern: str) -> Armed:
        rules = [
            rule
            for handle, _ in self._armed
            for rule in handle.rules
            if rule.why is None and any(fault.kind == "pause" for fault in rule.faults)
            if matches(pattern, rule.pattern) or matches(rule.pattern, pattern)
        ]
        if not rules:
            raise ChaosError(f"nothing pauses at {pattern!r}: call pause({pattern!r}) first")
        return Armed(self.registry.engine, rules)

    def release(self, point: str = "*") -> int:
        """Release the calls that are paused now at a point or glob; return the number of calls.

        Raises `UnknownPoint` for a name that no point has.
        """
        if point != "*":
            self._check_known(point)
        return self.registry.release(point)

    def hold(self, point: str, *, until: str, timeout: float = _TIMEOUT) -> None:
        """Hold calls at one point until another point is reached.

        This stages a race: ``hold("cache.read", until="cache.write")``. ``timeout``: the real
        seconds a call may wait; after that it continues and the test fails. The test also fails if
        one of the points is never reached, or if another rule fires at ``point`` first.
        """
        for name in (point, until):
            if is_glob(name):
                raise ChaosError(f"hold() takes names of single points, and {name!r} is a glob")
        if point == until:
            raise ChaosError(
                f"{point!r} cannot wait for itself: pass the name of another point as until="
            )
        check_seconds(timeout)
        if self.registry.find(until) is None:
            near = nearest_of(self.registry.nearest(until))
            warn(f"no point is named {until!r} so far: {point} waits until one is{near}", "test")

        def pause() -> Armed:
            return self.arm(point, faults=[{"kind": "pause"}], must_fire=False)

        order = HeldUntil(self.registry, pause, point, until, timeout)
        self._orders.append(order)
        self._end.callback(order.stop)

    # -- start and end --------------------------------------------------------------------

    def observe(self, injection: Injection) -> None:
        """Record an injection; the registry calls this."""
        self._seen.append(injection)

    def start(self) -> Self:
        """Start counting; `finish` ends it. Raises `ChaosError` if it was started before."""
        if self._watch is not None:
            raise ChaosError(
                "this Chaos was started before, and each serves one test: create a new Chaos()"
            )
        self._watch = Watch(self.registry)
        self._end.callback(self.registry.remove_observer, self)
        self._end.callback(self._watch.stop)
        self._end.callback(_active.discard, self)
        _active.add(self)
        self._watch.start()
        self.registry.add_observer(self)
        return self

    @property
    def active(self) -> bool:
        """Whether it has started and not yet finished."""
        return self._watch is not None and not self._ended

    def finish(self) -> list[str]:
        """Disarm what was armed here, and return the problems of the test, one sentence each.

        Call it once; a second call raises `ChaosError`.
        """
        watch, self._ended = self._running_watch(), True
        problems = held(self.rules)
        self._end.close()
        return [*problems, *self._misuses(watch), *self._unfired(watch)]

    @property
    def rules(self) -> list[ArmedRule]:
        """The rules that were armed here, with their current counts."""
        return [rule for handle, _ in self._armed for rule in handle.rules]

    def _misuses(self, watch: Watch) -> Iterator[str]:
        for block in self._blocks:
            if not block.entered:
                yield f"chaos.{block.name} was never entered: write `with` before it"
        yield from (limit.problem for limit in self._pauses if limit.problem is not None)
        for order in self._orders:
            yield from order.problems(lambda name: nearest_of(self._near(name, watch)))

    def _unfired(self, watch: Watch) -> Iterator[str]:
        for handle, must_fire in self._armed:
            for rule in handle.rules if must_fire else ():
                if not fired(rule):
                    names = self.registry.engine.points.names(rule.pattern)
                    counts = {name: watch.reaches(name) for name in names}
                    cause = obstacle(
                        self.registry.engine.points, rule, names, self.registry.nearest
                    )
                    yield unfired(rule, counts, self._near(rule.pattern, watch), cause)

    def _near(self, pattern: str, watch: Watch) -> list[str]:
        names = [name for name in self.registry.nearest(pattern) if not matches(pattern, name)]
        return [f"{name} ({reached(watch.reaches(name))})" for name in names]

    def _running_watch(self) -> Watch:
        if self._watch is None or self._ended:
            state = "has ended" if self._ended else "has not started"
            raise ChaosError(
                f"a Chaos arms faults only while its test runs, and this test {state}: use the"
                " fixture `chaos`, or arm inside `with Chaos() as chaos:`"
            )
        return self._watch

    def __enter__(self) -> Self:
        leftovers = Leftovers(self.registry)
        self.start()
        self._leftovers = leftovers
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._leftovers is not None
        problems = []
        try:
            problems += self.finish()
        finally:
            outer = [rule for other in _active for rule in other.rules]
            problems += self._leftovers.problems(outer)
        text = "\n".join([*problems, f"repeat it with CHAOSPOINT_SEED={self.seed}"])
        if error is not None and (problems or self._armed):
            error.add_note(text)
        elif error is None and problems:
            raise AssertionError(text)
        elif self._drawn and any(map(by_chance, self.rules)):
            # Always printed, because unittest does not tell the block whether the test failed.
            print(f"chaospoint: repeat it with CHAOSPOINT_SEED={self.seed}", file=sys.stderr)
