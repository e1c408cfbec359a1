"""Runs each test once to learn, and once for each case, with fresh fixtures each time.

Only the call phase is watched and struck: what fixtures do before and after it is not explored. A
case is reported as a run of its test; what it found rides on the report as plain data, so that it
also comes out of a worker process.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from chaospoint._notice import RuleArmed
from chaospoint._registry import default_registry
from chaospoint.errors import ChaosError
from chaospoint.testing._cases import Case, Cases, Faults, cases_of
from chaospoint.testing._striking import (
    Learnt,
    Strike,
    cannot_be_seen,
    learning,
    result_of,
)
from chaospoint.testing.plugin.phases import Phase, Phases
from chaospoint.testing.plugin.shares import Share, multiply, plain

if TYPE_CHECKING:
    from chaospoint._injection import Injection
    from chaospoint._notice import Notice
    from chaospoint.testing.plugin.asked import Asked

__all__ = ["CASE", "LEARNT", "SHARE", "Exploring"]

LEARNT = "chaos_learnt"
"""The attribute of a report that says of a test: ``test``, ``cases`` (how many), ``left_out``."""
SHARE = "chaos_share"
"""The attribute of a report that says which share of its test made it, from 0."""
CASE = "chaos_case"
"""The attribute of a report that says of a case: ``test``, and the fields of its `Result`."""


class Exploring:
    """Takes the place of pytest's own way to run a test."""

    def __init__(self, config: pytest.Config, asked: Asked) -> None:
        self._asked = asked
        self._faults: Faults | None = None
        self.phases = Phases()
        self.repeat = asked.repeat
        config.pluginmanager.register(self.phases, "chaospoint-phases")

    @pytest.hookimpl(trylast=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Spread the cases of each test over the workers."""
        if self._asked.case is None:
            multiply(metafunc)

    def pytest_collection_finish(self) -> None:
        """Find the exceptions that were asked for, now that the tests' modules are imported."""
        self._faults = self._asked.faults()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Run a test, and explore it."""
        if not isinstance(item, pytest.Function):
            return None
        where = {"nodeid": item.nodeid, "location": item.location}
        item.ihook.pytest_runtest_logstart(**where)
        try:
            _Exploration(self, item, nextitem).run()
        finally:
            item.ihook.pytest_runtest_logfinish(**where)
        return True

    def cases(self, learnt: Learnt) -> Cases:
        """Return the cases that a run has, by what was asked for."""
        asked = self._asked
        most = None if asked.case is not None else asked.most
        assert self._faults is not None
        found = cases_of(learnt.reaches, learnt.ends, self._faults, points=asked.points, most=most)
        if asked.case is None:
            return found
        return Cases((found.only(asked.case),), (f"all cases but {asked.case}",))


class _Exploration:
    """All runs of one test."""

    def __init__(
        self, home: Exploring, item: pytest.Function, nextitem: pytest.Item | None
    ) -> None:
        self._home = home
        self._item = item
        self._nextitem = nextitem
        self._again = copy.copy(item)  # a sibling, so that what lives longer than a test stays
        self._share = Share.named(item)
        self._test = plain(item.nodeid)
        self._todo: list[Case] = []
        self._left_out: list[str] = []
        self._learnt = Learnt()
        self._arms = _Arms()

    def run(self) -> None:
        """Run the test to learn, and then each case that falls to this share."""
        learnt = self._home.phases.run(self._item, self._learning(), self._plan)
        for phase in learnt:
            setattr(phase.report, SHARE, self._share.nth)
            self._unshare(phase.report)
        said = {"test": self._test, "cases": len(self._todo), "left_out": self._left_out}
        setattr(learnt[-1].report, LEARNT, said)
        for phase in learnt:
            self._log(phase.report)
        while self._todo:
            if self._item.session.shouldstop or self._item.session.shouldfail:
                return  # who reads the reports sees that cases are missing
            self._try(self._todo.pop(0))

    def _unshare(self, report: pytest.TestReport) -> None:
        """Have commands name the test, for no other run has this share of it."""
        name, test = self._item.name, plain(self._item.name)
        if name != test:
            report.sections = [(title, text.replace(name, test)) for title, text in report.sections]

    @contextmanager
    def _learning(self) -> Iterator[None]:
        registry = default_registry()
        self._arms.look(registry.rules())
        registry.add_observer(self._arms)
        try:
            with learning(registry) as self._learnt:
                yield
        finally:
            registry.remove_observer(self._arms)

    def _plan(self, done: list[Phase]) -> pytest.Item | None:
        why = self._why_not(done)
        if why:
            self._left_out.append(why)
            return self._nextitem
        try:
            cases = self._home.cases(self._learnt)
        except ChaosError as error:
            self._left_out.append(str(error))
            return self._nextitem
        except Exception as error:  # a bug of ours is not to lose the report of the test
            self._left_out.append(f"not explored: {type(error).__name__}: {error}")
            return self._nextitem
        self._left_out += [*cases.left_out, *cannot_be_seen()]
        self._todo = [one for one in cases.cases if self._share.takes(one.id)]
        return self._next()

    def _why_not(self, done: list[Phase]) -> str:
        last = done[-1].report
        if hasattr(last, "wasxfail"):
            return "not explored: it is expected to fail"
        if last.skipped:
            return "not explored: it is skipped"
        if last.failed:
            return "not explored: it fails without any fault"
        if getattr(self._item.function, "is_hypothesis_test", False):
            return "not explored: hypothesis draws its examples, so no run is like the one before"
        if self._arms.armed:
            return (
                f"not explored: it arms rules of its own ({self._arms.armed}), so it expects "
                "certain faults"
            )
        return ""

    def _next(self, _: object = None) -> pytest.Item | None:
        return self._again if self._todo else self._nextitem

    def _try(self, case: Case) -> None:
        strike = Strike(default_registry(), case, self._learnt)
        try:
            done = self._home.phases.run(self._item, strike, self._next)
        finally:
            strike.close()
        self._log(_report(done, strike, self._test, self._home.repeat))

    def _log(self, report: pytest.TestReport) -> None:
        self._item.ihook.pytest_runtest_logreport(report=report)


def _report(
    done: list[Phase], strike: Strike, test: str, repeat: Callable[[str, str], str]
) -> pytest.TestReport:
    """Return the one report of a case: of its call, or of the phase in which it failed."""
    shown = next((phase for phase in done if not phase.report.passed), done[min(1, len(done) - 1)])
    report = shown.report
    if report.when == "setup":
        strike.refused = f"its setup failed: {shown.raised!r}"
    elif report.skipped:
        strike.refused = f"it was skipped under the fault: {shown.raised}"
        strike.acted = False
    escaped = shown.raised if report.failed else None
    if report.failed and escaped is None:
        escaped = AssertionError(report.longreprtext.strip().rpartition("\n")[2])
    where = "while it was torn down" if report.when == "teardown" else ""
    result = result_of(strike, escaped, where)
    path, line, domain = report.location
    report.location = (path, line, f"{domain} [{strike.case.id}]")
    report.when = "call"
    if result.finding:
        report.outcome = "failed"
        report.longrepr = report.longrepr or result.reason
        # What else is said there of repeating is about the test, and not about this case.
        report.sections = [one for one in report.sections if one[0] != "chaospoint"]
        report.sections.append(("chaospoint", f"repeat it: {repeat(test, result.case)}"))
    else:
        report.outcome, report.longrepr, report.sections = "passed", None, []
    setattr(report, CASE, {"test": test, **asdict(result)})
    return report


class _Arms:
    """Notes which rules a test arms itself."""

    def __init__(self) -> None:
        self.armed = ""

    def observe(self, injection: Injection) -> None:
        """Take no note of injections."""

    def notice(self, notice: Notice) -> None:
        """Note a rule that code or a test arms."""
        if isinstance(notice, RuleArmed):
            self.look([notice.rule])

    def look(self, rules: object) -> None:
        """Note the first of these rules that code or a test armed."""
        for rule in rules:  # type: ignore[attr-defined]
            if not self.armed and rule.source in ("code", "test"):
                self.armed = rule.shown
