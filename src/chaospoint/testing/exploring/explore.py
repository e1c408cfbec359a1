"""Exploration without pytest: run a function without faults, and then once for each case."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chaospoint._registry.registry import default_registry
from chaospoint.errors import ChaosError, InvalidPlan
from chaospoint.plan.rule import Rule
from chaospoint.testing.exploring.case_runs import CaseRun
from chaospoint.testing.exploring.cases import Faults, cases_of
from chaospoint.testing.exploring.control_run import ControlRun
from chaospoint.testing.exploring.exploration import Exploration
from chaospoint.testing.exploring.outcome import result_of
from chaospoint.testing.exploring.recording import none_reached, recording
from chaospoint.testing.exploring.result import Result
from chaospoint.testing.exploring.time_limit import cannot_be_seen

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
    """Run ``fn`` once for each call that reaches a point, with a fault in that call.

    ``fn`` takes no arguments, creates fresh state each time, and raises if the program did not
    handle the fault. It may be a coroutine function; each run then has a new event loop. Two runs
    without faults come first, to record the reaches and to check that they repeat.

    Each reach then gets these cases: a failure before the call; a failure after the call succeeded,
    so that its answer is lost (``after=False`` leaves these out); and an answer that is ``latency``
    late, in skipped time (None leaves this out). Failures raise the exceptions that the placement
    declares in ``raises``, or else ``exceptions`` (by default `InjectedFault`).

    ``points``: a name or glob of the points to fail. ``max_cases``: the maximum number of cases.
    ``limit_seconds``: the real time after which a run counts as hung; by default 20 times the first
    run, at least 5 s. Hangs are found on the main thread only. ``case``: run only the case with
    this id. An injected error that silently ends a thread or task counts as not handled.

    Raises `ChaosError` if ``fn`` fails without a fault or no case has the id ``case``, and
    `InvalidPlan` for invalid arguments. Call it from one thread at a time.
    """
    if isinstance(max_cases, bool) or not isinstance(max_cases, int) or max_cases < 1:
        raise InvalidPlan(
            f"max_cases={max_cases!r}: write a whole number from 1", field="max_cases"
        )
    if limit_seconds is not None and not limit_seconds > 0:
        raise InvalidPlan(
            f"limit_seconds={limit_seconds!r}: write seconds above 0", field="limit_seconds"
        )
    Rule(point=points, latency=0)  # raises InvalidPlan for an invalid pattern
    _check_function(fn)
    faults = Faults.of(exceptions, latency, after)
    registry = default_registry() if registry is None else registry
    name = getattr(fn, "__qualname__", repr(fn))
    try:
        with recording(registry) as recorded:
            _run(fn)
    except KeyboardInterrupt:
        raise  # Ctrl-C of the user
    except BaseException as error:
        raise ChaosError(
            f"{name} fails without a fault, with {type(error).__name__}: {error}; fix that before "
            "you explore it"
        ) from error
    bound = None if case is not None else max_cases
    plan = cases_of(recorded.reaches, recorded.ends, faults, points=points, most=bound)
    cases = plan.cases if case is None else (plan.only(case),)
    left_out = [*plan.left_out, *none_reached(registry, points, recorded)]
    if not cases:
        return Exploration.of(name, (), [*left_out, *cannot_be_seen()])
    control = ControlRun(registry, recorded)
    if why_not := control.why_not(*_run_again(fn, control)):
        return Exploration.of(name, (), [why_not])
    left_out += control.left_out()
    results = [_try(fn, CaseRun(registry, to_run, recorded, limit_seconds)) for to_run in cases]
    if case is not None:
        left_out.append(f"all cases except {case}")
    return Exploration.of(name, results, left_out)


def _check_function(fn: object) -> None:
    if callable(fn):
        return
    if inspect.iscoroutine(fn):
        fn.close()
    raise InvalidPlan(
        f"explore({fn!r}): pass the function itself, without calling it, because it is run many "
        "times",
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
            raise  # Ctrl-C of the user: no case injects it
        except BaseException as error:
            escaped = error
    return result_of(case_run, escaped)


def _run(fn: Callable[[], object]) -> None:
    result = fn()
    if inspect.iscoroutine(result):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            result.close()
            raise ChaosError(
                "explore() runs a coroutine function on a new event loop, but one is already "
                "running on this thread: call explore() from a plain function"
            )
        asyncio.run(result)
