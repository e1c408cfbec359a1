"""Runs the phases of a test by itself, as often as it is asked to, with fresh fixtures each time.

A plugin, since what is put around the call has to stand inside of all other plugins, which may
look after the test from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from _pytest.runner import call_and_report

from chaospoint.testing._striking import Strike

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["Phase", "Phases"]


class Phase:
    """The report of one phase, and what was raised in it."""

    def __init__(self, report: pytest.TestReport, raised: BaseException | None) -> None:
        self.report = report
        self.raised = raised


class Phases:
    """The way to run a test; one at a time."""

    def __init__(self) -> None:
        self._around: AbstractContextManager[object] | None = None  # the call phase under way
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
            item._request = False  # type: ignore[assignment]
            item.funcargs = None  # type: ignore[assignment]
        return done

    def _phase(self, item: pytest.Function, when: str, **keys: object) -> Phase:
        self._raised = None
        report = call_and_report(item, when, log=False, **keys)  # type: ignore[arg-type]
        return Phase(report, None if self._raised is None else self._raised.value)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """Watch or strike the call phase, inside of all other plugins."""
        if self._around is None:
            return (yield)
        with self._around as around:
            if isinstance(around, Strike):
                with around.limit:
                    return (yield)
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Remember what was raised."""
        report = yield
        self._raised = call.excinfo
        return report
