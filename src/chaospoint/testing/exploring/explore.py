"""Exploration without pytest: run a function once to learn, then once for each case."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chaospoint._registry.registry import default_registry
from chaospoint.errors import ChaosError, InvalidPlan
from chaospoint.plan.rule import Rule
from chaospoint.testing.exploring.case_runs import (
    CaseRun,
    ControlRun,
    cannot_be_seen,
    none_reached,
    recording,
    result_of,
)
from chaospoint.testing.exploring.cases import Faults, cases_of
from chaospoint.testing.exploring.exploration import Exploration
from chaospoint.testing.exploring.result import Result

if TYPE_CHECKING:
    from chaospoint._registry.registry import Registry
    from chaospoint.faults.failure import ExceptionForm

__all__ = ["explore"]


def explore(
    fn: Callable[[], object],
    *,
    points: str = "*",
    exceptions: Sequence[ExceptionForm] = (),
    latency: float | str | None = "10m",
    after: bool = True,
    max_cases: int = 1000,
    limit_seconds: float | None = None,
    registry: Registry | None = None,
    case: str | None = None,
) -> Exploration:
    """Run ``fn`` once for each call that reaches a point, with that call failing, and report.

    ``fn`` takes no arguments, may be a coroutine function (each run has an event loop of its own),
    begins with fresh state each time and raises if the program did not cope. A first run learns
    what is reached, and a second one shows whether it comes out alike. Then each reach fails, and
    loses its answer after it succeeded (``after``), with each exception that its placement declares
    in ``raises``, or else with each of ``exceptions`` (`InjectedFault` if none are given); and it
    comes late by ``latency``, which is skipped and not waited for (None: not tried). ``points``: a
    name or glob. ``case``: run only the one with this id. A run that is not back after
    ``limit_seconds`` of real time (20 times the first run, 5 s at least) hung; this is seen on the
    main thread only. An injected error that ends a thread or a task unheard is not handled, either.

    Raises `ChaosError` if ``fn`` fails without a fault, or there is no such case, and
    `InvalidPlan` for arguments that make no sense. Call it from one thread at a time.
    """
    if isinstance(max_cases, bool) or not isinstance(max_cases, int) or max_cases < 1:
        raise InvalidPlan(
            f"max_cases={max_cases!r}: write a whole number from 1", field="max_cases"
        )
    if limit_seconds is not None and not limit_seconds > 0:
        raise InvalidPlan(
            f"limit_seconds={limit_seconds!r}: write seconds above 0", field="limit_seconds"
        )
    Rule(point=points, latency=0)  # a pattern that cannot be one is refused here
    _check_function(fn)
    faults = Faults.of(exceptions, latency, after)
    home = default_registry() if registry is None else registry
    name = getattr(fn, "__qualname__", repr(fn))
    try:
        with recording(home) as learnt:
            _run(fn)
    except KeyboardInterrupt:
        raise  # it is the user's
    except BaseException as error:
        raise ChaosError(
            f"{name} fails without any fault, with {type(error).__name__}: {error}; mend that "
            "first, then explore"
        ) from error
    bound = None if case is not None else max_cases
    plan = cases_of(learnt.reaches, learnt.ends, faults, points=points, most=bound)
    cases = plan.cases if case is None else (plan.only(case),)
    left_out = [*plan.left_out, *none_reached(home, points, learnt)]
    if not cases:
        return Exploration.of(name, (), [*left_out, *cannot_be_seen()])
    control = ControlRun(home, learnt)
    if why_not := control.why_not(*_run_again(fn, control)):
        return Exploration.of(name, (), [why_not])
    left_out += control.left_out()
    results = [_try(fn, CaseRun(home, one, learnt, limit_seconds)) for one in cases]
    if case is not None:
        left_out.append(f"all cases but {case}")
    return Exploration.of(name, results, left_out)


def _check_function(fn: object) -> None:
    if callable(fn):
        return
    if inspect.iscoroutine(fn):
        fn.close()
    raise InvalidPlan(
        f"explore({fn!r}): it runs a function again and again, so give the function itself, "
        "without calling it",
        field="fn",
    )


def _run_again(fn: Callable[[], object], control: ControlRun) -> tuple[bool, BaseException | None]:
    try:
        with control, control.limit:
            _run(fn)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return True, error
    return False, None


def _try(fn: Callable[[], object], case_run: CaseRun) -> Result:
    escaped: BaseException | None = None
    with case_run.unhandled:
        try:
            with case_run, case_run.limit:
                _run(fn)
        except KeyboardInterrupt:
            raise  # it is the user's: no case has one
        except BaseException as error:
            escaped = error
    return result_of(case_run, escaped)


def _run(fn: Callable[[], object]) -> None:
    made = fn()
    if inspect.iscoroutine(made):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            made.close()
            raise ChaosError(
                "explore() runs a coroutine function on an event loop of its own, and there is one "
                "running on this thread: call it from a plain function"
            )
        asyncio.run(made)
