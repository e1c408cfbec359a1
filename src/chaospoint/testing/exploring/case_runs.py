"""Arm the fault of one case for one run of a program, and record what happens in the run.

`explore` and the pytest plugin run the program inside of a `CaseRun`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from weakref import ref

from chaospoint._kernel.injection import injection_of
from chaospoint.arming import arm_from
from chaospoint.errors import ChaosError, ChaosWarning
from chaospoint.faults.latency import Latency
from chaospoint.plan.plan import Plan
from chaospoint.testing.clocks.skipping import SkippingClock, skipping
from chaospoint.testing.exploring.time_limit import TimeLimit
from chaospoint.testing.exploring.unhandled import Unhandled
from chaospoint.testing.kit.watch import Watch

if TYPE_CHECKING:
    from chaospoint._kernel.injection import Injection
    from chaospoint._registry.handle import Armed
    from chaospoint._registry.registry import Registry
    from chaospoint.testing.exploring.cases import Case
    from chaospoint.testing.exploring.recording import Recording

__all__ = ["CaseRun"]


class CaseRun:
    """Arms the fault of one case from `__enter__` to `close`, and then holds what happened.

    Write ``with case_run, case_run.limit: ...``. The limit is a block of its own, inside: an alarm
    may come while the limit is being left, and then this block still disarms the fault. Enter
    ``unhandled`` outside of both, around all phases of the run.

    ``recorded``: the run without faults. ``seconds``: the real time after which this run is ended;
    if None, the limit of ``recorded``. ``acted``: whether the fault was injected. ``waited``: the
    (skipped) seconds that the program waited for a late answer. ``in_thread``: whether it waited
    in a thread without an event loop. ``beyond``: the points with more reaches than in
    ``recorded``, with both numbers.
    """

    def __init__(
        self, registry: Registry, case: Case, recorded: Recording, seconds: float | None = None
    ) -> None:
        self.case = case
        self.recorded = recorded
        self.limit = TimeLimit(recorded.limit if seconds is None else seconds, f"case {case.id}")
        self.unhandled = Unhandled(self._is_ours, self._has_ended_task)
        self.beyond: tuple[tuple[str, int, int], ...] = ()
        self.acted = False
        self.in_thread = False
        self.waited: float | None = None
        self.refused = ""  # the reason why it could not be armed
        self._registry = registry
        self._watch = Watch(registry)
        self._handle: Armed | None = None
        self._around = ExitStack()
        self._clock: SkippingClock | None = None
        self._injections: list[Injection] = []
        self._tasks: list[ref[asyncio.Task[object]]] = []  # the tasks of the injections

    @property
    def hung(self) -> bool:
        """Whether the run did not end within its limit."""
        return self.limit.struck

    @property
    def late(self) -> float | None:
        """The seconds by which the case delays an answer; None if it injects another fault."""
        fault = self.case.fault
        return _rounded(fault.seconds) if isinstance(fault, Latency) else None

    def __enter__(self) -> CaseRun:
        """Arm the fault; raises `ChaosError` or a `ChaosWarning` if that is not possible."""
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
        """Disarm the fault and record what happened; closing twice is allowed."""
        self.limit.stop()
        if self._handle is not None:
            handle, self._handle = self._handle, None
            _armed.remove(handle)
            handle.disarm()
            without = self.recorded.points
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
        """Record an injection of this case, and the task or thread it happened in."""
        handle = self._handle
        if handle is not None and injection.rule in [rule.shown for rule in handle.rules]:
            self._injections.append(injection)
            self.in_thread = asyncio._get_running_loop() is None
            if not self.in_thread and (task := asyncio.current_task()) is not None:
                self._tasks.append(ref(task))

    def _has_ended_task(self) -> bool:
        """Whether a task with an injection has ended and still exists: it may hold an error."""
        tasks = [task() for task in self._tasks]
        return any(task is not None and task.done() for task in tasks)

    def _is_ours(self, error: BaseException) -> bool:
        # By identity, because an error of an earlier case may be reported during this one.
        cause = injection_of(error)
        return any(cause is injection for injection in self._injections)


_armed: list[Armed] = []


def _disarm_in_child() -> None:
    """Disarm in a forked child, which counts from 0 and would inject at its own n-th reach."""
    for handle in _armed:
        handle.disarm()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disarm_in_child)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep chaospoint's lines about this case out of the log; errors are still logged."""
    log = logging.getLogger("chaospoint")
    log.addFilter(_errors_only)
    try:
        yield
    finally:
        log.removeFilter(_errors_only)


def _errors_only(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _rounded(skipped: float) -> float:
    # The clock also runs while it skips, so each wait is some milliseconds longer.
    return round(skipped, 1 if skipped < 10.0 else 0)
