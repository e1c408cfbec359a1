"""Runs each test once to learn, and once for each case, with fresh fixtures each time.

Only the call phase is watched and struck: what fixtures do before and after it is not explored. A
case is reported as a run of its test; what it found rides on the report as plain data, so that it
also comes out of a worker process.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from chaospoint._registry.notices import RuleArmed
from chaospoint._registry.registry import default_registry
from chaospoint.errors import ChaosError
from chaospoint.testing.exploring.case_runs import (
    CaseRun,
    ControlRun,
    Recording,
    none_reached,
    recording,
    result_of,
)
from chaospoint.testing.exploring.cases import Case, Cases, Faults, cases_of
from chaospoint.testing.plugin.phases import SILENT, Phase, Phases
from chaospoint.testing.plugin.shares import Share, multiply, plain

if TYPE_CHECKING:
    from chaospoint._kernel.injection import Injection
    from chaospoint._registry.notices import Notice
    from chaospoint.testing.plugin.asked import Asked

__all__ = ["CASE", "LEARNT", "SHARE", "Exploring"]

LEARNT = "chaos_learnt"
"""The attribute of a report that says of a test: ``test``, ``cases`` (how many fall to this share),
``left_out``; ``of`` (how many cases all shares have), ``hash`` (of their ids, alike in all shares
that learnt alike), ``none_reached`` (why there are none, where no point was reached)."""
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
        self._config = config
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
            return None  # pytest runs it, and `pytest_runtest_makereport` says so
        where = {"nodeid": item.nodeid, "location": item.location}
        item.ihook.pytest_runtest_logstart(**where)
        try:
            _Exploration(self, item, nextitem).run()
        finally:
            item.ihook.pytest_runtest_logfinish(**where)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Say of what is no test function that it is not explored."""
        report = yield
        if call.when == "teardown" and not isinstance(item, pytest.Function):
            why = "not explored: it is not a test function"
            setattr(report, LEARNT, _said(item.nodeid, (), (), [why], []))
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Show no subtest of a case."""
        return ("", "", "") if hasattr(report, SILENT) else None

    def uncaptured(self) -> None:
        """Give what is written its real way out, before this process ends."""
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if capture is not None:
            capture.suspend(in_=True)

    @property
    def limit(self) -> float | None:
        """The seconds of real time after which a case hung; None to go by its first run."""
        given: float | None = self._asked.limit
        return given

    def cases(self, learnt: Recording) -> Cases:
        """Return the cases that a run has, by what was asked for."""
        asked = self._asked
        most = None if asked.case is not None else asked.most
        assert self._faults is not None
        found = cases_of(learnt.reaches, learnt.ends, self._faults, points=asked.points, most=most)
        if asked.case is None:
            return found
        return Cases((found.only(asked.case),), (f"all cases but {asked.case}",))

    def none_reached(self, learnt: Recording) -> list[str]:
        """Say so if no point was reached that was asked for."""
        return none_reached(default_registry(), self._asked.points, learnt)


def _said(
    test: str,
    every: Iterable[Case],
    mine: Iterable[Case],
    left_out: list[str],
    none: list[str],
) -> dict[str, object]:
    ids = [case.id for case in every]
    return {
        "test": test,
        "cases": len([*mine]),
        "left_out": left_out,
        "of": len(ids),
        "hash": sha256("\n".join(ids).encode()).hexdigest(),
        "none_reached": none,
    }


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
        self._cases: tuple[Case, ...] = ()
        self._todo: list[Case] = []
        self._none_reached: list[str] = []
        self._left_out: list[str] = []
        self._learnt = Recording()
        self._arms = _Arms()

    def run(self) -> None:
        """Run the test to learn, and then each case that falls to this share."""
        learnt = self._home.phases.run(self._item, self._learning(), self._plan)
        for phase in learnt:
            setattr(phase.report, SHARE, self._share.nth)
            self._unshare(phase.report)
        if why := self._why_not(learnt):  # its teardown is known only now
            self._cases, self._todo, self._left_out = (), [], [why]
        if self._todo and not self._stopped():
            self._control()
        said = _said(self._test, self._cases, self._todo, self._left_out, self._none_reached)
        setattr(learnt[-1].report, LEARNT, said)
        for phase in learnt:
            self._log(phase.report)
        # Who reads the reports of a run that is stopped sees that cases are missing.
        while self._todo and not self._stopped():
            self._try(self._todo.pop(0))
        self._finish()

    def _stopped(self) -> bool:
        return bool(self._item.session.shouldstop or self._item.session.shouldfail)

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
            with recording(registry) as self._learnt:
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
        except Exception as error:  # a bug of chaospoint must not lose the report of the test
            self._left_out.append(f"not explored: {type(error).__name__}: {error}")
            return self._nextitem
        self._left_out += cases.left_out
        self._none_reached = self._home.none_reached(self._learnt)
        self._cases = cases.cases
        self._todo = [one for one in cases.cases if self._share.takes(one.id)]
        return self._again if self._todo else self._nextitem

    def _control(self) -> None:
        """Run it once more without faults; its reports are of nothing that was asked for."""
        control = ControlRun(default_registry(), self._learnt)
        control.limit.before_end = self._home.uncaptured

        done = self._home.phases.run(self._item, control, lambda _: self._again)
        shown = next((one for one in done if not one.report.passed), None)
        failed = shown is not None or bool(self._home.phases.subtests)
        raised = [*([] if shown is None else [shown.raised]), *self._home.phases.subtests, None]
        if why := control.why_not(failed, raised[0]):
            self._cases, self._todo, self._left_out = (), [], [why]
        else:
            self._left_out += control.left_out()

    def _finish(self) -> None:
        """Tear down what outlived the runs: that it fails is of no case."""
        state = self._item.session._setupstate
        following = None if self._stopped() else self._nextitem
        call = pytest.CallInfo.from_call(lambda: state.teardown_exact(following), "teardown")
        if call.excinfo is not None:
            self._log(pytest.TestReport.from_item_and_call(self._item, call))

    def _why_not(self, done: list[Phase]) -> str:
        last = done[-1].report
        if hasattr(last, "wasxfail"):
            return "not explored: it is expected to fail"
        if last.skipped:
            return "not explored: it is skipped"
        if any(one.report.failed for one in done) or self._home.phases.subtests:
            return "not explored: it fails without any fault"
        if getattr(self._item.function, "is_hypothesis_test", False):
            return "not explored: hypothesis draws its examples, so no run is like the one before"
        if self._arms.armed:
            return (
                f"not explored: it arms rules of its own ({self._arms.armed}), so it expects "
                "certain faults"
            )
        return ""

    def _try(self, case: Case) -> None:
        case_run = CaseRun(default_registry(), case, self._learnt, self._home.limit)
        case_run.limit.before_end = self._home.uncaptured
        phases = self._home.phases
        try:
            with case_run.unhandled:
                done = phases.run(self._item, case_run, lambda _: self._again)
        finally:
            case_run.close()
        report = _report(done, case_run, self._test, self._home.repeat, phases.subtests)
        self._log(report)
        if report.failed:
            # What a run left halfway is ended here, and not in the middle of what comes later.
            del done, case_run
            phases.forget()
            gc.collect()

    def _log(self, report: pytest.TestReport) -> None:
        self._item.ihook.pytest_runtest_logreport(report=report)


def _report(
    done: list[Phase],
    case_run: CaseRun,
    test: str,
    repeat: Callable[[str, str], str],
    subtests: list[BaseException],
) -> pytest.TestReport:
    """Return the one report of a case: of its call, or of the phase in which it failed."""
    shown = next((phase for phase in done if not phase.report.passed), done[min(1, len(done) - 1)])
    report = shown.report
    if report.when == "setup":
        case_run.refused = f"its setup failed: {shown.raised!r}"
    elif report.skipped:
        case_run.refused = f"it was skipped under the fault: {shown.raised}"
        case_run.acted = False
    escaped = shown.raised if report.failed else None
    if report.failed and escaped is None:
        escaped = AssertionError(report.longreprtext.strip().rpartition("\n")[2])
    where = "while it was torn down" if report.when == "teardown" else ""
    if escaped is None and subtests:
        escaped, where = subtests[0], "in a subtest"
    result = result_of(case_run, escaped, where)
    path, line, domain = report.location
    report.location = (path, line, f"{domain} [{case_run.case.id}]")
    report.when = "call"
    if result.finding:
        report.outcome = "failed"
        report.longrepr = report.longrepr or str(result)
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
