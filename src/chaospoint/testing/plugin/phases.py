"""Run the phases of a test any number of times, with new fixtures each time.

This is a pytest plugin because the fault must be armed inside the hooks of all other plugins,
around nothing but the test's own call.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

import pytest
from _pytest.runner import call_and_report

from chaospoint.testing.exploring.case_runs import CaseRun
from chaospoint.testing.exploring.control_run import ControlRun
from chaospoint.testing.exploring.time_limit import TimeLimit

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["SILENT", "Phase", "Phases"]

SILENT = "chaos_silent"
"""The attribute of the report of a subtest that belongs to a case and is not shown."""


class Phase:
    """The report of one phase, and the exception raised in it."""

    def __init__(self, report: pytest.TestReport, raised: BaseException | None) -> None:
        self.report = report
        self.raised = raised


class Phases:
    """Runs tests, one at a time."""

    def __init__(self) -> None:
        self._around: AbstractContextManager[object] | None = None  # around the call phase
        self._bounded: CaseRun | ControlRun | None = None  # the current run, if it has a limit
        self._calls = False
        self.subtests: list[BaseException] = []
        """The exceptions of failed subtests in the last run."""
        self._raised: pytest.ExceptionInfo[BaseException] | None = None

    def run(
        self,
        item: pytest.Function,
        around: AbstractContextManager[object],
        after: Callable[[list[Phase]], pytest.Item | None],
    ) -> list[Phase]:
        """Run setup, call and teardown with new function-scoped fixtures, without logging reports.

        ``around``: entered around the call. ``after``: called with the finished phases before the
        teardown; it returns the next item.
        """
        # Remove the captured output and the unittest exceptions of the previous run.
        item._report_sections.clear()
        vars(item).pop("_excinfo", None)
        if item.cls is not None and vars(item).pop("_instance", None) is not None:
            vars(item).pop("_obj", None)  # a new instance for each run
        self.subtests = []
        self._bounded = around if isinstance(around, CaseRun | ControlRun) else None
        if not item._request:
            item._initrequest()
        try:
            done = [self._phase(item, "setup")]
            if done[0].report.passed:
                self._around = around
                try:
                    done.append(self._phase(item, "call"))
                finally:
                    self._around = None
            following = after(done)
            if item.session.shouldfail or item.session.shouldstop:
                following = None
            done.append(self._phase(item, "teardown", nextitem=following))
        finally:
            self._bounded = None
            item._request = False  # type: ignore[assignment]
            item.funcargs = None  # type: ignore[assignment]
        return done

    def forget(self) -> None:
        """Drop all references to the last run."""
        self._raised = None
        self.subtests = []

    def _phase(self, item: pytest.Function, when: str, **keys: object) -> Phase:
        self._raised = None
        report = call_and_report(item, when, log=False, **keys)  # type: ignore[arg-type]
        return Phase(report, None if self._raised is None else self._raised.value)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """Enter ``around`` for the call phase, inside the hooks of all other plugins."""
        if self._around is None:
            return (yield)
        self._calls = True
        try:
            with self._around:
                if self._bounded is not None:
                    with self._bounded.limit:
                        return (yield)
                return (yield)
        finally:
            self._calls = False

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        """Limit the time of each teardown."""
        if self._bounded is None:
            return (yield)
        called = self._bounded.limit
        # An exception of pytest, so that the remaining teardown still runs.
        limit = TimeLimit(
            called.seconds, called.what, raises=pytest.fail.Exception, before_end=called.before_end
        )
        try:
            with limit:
                return (yield)
        finally:
            limit.stop()
            called.struck = called.struck or limit.struck

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Record the exception of a phase, and those of subtests, which report within the call."""
        report = yield
        if not self._calls:
            self._raised = call.excinfo
            return report
        if call.excinfo is not None and report.failed:
            self.subtests.append(call.excinfo.value)
        if self._bounded is not None:
            setattr(report, SILENT, True)
            report.outcome, report.longrepr, report.sections = "passed", None, []
        return report
