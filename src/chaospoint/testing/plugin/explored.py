"""Collect the cases from the reports of a run; print the summary and write the JSON."""

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
from chaospoint.testing.plugin.exploring_tests import CASE, RECORDED, SHARE
from chaospoint.testing.plugin.gathered import Gathered
from chaospoint.testing.plugin.progress import Bar
from chaospoint.testing.plugin.shares import plain

if TYPE_CHECKING:
    from chaospoint.testing.plugin.asked import Asked

__all__ = ["POINTS", "Explored"]

POINTS = "chaospoint_explored_points"
"""The key under which a pytest-xdist worker sends the names of its points."""


class Explored:
    """Collects results in the process that prints the report; tests may run in other processes."""

    def __init__(self, config: pytest.Config, asked: Asked) -> None:
        self._config = config
        self._asked = asked
        self._tests: dict[str, Gathered] = {}
        self._points: set[str] = set()  # the names known to workers
        self._begun = False
        self._bar: Bar | None = None
        self._unwritten = ""

    # -- as it goes -----------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, object] | None:
        """Show the outcome of a case; while the bar is shown, print no letters."""
        case = getattr(report, CASE, None)
        if case is None:
            if report.failed:
                return None
            if getattr(report, SHARE, 0):
                return "", "", ""  # only the first share counts
            if self._bar is not None and report.passed and not hasattr(report, "wasxfail"):
                return ("passed" if report.when in ("call", QUIET) else ""), "", ""
            return None
        outcome = case["outcome"]
        if outcome == "left out":
            return "", "", ""
        letter = {"handled": ".", "failed": "F", "hung": "H"}[outcome]
        # "failed", so that pytest shows the traceback as for any failed test.
        category = "handled" if outcome == "handled" else "failed"
        if self._bar is not None:
            return category, "", ""
        verbose = self._config.get_verbosity() > 0
        return category, letter, outcome.upper() + (f" {case['case']}" if verbose else "")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Iterator[None]:
        """Collect the results in a report, and let it name its test or case for other plugins."""
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
        test = self._tests.get(report.nodeid)
        if report.passed and report.when == "call" and (share or (test and test.has_findings)):
            silence(self._config, report)
        return (yield)

    def _gather_test(self, report: pytest.TestReport) -> None:
        recorded = getattr(report, RECORDED, None)
        if recorded is not None:
            self._test(recorded["test"]).add_share(recorded, _process(report))
            if self._bar is not None:
                self._bar.recorded(recorded["test"], recorded["cases"])
        if report.failed and self._bar is not None:
            self._bar.print(f"{report.nodeid} failed without a fault ({report.when})")

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
        """Show a progress bar from the first test on, if the output is a terminal."""
        if not self._begun:
            self._begun = True
            self._bar = Bar.on(self._config)
        if self._bar is not None:
            self._bar.runs(plain(str(nodeid)))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self) -> Iterator[None]:
        """Remove the bar after the last test."""
        try:
            return (yield)
        finally:
            bar, self._bar = self._bar, None
            if bar is not None:
                bar.stop()

    # -- at the end -----------------------------------------------------------------------

    def explorations(self) -> list[Exploration]:
        """Return the results by test, sorted by name."""
        return [self._tests[name].exploration() for name in sorted(self._tests)]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Collect the names of the points that a pytest-xdist worker knows."""
        self._points.update(getattr(node, "workeroutput", {}).get(POINTS, ()))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the JSON; fail the run if a case or glob that the options name was not found."""
        explorations = self.explorations()
        missed = self._missed()
        if self._asked.json is not None:
            try:
                self._asked.json.write_text(json.dumps(self._data(explorations), indent=2) + "\n")
            except OSError as error:
                self._unwritten = (
                    f"--chaos-explore-json={self._asked.json} cannot be written: {error}"
                )
        not_found = missed and (self._asked.case is not None or self._asked.points != "*")
        if (not_found or self._unwritten) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _missed(self) -> str:
        """Return why no case was tried; empty if one was."""
        if self._config.option.collectonly or any(test.tried for test in self._tests.values()):
            return ""
        asked = self._asked
        if asked.case is not None:
            reasons = [result.reason for test in self._tests.values() for result in test.results]
            if reasons:
                return f"the case {asked.case!r} was not tried: {reasons[0]}"
            return f"no test has the case {asked.case!r}"
        if any(test.expected.total() for test in self._tests.values()):
            return "no case was tried"
        if asked.points == "*":
            return "no test reached a point"
        known = {*self._points, *(point.name for point in default_registry().points())}
        similar = ", ".join(nearest(asked.points, sorted(known)))
        hint = f"; the nearest: {similar}" if similar else ""
        return f"no test reached a point that {asked.points!r} matches{hint}"

    def _data(self, explorations: list[Exploration]) -> dict[str, Any]:
        exhaustive = all(exploration.exhaustive for exploration in explorations)
        return {
            "exhaustive": exhaustive and not self._missed(),
            "cases": sum(len(exploration.cases) for exploration in explorations),
            "findings": [
                {
                    "test": exploration.test,
                    "case": case.case,
                    "outcome": case.outcome,
                    "escaped": case.escaped,
                    "repeat": self._asked.repeat(exploration.test, case.case),
                }
                for exploration in explorations
                for case in exploration.findings
            ],
            "waited_to_the_end": waited_out(explorations),
            "tests": [exploration.as_data() for exploration in explorations],
        }

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, each finding with a command that repeats it, and what was left out."""
        if self._config.option.collectonly:
            return
        explorations = self.explorations()
        out = terminalreporter
        out.section("chaos exploration")
        tried = [exploration for exploration in explorations if exploration.cases]
        if tried:
            console = _console(out)
            with console.capture() as capture:
                console.print(table(tried), crop=False)
            out.write(capture.get())
        for exploration in explorations:
            for case in exploration.findings:
                out.write_line("")
                out.write_line(f"{exploration.test}", bold=True)
                out.write_line(f"  {case}", red=True)
                out.write_line(f"  {self._asked.repeat(exploration.test, case.case)}")
        out.write_line("")
        for exploration in explorations:
            for sentence in exploration.left_out:
                out.write_line(f"left out of {exploration.test}: {sentence}", yellow=True)
            for sentence in exploration.beyond:
                out.write_line(f"not failed in {exploration.test}: {sentence}")
        for sentence in patience(explorations):
            out.write_line(sentence)
        for problem in filter(None, (self._missed(), self._unwritten)):
            out.write_line(problem, red=True)
        out.write_line(summary(explorations), bold=True)


def _process(report: pytest.TestReport) -> str:
    return str(getattr(report, "worker_id", ""))


def _console(out: pytest.TerminalReporter) -> Console:
    writer = out._tw
    system: Literal["standard"] | None = "standard" if writer.hasmarkup else None
    return Console(width=writer.fullwidth, color_system=system, force_terminal=writer.hasmarkup)
