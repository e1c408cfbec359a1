"""Gathers what the reports of a run say of cases; tells it at the end, and writes the JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import pytest
from rich.console import Console

from chaospoint._kernel.names import nearest
from chaospoint._registry.registry import default_registry
from chaospoint.testing.exploring.exploration import Exploration
from chaospoint.testing.exploring.result import Result
from chaospoint.testing.exploring.table import patience, summary, table, waited_out
from chaospoint.testing.plugin.case_reports import QUIET, as_case, as_test, junit, silence
from chaospoint.testing.plugin.exploring_tests import CASE, LEARNT, SHARE
from chaospoint.testing.plugin.gathered import Gathered
from chaospoint.testing.plugin.progress import Bar
from chaospoint.testing.plugin.shares import plain

if TYPE_CHECKING:
    from chaospoint.testing.plugin.asked import Asked

__all__ = ["POINTS", "Explored"]

POINTS = "chaospoint_explored_points"
"""Under which a process of pytest-xdist hands over the names of its points."""


class Explored:
    """Stands in the process that the user looks at; the tests may run in others."""

    def __init__(self, config: pytest.Config, asked: Asked) -> None:
        self._config = config
        self._asked = asked
        self._tests: dict[str, Gathered] = {}
        self._points: set[str] = set()  # that workers know
        self._begun = False
        self._bar: Bar | None = None
        self._unwritten = ""

    # -- as it goes -----------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, object] | None:
        """Give a case a word of its own, and let the bar speak for the letters."""
        case = getattr(report, CASE, None)
        if case is None:
            if report.failed:
                return None
            if getattr(report, SHARE, 0):
                return "", "", ""  # the first share is counted
            if self._bar is not None and report.passed and not hasattr(report, "wasxfail"):
                return ("passed" if report.when in ("call", QUIET) else ""), "", ""
            return None
        outcome = case["outcome"]
        if outcome == "left out":
            return "", "", ""
        letter = {"handled": ".", "failed": "F", "hung": "H"}[outcome]
        # What failed or hung is shown by pytest with its traceback, as any test that failed.
        category = "handled" if outcome == "handled" else "failed"
        if self._bar is not None:
            return category, "", ""
        verbose = self._config.get_verbosity() > 0
        return category, letter, outcome.upper() + (f" {case['case']}" if verbose else "")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Iterator[None]:
        """Gather what a report brings, and have others see the test or the case that it is of."""
        case = getattr(report, CASE, None)
        if case is not None:
            result = self._gather_case(report, dict(case))
            as_case(report, result)
            silent = result.reason if result.outcome == "left out" else ""
            with junit(self._config, report, result.case, silent):
                return (yield)
        share = getattr(report, SHARE, None)
        if share is not None:
            as_test(report)
        self._gather_test(report)
        known = self._tests.get(report.nodeid)
        if report.passed and report.when == "call" and (share or (known and known.found)):
            silence(self._config, report)
        return (yield)

    def _gather_test(self, report: pytest.TestReport) -> None:
        learnt = getattr(report, LEARNT, None)
        if learnt is not None:
            self._test(learnt["test"]).learn(learnt, _process(report))
            if self._bar is not None:
                self._bar.learnt(learnt["test"], learnt["cases"])
        if report.failed and self._bar is not None:
            self._bar.say(f"{report.nodeid} failed without any fault ({report.when})")

    def _gather_case(self, report: pytest.TestReport, data: dict[str, Any]) -> Result:
        test = data.pop("test")
        result = Result(**data)
        self._test(test).add(result, _process(report))
        if self._bar is not None:
            self._bar.tried(test, result)
        return result

    def _test(self, name: str) -> Gathered:
        return self._tests.setdefault(name, Gathered(name))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Show a bar from the first test on, where there is a terminal to show it on."""
        if not self._begun:
            self._begun = True
            self._bar = Bar.on(self._config)
        if self._bar is not None:
            self._bar.runs(plain(str(nodeid)))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self) -> Iterator[None]:
        """Take the bar away after the last test."""
        try:
            return (yield)
        finally:
            bar, self._bar = self._bar, None
            if bar is not None:
                bar.stop()

    # -- at the end -----------------------------------------------------------------------

    def explorations(self) -> list[Exploration]:
        """Return what was found, by test."""
        return [self._tests[name].exploration() for name in sorted(self._tests)]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the names of the points that a process of pytest-xdist knows."""
        self._points.update(getattr(node, "workeroutput", {}).get(POINTS, ()))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the JSON; what was asked for by name and not found is no success."""
        found = self.explorations()
        missed = self._missed()
        if self._asked.json is not None:
            try:
                self._asked.json.write_text(json.dumps(self._data(found), indent=2) + "\n")
            except OSError as error:
                self._unwritten = f"--chaos-explore-json={self._asked.json}: {error}"
        in_vain = missed and (self._asked.case is not None or self._asked.points != "*")
        if (in_vain or self._unwritten) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _missed(self) -> str:
        """Say why nothing was tried, where that is so; empty if something was."""
        if self._config.option.collectonly or any(one.tried for one in self._tests.values()):
            return ""
        asked = self._asked
        if asked.case is not None:
            silent = [one.reason for test in self._tests.values() for one in test.results]
            if silent:
                return f"the case {asked.case!r} was not tried: {silent[0]}"
            return f"no test has the case {asked.case!r}"
        if any(one.expected.total() for one in self._tests.values()):
            return "no case was tried"
        if asked.points == "*":
            return "no test reached a point"
        known = {*self._points, *(point.name for point in default_registry().points())}
        close = ", ".join(nearest(asked.points, sorted(known)))
        hint = f"; the nearest: {close}" if close else ""
        return f"no test reached a point that {asked.points!r} matches{hint}"

    def _data(self, found: list[Exploration]) -> dict[str, Any]:
        return {
            "exhaustive": all(one.exhaustive for one in found) and not self._missed(),
            "cases": sum(len(one.cases) for one in found),
            "findings": [
                {
                    "test": one.test,
                    "case": case.case,
                    "outcome": case.outcome,
                    "escaped": case.escaped,
                    "repeat": self._asked.repeat(one.test, case.case),
                }
                for one in found
                for case in one.findings
            ],
            "waited_to_the_end": waited_out(found),
            "tests": [one.as_data() for one in found],
        }

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, each finding with the command that repeats it, what was left out."""
        if self._config.option.collectonly:
            return
        found = self.explorations()
        out = terminalreporter
        out.section("chaos exploration")
        tried = [one for one in found if one.cases]
        if tried:
            console = _console(out)
            with console.capture() as drawn:
                console.print(table(tried), crop=False)
            out.write(drawn.get())
        for one in found:
            for case in one.findings:
                out.write_line("")
                out.write_line(f"{one.test}", bold=True)
                out.write_line(f"  {case}", red=True)
                out.write_line(f"  {self._asked.repeat(one.test, case.case)}")
        out.write_line("")
        for one in found:
            for why in one.left_out:
                out.write_line(f"left out of {one.test}: {why}", yellow=True)
            for why in one.beyond:
                out.write_line(f"not failed in {one.test}: {why}")
        for said in patience(found):
            out.write_line(said)
        for wrong in filter(None, (self._missed(), self._unwritten)):
            out.write_line(wrong, red=True)
        out.write_line(summary(found), bold=True)


def _process(report: pytest.TestReport) -> str:
    return str(getattr(report, "worker_id", ""))


def _console(out: pytest.TerminalReporter) -> Console:
    writer = out._tw
    system: Literal["standard"] | None = "standard" if writer.hasmarkup else None
    return Console(width=writer.fullwidth, color_system=system, force_terminal=writer.hasmarkup)
