"""Faults for the length of one test: armed, counted, put in order, and judged at the end.

What the fixture `chaos` of the pytest plugin is, and what tests without pytest enter by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from chaospoint import _environ
from chaospoint._armed import Armed
from chaospoint._draw import draw_seed
from chaospoint._names import is_glob, matches
from chaospoint._registry import Registry, default_registry
from chaospoint.arming import arm_from, plan_of
from chaospoint.errors import ChaosError, UnknownPoint
from chaospoint.testing._guard import Guard
from chaospoint.testing._limit import Hold, PauseLimit, check_seconds
from chaospoint.testing._skipping_clock import SkippingClock, skipping
from chaospoint.testing._verdict import fired, held, nearest_of, reached, unfired
from chaospoint.testing._watch import Watch

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, Unpack

    from chaospoint._injection import Injection
    from chaospoint._point import Point
    from chaospoint.plan import Keys, Plan, Rule

__all__ = ["Chaos"]

_SECONDS = 10.0  # of patience


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
        self._must_fire = must_fire
        self._armed: list[_Told] = []
        self._limits: list[PauseLimit | Hold] = []
        self._seen: list[Injection] = []
        self._watch: Watch | None = None
        self._ended = False
        self._guard: Guard | None = None

    def __repr__(self) -> str:
        return f"<Chaos with seed {self.seed}: {len(self._seen)} injections>"

    # -- arming ---------------------------------------------------------------------------

    def arm(
        self,
        target: str | Point | Rule | Plan,
        /,
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
        plan = plan_of(target, keys)
        handle = arm_from("test", plan, self.registry, seed=self.seed, strict=strict)
        self._armed.append(_Told(handle, self._must_fire if must_fire is None else must_fire))
        return handle

    @contextmanager
    def armed(
        self,
        target: str | Point | Rule | Plan,
        /,
        *,
        must_fire: bool | None = None,
        strict: bool = False,
        **keys: Unpack[Keys],
    ) -> Iterator[Armed]:
        """Arm for the length of a ``with`` block; else as `arm`."""
        handle = self.arm(target, must_fire=must_fire, strict=strict, **keys)
        try:
            yield handle
        finally:
            handle.disarm()

    def disarm(self, pattern: str = "*") -> int:
        """Disarm what is armed on a name or glob, whoever armed it; return how many rules."""
        return self.registry.disarm(pattern, by="test")

    # -- looking --------------------------------------------------------------------------

    @property
    def history(self) -> tuple[Injection, ...]:
        """The injections of the test so far, in order, whoever armed them."""
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
        if not self.registry.board.names(pattern):
            raise UnknownPoint(pattern, self.registry.nearest(pattern))

    # -- time and order -------------------------------------------------------------------

    def fake_clock(self) -> AbstractContextManager[SkippingClock]:
        """Have what makes calls wait pass at once within the block, and be recorded.

        Latencies, hangs with a limit and expiries; the timers of asyncio's loops, and so
        ``asyncio.timeout``, see the time that passes. The clock has ``waits`` and ``advance``.
        """
        return skipping(self.registry)

    def pause(
        self,
        point: str,
        /,
        *,
        timeout: float = _SECONDS,
        must_fire: bool | None = None,
        **keys: Unpack[Keys],
    ) -> Armed:
        """Hold each call at a point, or at all that a glob matches, until it is released.

        ``timeout``: real seconds from now, after which they are let go of and the test fails.
        ``keys``: those of a rule, such as ``times=1`` or ``where``.
        """
        if "faults" in keys:
            raise ChaosError("pause() holds calls: arm other faults by arm(), leave `faults` out")
        check_seconds(timeout)
        keys["faults"] = [{"kind": "pause"}]
        handle = self.arm(point, must_fire=must_fire, **keys)
        self._limits.append(PauseLimit(handle, timeout))
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
        return Armed(self.registry.board, rules)

    def release(self, point: str = "*") -> int:
        """Let go of the calls that are paused there now, and return how many."""
        return self.registry.release(point)

    def hold(self, point: str, /, *, until: str, timeout: float = _SECONDS) -> None:
        """Have calls at one point wait until another point is reached, from now on.

        So a race can be staged: ``hold("cache.read", until="cache.write")``. ``timeout``: real
        seconds from now, after which they go on and the test fails, as it does if one of the two
        is never reached.
        """
        for name in (point, until):
            if is_glob(name):
                raise ChaosError(f"{name!r} is a glob: say which point waits for which")
        check_seconds(timeout)
        handle = self.arm(point, faults=[{"kind": "pause"}], must_fire=False)
        self._limits.append(Hold(self.registry, handle, point, until, timeout))

    # -- beginning and end ----------------------------------------------------------------

    def observe(self, injection: Injection) -> None:
        """Take note of an injection; `Registry` calls this."""
        self._seen.append(injection)

    def start(self) -> Self:
        """Begin to look and to count; `finish` ends it."""
        if self._watch is not None:
            raise ChaosError("a Chaos is for one test, and this one has begun: make another")
        self._watch = Watch(self.registry)
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
        rules = [rule for handle, _ in self._armed for rule in handle.rules]
        problems = held(rules)
        for handle, _ in self._armed:
            handle.disarm()
        for limit in self._limits:
            limit.stop()
        watch.stop()
        self.registry.remove_observer(self)
        return [*problems, *self._unended(watch), *self._unfired(watch)]

    def _unended(self, watch: Watch) -> Iterator[str]:
        for limit in self._limits:
            if limit.problem is not None:
                near = self._near(limit.until, watch) if isinstance(limit, Hold) else ()
                yield limit.problem + nearest_of(near)
            elif isinstance(limit, Hold):
                for name in (limit.point, limit.until):
                    if not limit.reaches(name):
                        yield (
                            f"{limit.point} was to wait for {limit.until}, and {name!r} was never "
                            f"reached after that{nearest_of(self._near(name, watch))}"
                        )

    def _unfired(self, watch: Watch) -> Iterator[str]:
        for handle, must_fire in self._armed:
            for rule in handle.rules if must_fire else ():
                if not fired(rule):
                    names = self.registry.board.names(rule.pattern)
                    counts = {name: watch.reaches(name) for name in names}
                    yield unfired(rule, counts, self._near(rule.pattern, watch))

    def _near(self, pattern: str, watch: Watch) -> list[str]:
        names = [name for name in self.registry.nearest(pattern) if not matches(pattern, name)]
        return [f"{name} ({reached(watch.reaches(name))})" for name in names]

    def _entered(self) -> Watch:
        if self._watch is None or self._ended:
            raise ChaosError(
                "a Chaos arms within its test only: use it as `with Chaos() as chaos:`"
            )
        return self._watch

    def __enter__(self) -> Self:
        guard = Guard(self.registry)
        self.start()
        self._guard = guard
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._guard is not None
        problems = [*self.finish(), *self._guard.problems()]
        text = "\n".join([*problems, f"repeat it with CHAOSPOINT_SEED={self.seed}"])
        if error is not None and (problems or self._armed):
            error.add_note(text)
        elif error is None and problems:
            raise AssertionError(text)
