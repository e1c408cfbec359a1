"""One run to learn what is reached, and one for each case: how both are put in force.

Whoever runs the program, `explore` or pytest, enters one of these around the run and looks at it
afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from chaospoint._aim import STATEMENTS
from chaospoint._injection import injection_of
from chaospoint._names import matcher
from chaospoint.arming import install_plan
from chaospoint.errors import ChaosError, ChaosWarning
from chaospoint.faults import Latency
from chaospoint.plan import Plan
from chaospoint.testing._cases import Reach
from chaospoint.testing._exploration import Outcome, Result
from chaospoint.testing._skipping_clock import SkippingClock, skipping
from chaospoint.testing._time_limit import TimeLimit, can_interrupt
from chaospoint.testing._watch import Watch

if TYPE_CHECKING:
    from chaospoint._aim import Kind
    from chaospoint._armed import Armed
    from chaospoint._point import Point
    from chaospoint._registry import Registry
    from chaospoint.testing._cases import Case

__all__ = ["BY", "Learnt", "Strike", "cannot_be_seen", "learning", "none_reached", "result_of"]

BY = "exploration"
"""Who arms the rule of a case, as the rule says; it is armed and disarmed within the call phase."""

_LEAST = 5.0
_TIMES = 20.0
_SHOWN = 5


class Learnt:
    """What one run without faults reached, in order, and how long it took (real seconds)."""

    def __init__(self) -> None:
        self.reaches: list[Reach] = []
        self.ends: list[Reach] = []
        self.seconds = 0.0

    @property
    def points(self) -> set[str]:
        """The names of the points that were reached."""
        return {reach.point for reach in self.reaches}

    @property
    def limit(self) -> float:
        """The seconds after which a run with a fault counts as hung."""
        return max(_LEAST, _TIMES * self.seconds)


@contextmanager
def learning(registry: Registry) -> Iterator[Learnt]:
    """Record the reaches and the clean ends of what runs in the block, in all its threads."""
    learnt = Learnt()
    seen: dict[tuple[str, Kind, tuple[type[BaseException], ...]], Reach] = {}

    def place(point: Point, kind: Kind) -> Reach:
        # Who looks after a block knows the point, and not the placement that declares.
        raises = point.raises or (point.core.raises if kind in STATEMENTS else ())
        key = (point.name, kind, raises)
        return seen.setdefault(key, Reach(point.name, raises))

    def begun(point: Point, kind: Kind) -> None:
        learnt.reaches.append(place(point, kind))

    def ended(point: Point, kind: Kind) -> None:
        learnt.ends.append(place(point, kind))

    begin = time.perf_counter()
    with Watch(registry, told=begun), Watch(registry, after=True, told=ended):
        try:
            yield learnt
        finally:
            learnt.seconds = time.perf_counter() - begin


class Strike:
    """The fault of one case, in force from `__enter__` to `close`; then what became of it.

    ``with strike, strike.limit: ...``: the limit is apart, so that an alarm that comes while it is
    left finds this block around it. ``acted``: whether the fault happened. ``waited``: the seconds
    that a late answer was waited for, on a clock that skips them. ``beyond``: the points that were
    reached, and not when the run was learnt. ``seconds`` of real time end it, those of ``learnt``
    if unset.
    """

    def __init__(
        self, registry: Registry, case: Case, learnt: Learnt, seconds: float | None = None
    ) -> None:
        self.case = case
        self.learnt = learnt
        self.limit = TimeLimit(learnt.limit if seconds is None else seconds)
        self.beyond: tuple[str, ...] = ()
        self.acted = False
        self.waited: float | None = None
        self.refused = ""  # why it could not be armed
        self._registry = registry
        self._watch = Watch(registry)
        self._handle: Armed | None = None
        self._skipping = ExitStack()
        self._clock: SkippingClock | None = None

    @property
    def hung(self) -> bool:
        """Whether the run had to be ended."""
        return self.limit.struck

    def __enter__(self) -> Strike:
        """Arm the case; raises `ChaosError` or a warning if that cannot be done."""
        try:
            if isinstance(self.case.fault, Latency):
                self._clock = self._skipping.enter_context(skipping(self._registry))
            self._watch.start()
            plan = Plan(rules=[self.case.rule], seed=0)
            self._handle = install_plan(plan, source="test", trust="code", registry=self._registry)
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
            handle.disarm()
            self.beyond = tuple(sorted({*self._watch.counts()} - self.learnt.points))
            self.acted = handle.injections > 0
            if self.acted and self._clock is not None:
                self.waited = _rounded(self._clock.skipped)
        self._watch.stop()
        self._skipping.close()


def _rounded(skipped: float) -> float:
    # The clock goes on while it skips: some milliseconds of each wait have really passed.
    return round(skipped, 1 if skipped < 10.0 else 0)


def result_of(strike: Strike, escaped: BaseException | None, where: str = "") -> Result:
    """Return what became of a case, given what came out of its run."""
    case = strike.case
    outcome: Outcome = "handled"
    said = reason = ""
    if not strike.acted:
        outcome = "left out"
        reason = strike.refused or "not reached again"
        if not strike.refused and (escaped is not None or strike.hung):
            said = "it hung" if strike.hung else _first_line(escaped)
            reason = f"not reached again: {said} came before"
            said = ""
    elif isinstance(case.fault, Latency) and isinstance(escaped, ChaosError):
        outcome, reason = "left out", f"not on the clock of the test: {escaped}"
    elif strike.hung:
        outcome, reason = "hung", f"not back after {strike.limit.seconds:g} s of real time"
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
        waited=strike.waited,
        reason=reason,
        beyond=strike.beyond,
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


def none_reached(registry: Registry, points: str, learnt: Learnt) -> list[str]:
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
