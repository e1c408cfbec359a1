"""Faults for the length of one test: armed, counted, put in order, and judged at the end.

What the fixture `chaos` of the pytest plugin is, and what tests without pytest enter by hand.
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

_SECONDS = 10.0  # of patience
_T = TypeVar("_T")


_active: WeakSet[Chaos] = WeakSet()  # one may be entered within another


class _Told(NamedTuple):
    """A handle, and whether its rules have to fire."""

    handle: Armed
    must_fire: bool


class Chaos:
    """Arms faults for one test, and says afterwards what the test did not notice.

    ``with Chaos() as chaos:``, or ``chaos = self.enterContext(Chaos())`` in a
    `unittest.TestCase`; under pytest ask for the fixture ``chaos``. At the end everything that
    was armed meanwhile is disarmed, and `AssertionError` says so if a rule armed here never
    fired, a call is still paused, other code left a rule armed or chaospoint disabled, or
    chaospoint itself had an error. An exception that leaves the block is let through with that,
    and the seed, as a note.

    ``seed``: for rules and plans without one; if None that of ``CHAOSPOINT_SEED``, or drawn.
    ``must_fire``: what holds for rules that do not say it. Its methods are safe from any thread;
    enter and leave it on one.
    """

    def __init__(
        self, *, registry: Registry | None = None, seed: int | None = None, must_fire: bool = True
    ) -> None:
        self.registry = default_registry() if registry is None else registry
        given = _environ.seed() if seed is None else seed
        self.seed = draw_seed() if given is None else given
        self._drawn = given is None
        self._must_fire = must_fire
        self._armed: list[_Told] = []
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
        *,
        must_fire: bool | None = None,
        strict: bool = False,
        **keys: Unpack[Keys],
    ) -> Armed:
        """Arm as `chaospoint.arm` does, until the end of the test.

        ``must_fire=False``: the test does not fail if a rule of these never fires. Raises what
        `chaospoint.arm` raises.
        """
        self._entered()
        plan = plan_of(point, keys)
        handle = arm_from("test", plan, self.registry, seed=self.seed, strict=strict)
        self._end.callback(handle.disarm)
        self._armed.append(_Told(handle, self._must_fire if must_fire is None else must_fire))
        return handle

    def armed(
        self,
        point: str | Point | Rule | Plan,
        *,
        must_fire: bool | None = None,
        strict: bool = False,
        **keys: Unpack[Keys],
    ) -> Block[Armed]:
        """Arm for the length of a ``with`` block; else as `arm`.

        What is wrong with the rule is raised here already, and a block that is never entered
        fails the test.
        """
        plan = plan_of(point, keys)

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
        """Disarm what is armed on a name or glob, of every source; return how many rules.

        Raises `UnknownPoint` for a name that no point and no rule has.
        """
        if all(rule.pattern != pattern for rule in self.registry.rules()) and pattern != "*":
            self._known(pattern)
        return self.registry.disarm(pattern, by="test")

    # -- looking --------------------------------------------------------------------------

    @property
    def history(self) -> tuple[Injection, ...]:
        """The injections of the test so far, in order, of every source."""
        return tuple(self._seen)

    def injections(self, point: str) -> int:
        """Return how many injections there were at a point, or at all that a glob matches.

        Raises `UnknownPoint` if there is no such point: a misspelt name is not 0.
        """
        self._known(point)
        return sum(matches(point, one.point) for one in self.history)

    def reaches(self, point: str) -> int:
        """Return how many calls arrived there in the test, armed or not; else as `injections`."""
        self._known(point)
        return 0 if self._watch is None else self._watch.reaches(point)

    def _known(self, pattern: str) -> None:
        if not self.registry.engine.points.names(pattern):
            raise UnknownPoint(pattern, self.registry.nearest(pattern))

    # -- time and order -------------------------------------------------------------------

    def fake_clock(self) -> Block[SkippingClock]:
        """Have what makes calls wait pass at once within the block, and be recorded.

        Latencies, hangs with a limit and expiries; the timers of asyncio's loops, and so
        ``asyncio.timeout``, see the time that passes. The clock has ``waits`` and ``advance``.
        """
        return self._block("fake_clock()", lambda: skipping(self.registry))

    def pause(
        self,
        point: str,
        *,
        timeout: float = _SECONDS,
        must_fire: bool | None = None,
        **keys: Unpack[Keys],
    ) -> Armed:
        """Hold each call at a point, or at all that a glob matches, until it is released.

        ``timeout``: real seconds that a call may be held, after which it is let go of and the
        test fails. ``keys``: when it fires, such as ``times=1`` or ``where``. A child that is
        forked meanwhile is not paused.
        """
        check_seconds(timeout)
        if wrong := [key for key in ("faults", *SHORT_KEYS, "expires_after") if key in keys]:
            raise ChaosError(
                f"pause() takes no {wrong[0]!r}: it holds calls until they are released; arm other"
                " faults by arm()"
            )
        keys["faults"] = [{"kind": "pause"}]
        handle = self.arm(point, must_fire=must_fire, **keys)

        def said(points: str) -> str:
            return (
                f"a call of {points} was paused, and nobody released it within {timeout:g} s: it"
                " went on then; call release(), or pause(..., timeout=...) for longer"
            )

        self._pauses.append(limit := PauseLimit(handle, timeout, said))
        self._end.callback(limit.stop)
        return handle

    def wait_until_paused(self, point: str, calls: int = 1, timeout: float = _SECONDS) -> None:
        """Wait until that many calls are paused there at once.

        Raises `TimeoutError` that says what was seen after ``timeout`` seconds, and `ChaosError`
        if nothing pauses there. Blocks the thread: in a coroutine use `await_until_paused`.
        """
        self._pausing(point).wait_until_paused(calls, timeout)

    async def await_until_paused(
        self, point: str, calls: int = 1, timeout: float = _SECONDS
    ) -> None:
        """Wait in a coroutine as `wait_until_paused` does on a thread."""
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
        """Release the calls that are paused there now, and return how many.

        Raises `UnknownPoint` for a name that no point has.
        """
        if point != "*":
            self._known(point)
        return self.registry.release(point)

    def hold(self, point: str, *, until: str, timeout: float = _SECONDS) -> None:
        """Have calls at one point wait until another point is reached, from now on.

        So a race can be staged: ``hold("cache.read", until="cache.write")``. ``timeout``: real
        seconds that a call may wait, after which it goes on and the test fails, as it does if one
        of the two is never reached, or another rule lets a call by.
        """
        for name in (point, until):
            if is_glob(name):
                raise ChaosError(f"{name!r} is a glob: say which point waits for which")
        if point == until:
            raise ChaosError(
                f"{point!r} cannot wait for itself: say which other point it waits for"
            )
        check_seconds(timeout)
        if self.registry.find(until) is None:
            near = nearest_of(self.registry.nearest(until))
            warn(f"no point is named {until!r} so far: {point} waits for one{near}", "test")

        def pause() -> Armed:
            return self.arm(point, faults=[{"kind": "pause"}], must_fire=False)

        order = HeldUntil(self.registry, pause, point, until, timeout)
        self._orders.append(order)
        self._end.callback(order.stop)

    # -- beginning and end ----------------------------------------------------------------

    def observe(self, injection: Injection) -> None:
        """Take note of an injection; `Registry` calls this."""
        self._seen.append(injection)

    def start(self) -> Self:
        """Begin to look and to count; `finish` ends it."""
        if self._watch is not None:
            raise ChaosError("a Chaos is for one test, and this one has begun: make another")
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
        """Whether it has begun and not ended."""
        return self._watch is not None and not self._ended

    def finish(self) -> list[str]:
        """Disarm what was armed here, and say what is wrong, a problem each; once."""
        watch, self._ended = self._entered(), True
        problems = held(self.rules)
        self._end.close()
        return [*problems, *self._unended(watch), *self._unfired(watch)]

    @property
    def rules(self) -> list[ArmedRule]:
        """The rules that were armed here, as they stand."""
        return [rule for handle, _ in self._armed for rule in handle.rules]

    def _unended(self, watch: Watch) -> Iterator[str]:
        for block in self._blocks:
            if not block.entered:
                yield f"chaos.{block.name} was made and never entered: write `with` before it"
        yield from (limit.problem for limit in self._pauses if limit.problem is not None)
        for order in self._orders:
            yield from order.problems(lambda name: nearest_of(self._near(name, watch)))

    def _unfired(self, watch: Watch) -> Iterator[str]:
        for handle, must_fire in self._armed:
            for rule in handle.rules if must_fire else ():
                if not fired(rule):
                    names = self.registry.engine.points.names(rule.pattern)
                    counts = {name: watch.reaches(name) for name in names}
                    why = obstacle(self.registry.engine.points, rule, names, self.registry.nearest)
                    yield unfired(rule, counts, self._near(rule.pattern, watch), why)

    def _near(self, pattern: str, watch: Watch) -> list[str]:
        names = [name for name in self.registry.nearest(pattern) if not matches(pattern, name)]
        return [f"{name} ({reached(watch.reaches(name))})" for name in names]

    def _entered(self) -> Watch:
        if self._watch is None or self._ended:
            ended = "its test has ended" if self._ended else "it has not begun"
            raise ChaosError(
                f"a Chaos arms for the length of its test, and {ended}: take the fixture `chaos`, "
                "or `with Chaos() as chaos:`, and arm before the test's end"
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
            around = [rule for other in _active for rule in other.rules]
            problems += self._leftovers.problems(around)
        text = "\n".join([*problems, f"repeat it with CHAOSPOINT_SEED={self.seed}"])
        if error is not None and (problems or self._armed):
            error.add_note(text)
        elif error is None and problems:
            raise AssertionError(text)
        elif self._drawn and any(map(by_chance, self.rules)):
            # unittest does not tell a block that it entered how the test came out.
            print(f"chaospoint: repeat it with CHAOSPOINT_SEED={self.seed}", file=sys.stderr)
