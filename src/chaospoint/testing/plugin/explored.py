"""Gathers what the reports of a run say of cases; tells it at the end, and writes the JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import pytest
from rich.console import Console

from chaospoint.testing._exploration import Exploration, Result
from chaospoint.testing._exploration_table import summary, table, waited_out
from chaospoint.testing.plugin.exploring_tests import CASE, LEARNT, SHARE
from chaospoint.testing.plugin.progress import Bar
from chaospoint.testing.plugin.shares import plain

if TYPE_CHECKING:
    from chaospoint.testing.plugin.asked import Asked

__all__ = ["Explored"]


class Explored:
    """Stands in the process that the user looks at; the tests may run in others."""

    def __init__(self, config: pytest.Config, asked: Asked) -> None:
        self._config = config
        self._asked = asked
        self._expected: Counter[str] = Counter()
        self._left_out: dict[str, dict[str, None]] = {}
        self._results: dict[str, dict[str, Result]] = {}
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
                return ("passed" if report.when == "call" else ""), "", ""
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

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather what a report brings."""
        learnt = getattr(report, LEARNT, None)
        if learnt is not None:
            test = learnt["test"]
            self._expected[test] += learnt["cases"]
            left_out = self._left_out.setdefault(test, {})
            left_out.update(dict.fromkeys(learnt["left_out"]))
            if self._bar is not None:
                self._bar.learnt(test, learnt["cases"])
        case = getattr(report, CASE, None)
        if case is not None:
            data = dict(case)
            test = data.pop("test")
            result = Result(**data)
            self._results.setdefault(test, {})[result.case] = result
            if self._bar is not None:
                self._bar.tried(test, result)
        elif report.failed and self._bar is not None:
            self._bar.say(f"{report.nodeid} failed without any fault ({report.when})")

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
        found = []
        for test in sorted({*self._left_out, *self._results}):
            results = self._results.get(test, {})
            left_out = [*self._left_out.get(test, ())]
            missing = self._expected[test] - len(results)
            if missing > 0:
                left_out.append(f"{missing} cases that were not run, for the run was ended before")
            found.append(Exploration.of(test, results.values(), left_out))
        return found

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
        if (missed or self._unwritten) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _missed(self) -> str:
        """Say what was asked for by name and did not come."""
        if any(self._results.values()) or self._config.option.collectonly:
            return ""
        if self._asked.case is not None:
            return f"no test has the case {self._asked.case!r}"
        if self._asked.points != "*":
            return f"no test reached a point that {self._asked.points!r} matches"
        return ""

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
        if patient := waited_out(found):
            out.write_line(f"no timeout cut a late answer short at {', '.join(patient)}")
        for wrong in filter(None, (self._missed(), self._unwritten)):
            out.write_line(wrong, red=True)
        out.write_line(summary(found), bold=True)


def _console(out: pytest.TerminalReporter) -> Console:
    writer = out._tw
    system: Literal["standard"] | None = "standard" if writer.hasmarkup else None
    return Console(width=writer.fullwidth, color_system=system, force_terminal=writer.hasmarkup)
