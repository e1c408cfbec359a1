"""Decide the outcome of a case from its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaospoint._kernel.injection import injection_of
from chaospoint.errors import ChaosError
from chaospoint.faults.latency import Latency
from chaospoint.testing.exploring.result import Outcome, Result

if TYPE_CHECKING:
    from chaospoint.testing.exploring.case_runs import CaseRun
    from chaospoint.testing.exploring.cases import Case

__all__ = ["first_line", "result_of"]


def result_of(case_run: CaseRun, escaped: BaseException | None, where: str = "") -> Result:
    """Return the result of a case.

    ``escaped``: the exception that left its run, if one did. ``where``: where it was raised, if
    that was not in the call.
    """
    case = case_run.case
    if escaped is None and case_run.unhandled.errors:
        escaped, where = case_run.unhandled.errors[0]
    outcome: Outcome = "handled"
    error = reason = ""
    if not case_run.acted:
        outcome, reason = "left out", _why_no_injection(case_run, escaped)
    elif isinstance(case.fault, Latency) and isinstance(escaped, ChaosError):
        outcome, reason = "left out", f"the clock of the test could not skip it: {escaped}"
    elif case_run.hung:
        outcome, reason = "hung", f"it did not end within {case_run.limit.seconds:g} s of real time"
    elif escaped is not None:
        outcome, error, reason = "failed", first_line(escaped), where
    return Result(
        case=case.id,
        point=case.point,
        nth=case.nth,
        when=case.when,
        fault=case.text,
        order=case.order,
        outcome=outcome,
        escaped=error,
        injected=outcome == "failed" and _is_injected(escaped, case),
        late=case_run.late,
        waited=case_run.waited,
        in_thread=case_run.waited is not None and case_run.in_thread,
        reason=reason,
        beyond=case_run.beyond,
        unbounded=case_run.limit.lost,
    )


def _why_no_injection(case_run: CaseRun, escaped: BaseException | None) -> str:
    if case_run.refused:
        return case_run.refused
    if case_run.hung:
        return "not reached again: it hung before"
    if escaped is not None:
        return f"not reached again: {first_line(escaped)} came before"
    return "not reached again"


def _is_injected(escaped: BaseException | None, case: Case) -> bool:
    injection = injection_of(escaped)
    return injection is not None and injection.point == case.point


def first_line(error: BaseException | None) -> str:
    """Return the type and the first line of an exception, or ``""`` for None."""
    if error is None:
        return ""
    try:
        text = str(error).strip()
    except Exception:
        text = "<its message cannot be read>"
    line = text.partition("\n")[0]
    name = type(error).__qualname__
    return f"{name}: {line}" if line else name
