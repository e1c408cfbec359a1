"""Run each test without faults, and then once for each case, with new fixtures each time.

Only the call phase is recorded and gets faults: setup and teardown are not explored. Each case is
reported as a run of its test. Its result is attached to the report as plain data, so that
pytest-xdist can send it from a worker.
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
from chaospoint.testing.exploring.case_runs import CaseRun
from chaospoint.testing.exploring.cases import Case, Cases, Faults, cases_of
from chaospoint.testing.exploring.control_run import ControlRun
from chaospoint.testing.exploring.outcome import result_of
from chaospoint.testing.exploring.recording import Recording, none_reached, recording
from chaospoint.testing.plugin.phases import SILENT, Phase, Phases
from chaospoint.testing.plugin.shares import Share, multiply, plain

if TYPE_CHECKING:
    from chaospoint._kernel.injection import Injection
    from chaospoint._registry.notices import Notice
    from chaospoint.testing.plugin.asked import Asked

__all__ = ["CASE", "RECORDED", "SHARE", "Exploring"]

RECORDED = "chaos_recorded"
"""The attribute of a report with the data of a test.

``test``; ``cases``, the number in this share; ``left_out``; ``of``, the number in all shares;
``hash`` of all ids, equal in all shares that recorded the same reaches; ``none_reached``, the
reason why there are no cases, if no point was reached.
"""
SHARE = "chaos_share"
"""The attribute of a report with the index of the share, from 0."""
CASE = "chaos_case"
"""The attribute of a report with the data of a case: ``test``, and the fields of its `Result`."""


class Exploring:
    """Replaces the way pytest runs a test."""

    def __init__(self, config: pytest.Config, asked: Asked) -> None:
        self._asked = asked
        self._faults: Faults | None = None
        self.phases = Phases()
        self.repeat = asked.repeat
        self._config = config
        config.pluginmanager.register(self.phases, "chaospoint-phases")

    @pytest.hookimpl(trylast=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Spread the cases of each test over the pytest-xdist workers."""
        if self._asked.case is None:
            multiply(metafunc)

    def pytest_collection_finish(self) -> None:
        """Look up the exceptions of the options, now that the test modules are imported."""
        self._faults = self._asked.faults()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Run and explore a test."""
        if not isinstance(item, pytest.Function):
            return (
                None  # pytest runs it; `pytest_runtest_makereport` reports that it is not explored
            )
        item_info = {"nodeid": item.nodeid, "location": item.location}
        item.ihook.pytest_runtest_logstart(**item_info)
        try:
            _Exploration(self, item, nextitem).run()
        finally:
            item.ihook.pytest_runtest_logfinish(**item_info)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Report that an item which is not a test function is not explored."""
        report = yield
        if call.when == "teardown" and not isinstance(item, pytest.Function):
            reason = "not explored: it is not a test function"
            setattr(report, RECORDED, _share_data(item.nodeid, (), (), [reason], []))
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Hide subtests of a case."""
        return ("", "", "") if hasattr(report, SILENT) else None

    def uncaptured(self) -> None:
        """Stop capturing output, because this process is about to exit."""
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if capture is not None:
            capture.suspend(in_=True)

    @property
    def limit(self) -> float | None:
        """The seconds of real time after which a case counts as hung; None for the default."""
        given: float | None = self._asked.limit
        return given

    def cases(self, recorded: Recording) -> Cases:
        """Return the cases of a test, as selected by the options."""
        asked = self._asked
        most = None if asked.case is not None else asked.most
        assert self._faults is not None
        cases = cases_of(
            recorded.reaches, recorded.ends, self._faults, points=asked.points, most=most
        )
        if asked.case is None:
            return cases
        return Cases((cases.only(asked.case),), (f"all cases except {asked.case}",))

    def none_reached(self, recorded: Recording) -> list[str]:
        """Return a sentence if the test reached none of the points that the options select."""
        return none_reached(default_registry(), self._asked.points, recorded)


def _share_data(
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
        self, exploring: Exploring, item: pytest.Function, nextitem: pytest.Item | None
    ) -> None:
        self._exploring = exploring
        self._item = item
        self._nextitem = nextitem
        self._again = copy.copy(item)  # a sibling, so that fixtures of a wider scope survive
        self._share = Share.named(item)
        self._test = plain(item.nodeid)
        self._cases: tuple[Case, ...] = ()
        self._todo: list[Case] = []
        self._none_reached: list[str] = []
        self._left_out: list[str] = []
        self._recorded = Recording()
        self._arms = _Arms()

    def run(self) -> None:
        """Run the test without faults, and then the cases of this share."""
        phases = self._exploring.phases.run(self._item, self._recording(), self._plan)
        for phase in phases:
            setattr(phase.report, SHARE, self._share.nth)
            self._unshare(phase.report)
        if reason := self._why_not(phases):  # again, because the teardown has run since
            self._cases, self._todo, self._left_out = (), [], [reason]
        if self._todo and not self._stopped():
            self._control()
        data = _share_data(self._test, self._cases, self._todo, self._left_out, self._none_reached)
        setattr(phases[-1].report, RECORDED, data)
        for phase in phases:
            self._log(phase.report)
        # Logged before the cases, so that the summary of a stopped run counts the missing ones.
        while self._todo and not self._stopped():
            self._try(self._todo.pop(0))
        self._finish()

    def _stopped(self) -> bool:
        return bool(self._item.session.shouldstop or self._item.session.shouldfail)

    def _unshare(self, report: pytest.TestReport) -> None:
        """Let printed commands name the test, because its share exists only in this run."""
        name, test = self._item.name, plain(self._item.name)
        if name != test:
            report.sections = [(title, text.replace(name, test)) for title, text in report.sections]

    @contextmanager
    def _recording(self) -> Iterator[None]:
        registry = default_registry()
        self._arms.look(registry.rules())
        registry.add_observer(self._arms)
        try:
            with recording(registry) as self._recorded:
                yield
        finally:
            registry.remove_observer(self._arms)

    def _plan(self, done: list[Phase]) -> pytest.Item | None:
        if reason := self._why_not(done):
            self._left_out.append(reason)
            return self._nextitem
        try:
            cases = self._exploring.cases(self._recorded)
        except ChaosError as error:
            self._left_out.append(str(error))
            return self._nextitem
        except Exception as error:  # a bug in chaospoint must not lose the test's report
            self._left_out.append(f"not explored: {type(error).__name__}: {error}")
            return self._nextitem
        self._left_out += cases.left_out
        self._none_reached = self._exploring.none_reached(self._recorded)
        self._cases = cases.cases
        self._todo = [case for case in cases.cases if self._share.takes(case.id)]
        return self._again if self._todo else self._nextitem

    def _control(self) -> None:
        """Run the test again without faults, without reporting that run."""
        control = ControlRun(default_registry(), self._recorded)
        control.limit.before_end = self._exploring.uncaptured

        done = self._exploring.phases.run(self._item, control, lambda _: self._again)
        failed = next((phase for phase in done if not phase.report.passed), None)
        subtests = self._exploring.phases.subtests
        raised = [*([] if failed is None else [failed.raised]), *subtests, None][0]
        if reason := control.why_not(failed is not None or bool(subtests), raised):
            self._cases, self._todo, self._left_out = (), [], [reason]
        else:
            self._left_out += control.left_out()

    def _finish(self) -> None:
        """Tear down fixtures of a wider scope; a failure there belongs to no case."""
        state = self._item.session._setupstate
        following = None if self._stopped() else self._nextitem
        call = pytest.CallInfo.from_call(lambda: state.teardown_exact(following), "teardown")
        if call.excinfo is not None:
            self._log(pytest.TestReport.from_item_and_call(self._item, call))

    def _why_not(self, done: list[Phase]) -> str:
        last = done[-1].report
        if hasattr(last, "wasxfail"):
            return "not explored: the test is expected to fail"
        if last.skipped:
            return "not explored: the test is skipped"
        if any(phase.report.failed for phase in done) or self._exploring.phases.subtests:
            return "not explored: the test fails without a fault"
        if getattr(self._item.function, "is_hypothesis_test", False):
            return "not explored: hypothesis draws new examples in each run, so runs differ"
        if self._arms.armed:
            return (
                f"not explored: the test arms rules itself ({self._arms.armed}), so it expects "
                "those faults"
            )
        return ""

    def _try(self, case: Case) -> None:
        case_run = CaseRun(default_registry(), case, self._recorded, self._exploring.limit)
        case_run.limit.before_end = self._exploring.uncaptured
        phases = self._exploring.phases
        try:
            with case_run.unhandled:
                done = phases.run(self._item, case_run, lambda _: self._again)
        finally:
            case_run.close()
        report = _report(done, case_run, self._test, self._exploring.repeat, phases.subtests)
        self._log(report)
        if report.failed:
            # Collect what the failed run left open now, and not in the middle of a later run.
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
    """Return the report of a case: that of the phase that failed, or else of the call."""
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
    where = "during teardown" if report.when == "teardown" else ""
    if escaped is None and subtests:
        escaped, where = subtests[0], "in a subtest"
    result = result_of(case_run, escaped, where)
    path, line, domain = report.location
    report.location = (path, line, f"{domain} [{case_run.case.id}]")
    report.when = "call"
    if result.finding:
        report.outcome = "failed"
        report.longrepr = report.longrepr or str(result)
        # Replace the section with the command that repeats the whole test.
        report.sections = [section for section in report.sections if section[0] != "chaospoint"]
        report.sections.append(("chaospoint", f"repeat it: {repeat(test, result.case)}"))
    else:
        report.outcome, report.longrepr, report.sections = "passed", None, []
    setattr(report, CASE, {"test": test, **asdict(result)})
    return report


class _Arms:
    """Records the first rule that the test arms itself."""

    def __init__(self) -> None:
        self.armed = ""

    def observe(self, injection: Injection) -> None:
        """Ignore injections."""

    def notice(self, notice: Notice) -> None:
        """Record a rule that code or a test arms."""
        if isinstance(notice, RuleArmed):
            self.look([notice.rule])

    def look(self, rules: object) -> None:
        """Record the first of these rules that code or a test armed."""
        for rule in rules:  # type: ignore[attr-defined]
            if not self.armed and rule.source in ("code", "test"):
                self.armed = rule.shown
