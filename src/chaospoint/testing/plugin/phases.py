"""Runs the phases of a test by itself, as often as it is asked to, with fresh fixtures each time.

A plugin, since what is put around the call has to stand inside of all other plugins, which may
look after the test from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

import pytest
from _pytest.runner import call_and_report

from chaospoint.testing.exploring.case_runs import CaseRun, ControlRun
from chaospoint.testing.exploring.time_limit import TimeLimit

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["SILENT", "Phase", "Phases"]

SILENT = "chaos_silent"
"""The attribute of the report of a subtest that is part of a case, and not reported apart."""


class Phase:
    """The report of one phase, and what was raised in it."""

    def __init__(self, report: pytest.TestReport, raised: BaseException | None) -> None:
        self.report = report
        self.raised = raised


class Phases:
    """The way to run a test; one at a time."""

    def __init__(self) -> None:
        self._around: AbstractContextManager[object] | None = None  # the call phase under way
        self._bounded: CaseRun | ControlRun | None = None  # the run under way, if it has a bound
        self._calls = False
        self.subtests: list[BaseException] = []
        """What failed in subtests of the last run."""
        self._raised: pytest.ExceptionInfo[BaseException] | None = None

    def run(
        self,
        item: pytest.Function,
        around: AbstractContextManager[object],
        after: Callable[[list[Phase]], pytest.Item | None],
    ) -> list[Phase]:
        """Run setup, call and teardown with fresh fixtures of the function; report nothing.

        ``after`` is asked before the teardown which item is next.
        """
        # What the run before this one left: its captured output, and what a unittest raised.
        item._report_sections.clear()
        vars(item).pop("_excinfo", None)
        if item.cls is not None and vars(item).pop("_instance", None) is not None:
            vars(item).pop("_obj", None)  # each run has an instance of its own
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
        """Hold nothing of the last run."""
        self._raised = None
        self.subtests = []

    def _phase(self, item: pytest.Function, when: str, **keys: object) -> Phase:
        self._raised = None
        report = call_and_report(item, when, log=False, **keys)  # type: ignore[arg-type]
        return Phase(report, None if self._raised is None else self._raised.value)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """Watch or strike the call phase, inside of all other plugins."""
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
        """Bound what is torn down after each run."""
        if self._bounded is None:
            return (yield)
        called = self._bounded.limit
        # Of pytest's own kind, so that what else is to be torn down is torn down.
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
        """Remember what was raised; a subtest has a report of its own, within the call."""
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
