"""One run to learn what is reached, and one for each case: how both are put in force.

Whoever runs the program, `explore` or pytest, enters one of these around the run and looks at it
afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from weakref import ref

from chaospoint._kernel.injection import injection_of
from chaospoint._kernel.names import matcher
from chaospoint._kernel.placement import STATEMENTS
from chaospoint.arming import arm_from
from chaospoint.errors import ChaosError, ChaosWarning
from chaospoint.faults.latency import Latency
from chaospoint.plan.plan import Plan
from chaospoint.testing.clocks.skipping import SkippingClock, skipping
from chaospoint.testing.exploring.cases import Reach
from chaospoint.testing.exploring.result import Outcome, Result
from chaospoint.testing.exploring.time_limit import TimeLimit, can_interrupt
from chaospoint.testing.exploring.unhandled import Unhandled
from chaospoint.testing.kit.watch import Watch

if TYPE_CHECKING:
    from chaospoint._kernel.injection import Injection
    from chaospoint._kernel.placement import Kind, Placed
    from chaospoint._registry.handle import Armed
    from chaospoint._registry.registry import Registry
    from chaospoint.testing.exploring.cases import Case

__all__ = [
    "CaseRun",
    "ControlRun",
    "Recording",
    "cannot_be_seen",
    "none_reached",
    "recording",
    "result_of",
]

_LEAST = 5.0
_TIMES = 20.0
_SHOWN = 5


class Recording:
    """What one run without faults reached, in order, and how long it took (real seconds)."""

    def __init__(self) -> None:
        self.reaches: list[Reach] = []
        self.ends: list[Reach] = []
        self.seconds = 0.0

    @property
    def points(self) -> Counter[str]:
        """The points that were reached, and how often."""
        return Counter(reach.point for reach in self.reaches)

    @property
    def limit(self) -> float:
        """The seconds after which a run with a fault counts as hung."""
        return max(_LEAST, _TIMES * self.seconds)


@contextmanager
def recording(registry: Registry) -> Iterator[Recording]:
    """Record the reaches and the clean ends of what runs in the block, in all its threads."""
    learnt = Recording()
    begun: list[tuple[Placed, Kind]] = []
    ended: list[tuple[Placed, Kind]] = []

    begin = time.perf_counter()
    with (
        Watch(registry, told=lambda *reach: begun.append(reach)),
        Watch(registry, after=True, told=lambda *end: ended.append(end)),
    ):
        try:
            yield learnt
        finally:
            learnt.seconds = time.perf_counter() - begin
            # Now, for what a block declares is known once all blocks of its point were made.
            learnt.reaches = [_reach(registry, *reach) for reach in begun]
            learnt.ends = [_reach(registry, *end) for end in ended]


def _reach(registry: Registry, placed: Placed, kind: Kind) -> Reach:
    # Who looks after a block knows the point, and not the placement that declares.
    point = registry.find(placed.name) if kind in STATEMENTS and not placed.raises else None
    return Reach(placed.name, placed.raises if point is None else point.core.raises)


class ControlRun:
    """One more run without faults: only what comes out alike twice says something under a fault.

    ``with control, control.limit: ...`` as for a `CaseRun`.
    """

    def __init__(self, registry: Registry, learnt: Recording) -> None:
        self.limit = TimeLimit(learnt.limit, "a second run without faults")
        self._first = learnt
        self._second = Recording()
        self._learning = recording(registry)

    def __enter__(self) -> ControlRun:
        self._second = self._learning.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.limit.stop()
        self._learning.__exit__(None, None, None)

    def why_not(self, failed: bool, escaped: BaseException | None) -> str:
        """Say why faults would prove nothing, given whether the run failed and with what."""
        if self.limit.struck:
            return f"not explored: it passes only once, then it hung for {self.limit.seconds:g} s"
        if failed:
            said = _first_line(escaped)
            return "not explored: it passes only once" + (f", then {said}" if said else "")
        return ""

    def left_out(self) -> list[str]:
        """Say what cannot be relied on."""
        said = cannot_be_seen()
        if self.limit.lost:
            said = ["hangs: what runs takes the alarm (SIGALRM) that would end them"]
        first, second = self._first, self._second
        # By number: threads may come in any order.
        if Counter(first.reaches) != Counter(second.reaches) or (
            Counter(first.ends) != Counter(second.ends)
        ):
            said.append("its reaches differ from run to run, without any fault")
        return said


class CaseRun:
    """The fault of one case, in force from `__enter__` to `close`; then what became of it.

    ``with strike, strike.limit: ...``: the limit is apart, so that an alarm that comes while it is
    left finds this block around it. ``acted``: whether the fault happened. ``waited``: the seconds
    that a late answer was waited for, on a clock that skips them; ``in_thread``: in a thread
    without a loop. ``beyond``: the points that were reached more often than when the run was
    learnt, with both numbers. ``unhandled`` stands around it and all else that belongs to the run.
    ``seconds`` of real time end it, those of ``learnt`` if unset.
    """

    def __init__(
        self, registry: Registry, case: Case, learnt: Recording, seconds: float | None = None
    ) -> None:
        self.case = case
        self.learnt = learnt
        self.limit = TimeLimit(learnt.limit if seconds is None else seconds, f"case {case.id}")
        self.unhandled = Unhandled(self._is_ours, self._holds)
        self.beyond: tuple[tuple[str, int, int], ...] = ()
        self.acted = False
        self.in_thread = False
        self.waited: float | None = None
        self.refused = ""  # why it could not be armed
        self._registry = registry
        self._watch = Watch(registry)
        self._handle: Armed | None = None
        self._around = ExitStack()
        self._clock: SkippingClock | None = None
        self._injections: list[Injection] = []
        self._tasks: list[ref[asyncio.Task[object]]] = []  # in which it was injected

    @property
    def hung(self) -> bool:
        """Whether the run had to be ended."""
        return self.limit.struck

    def __enter__(self) -> CaseRun:
        """Arm the case; raises `ChaosError` or a warning if that cannot be done."""
        try:
            self._around.enter_context(_quiet())
            if isinstance(self.case.fault, Latency):
                self._clock = self._around.enter_context(skipping(self._registry))
            self._watch.start()
            self._registry.add_observer(self)
            plan = Plan(rules=[self.case.rule], seed=0)
            self._handle = arm_from("test", plan, self._registry)
            _armed.append(self._handle)
        except BaseException as error:
            if isinstance(error, ChaosError | ChaosWarning):
                self.refused = f"could not be armed: {error}"
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Disarm, and note what happened; no error if it was closed before."""
        self.limit.stop()
        if self._handle is not None:
            handle, self._handle = self._handle, None
            _armed.remove(handle)
            handle.disarm()
            without = self.learnt.points
            self.beyond = tuple(
                (point, without[point], reached)
                for point, reached in sorted(self._watch.counts().items())
                if reached > without[point]
            )
            self.acted = handle.injections > 0
            if self.acted and self._clock is not None:
                self.waited = _rounded(self._clock.skipped)
        self._watch.stop()
        self._registry.remove_observer(self)
        self._around.close()

    def observe(self, injection: Injection) -> None:
        """Note an injection of this case, and where it acts."""
        handle = self._handle
        if handle is not None and injection.rule in [rule.shown for rule in handle.rules]:
            self._injections.append(injection)
            self.in_thread = asyncio._get_running_loop() is None
            if not self.in_thread and (task := asyncio.current_task()) is not None:
                self._tasks.append(ref(task))

    def _holds(self) -> bool:
        """Whether a task that it hit has ended and is still there, with what nobody took of it."""
        tasks = [task() for task in self._tasks]
        return any(task is not None and task.done() for task in tasks)

    def _is_ours(self, error: BaseException) -> bool:
        # By identity: an error of an earlier case may come to light in this one.
        found = injection_of(error)
        return any(found is one for one in self._injections)


_armed: list[Armed] = []


def _disarm_in_child() -> None:
    """A child has counts of its own, so its n-th reach would be failed as well."""
    for handle in _armed:
        handle.disarm()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disarm_in_child)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop the lines that say what is armed and injected: none is of the program."""
    log = logging.getLogger("chaospoint")
    log.addFilter(_errors_only)
    try:
        yield
    finally:
        log.removeFilter(_errors_only)


def _errors_only(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _rounded(skipped: float) -> float:
    # The clock goes on while it skips: some milliseconds of each wait have really passed.
    return round(skipped, 1 if skipped < 10.0 else 0)


def result_of(case_run: CaseRun, escaped: BaseException | None, where: str = "") -> Result:
    """Return what became of a case, given what came out of its run."""
    case = case_run.case
    if escaped is None and case_run.unhandled.found:
        escaped, where = case_run.unhandled.found[0]
    outcome: Outcome = "handled"
    said = reason = ""
    if not case_run.acted:
        outcome = "left out"
        reason = case_run.refused or "not reached again"
        if not case_run.refused and (escaped is not None or case_run.hung):
            said = "it hung" if case_run.hung else _first_line(escaped)
            reason = f"not reached again: {said} came before"
            said = ""
    elif isinstance(case.fault, Latency) and isinstance(escaped, ChaosError):
        outcome, reason = "left out", f"not on the clock of the test: {escaped}"
    elif case_run.hung:
        outcome, reason = "hung", f"not back after {case_run.limit.seconds:g} s of real time"
    elif escaped is not None:
        outcome, said, reason = "failed", _first_line(escaped), where
    return Result(
        case=case.id,
        point=case.point,
        nth=case.nth,
        when=case.when,
        fault=case.text,
        order=case.order,
        outcome=outcome,
        escaped=said,
        injected=outcome == "failed" and _ours(escaped, case),
        late=_rounded(case.fault.seconds) if isinstance(case.fault, Latency) else None,
        waited=case_run.waited,
        in_thread=case_run.waited is not None and case_run.in_thread,
        reason=reason,
        beyond=case_run.beyond,
        unbounded=case_run.limit.lost,
    )


def _ours(escaped: BaseException | None, case: Case) -> bool:
    injection = injection_of(escaped)
    return injection is not None and injection.point == case.point


def _first_line(escaped: BaseException | None) -> str:
    if escaped is None:
        return ""
    try:
        text = str(escaped).strip()
    except Exception:
        text = "<its message cannot be read>"
    line = text.partition("\n")[0]
    kind = type(escaped)
    name = kind.__qualname__
    return f"{name}: {line}" if line else name


def none_reached(registry: Registry, points: str, learnt: Recording) -> list[str]:
    """Say that no point was reached that ``points`` matches, and which look like it."""
    match = matcher(points)
    if any(match(point) for point in learnt.points):
        return []
    reached = sorted(learnt.points)[:_SHOWN]
    close = registry.nearest(points)
    said = f"no point that {points!r} matches was reached"
    if close:
        said += f"; the nearest: {', '.join(close)}"
    return [said + (f"; reached were {', '.join(reached)}" if reached else "")]


def cannot_be_seen() -> list[str]:
    """Say that a run which hangs is not ended, if that is so on this thread."""
    if can_interrupt():
        return []
    return [
        "hangs: they are seen only on the main thread of a process with SIGALRM, where nobody else "
        "uses that"
    ]
