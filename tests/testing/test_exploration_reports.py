"""The output of ``--chaos-explore``: the summary, the cache, JUnit XML and exit codes."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.pytester import LineMatcher
from refusals import refused

from chaospoint.errors import ChaosError
from chaospoint.testing import Exploration
from chaospoint.testing.exploring.result import Result
from chaospoint.testing.exploring.table import patience, summary, waited_out
from chaospoint.testing.plugin.gathered import Gathered

pytest_plugins = "pytester"

PLUGINS = "-p chaospoint.testing.plugin -p xdist.plugin"
APP = """
import chaospoint

@chaospoint.point("bank.charge", raises=OSError)
def charge():
    return 1

@chaospoint.point("bank.note", raises=OSError)
def note():
    return 1
"""
TESTS = """
from app import charge, note

def test_pays():
    charge()
    try:
        note()
    except OSError:
        pass

def test_next():
    pass
"""
CASE = "bank.charge#1 raise(OSError)"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini(f"[pytest]\naddopts = {PLUGINS}\njunit_family = xunit2\n")
    pytester.makepyfile(app=APP, test_app=TESTS)
    return pytester


def run(project: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, dict[str, Any]]:
    found = project.path / "found.json"
    found.unlink(missing_ok=True)
    given = ("--chaos-explore-json=found.json", *options)
    result = project.runpytest_subprocess(*given, timeout=60)
    return result, json.loads(found.read_text()) if found.exists() else {}


@pytest.mark.parametrize(
    "workers",
    [
        (),
        pytest.param(("-n2",), marks=pytest.mark.once),
        pytest.param(("-n2", "--dist=each"), marks=[pytest.mark.once, pytest.mark.ci]),
    ],
)
def test_all_that_reads_reports_sees_the_test_and_the_case(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    result, found = run(project, "--chaos-explore", "--junitxml=j.xml", *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    # What was handled after it leaves the failure in the cache, and no name of a share is there.
    cached = project.path / ".pytest_cache" / "v" / "cache" / "lastfailed"
    assert json.loads(cached.read_text()) == {"test_app.py::test_pays": True}
    failed = [line for line in result.outlines if line.startswith("FAILED")]
    each = 2 if "--dist=each" in workers else 1
    said = f"FAILED test_app.py::test_pays - {CASE}: OSError"
    assert sum(line.startswith(said) for line in failed) == each
    assert "share" not in "".join(failed)
    cases = {
        f"test_pays [{case['case']}]": case["outcome"]
        for (test,) in ([one for one in found["tests"] if one["test"].endswith("pays")],)
        for cases in test["reaches"].values()
        for case in cases
    }
    suite = ET.parse(project.path / "j.xml").getroot().find("testsuite")
    assert suite is not None
    written = [(one.attrib["name"], one.find("failure") is not None) for one in suite]
    assert sorted(one for one in written if one[0].startswith("test_pays [bank")) == sorted(
        [(name, outcome == "failed") for name, outcome in cases.items()] * each
    )
    assert len(cases) == 6
    assert suite.attrib["tests"] == str(len(written))
    assert {name.partition("[")[0].strip() for name, _ in written} == {"test_pays", "test_next"}
    assert found["cases"] == 6
    assert found["exhaustive"] is True
    assert found["waited_to_the_end"] == ["bank.charge", "bank.note"]


def test_a_case_that_was_not_really_tried_is_no_success(project: pytest.Pytester) -> None:
    """It was reached in the first run, and not again."""
    project.makepyfile(
        test_app="""
        from app import charge
        runs = []

        def test_first_only():
            runs.append(1)
            if len(runs) == 1:
                charge()
        """
    )
    result, found = run(project, "--chaos-explore", f"--chaos-explore-case={CASE}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"the case '{CASE}' was not tried: *"])
    assert found["exhaustive"] is False


@pytest.mark.parametrize("workers", [(), pytest.param(("-n2",), marks=pytest.mark.once)])
def test_where_nothing_was_reached_the_nearest_names_are_said(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    result, found = run(project, "--chaos-explore=bnak.charge", *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["no test reached a point that 'bnak.charge' matches; the nearest: bank.charge*"]
    )
    result.stdout.fnmatch_lines(["0 cases at 0 reaches, 0 not handled; nothing was tried"])
    assert found["exhaustive"] is False


def test_without_any_point_nothing_is_exhaustive(project: pytest.Pytester) -> None:
    result, found = run(project, "--chaos-explore", "-k", "next")
    result.stdout.fnmatch_lines(["no test reached a point", "*; nothing was tried"])
    assert found["exhaustive"] is False
    assert result.ret == pytest.ExitCode.OK


def test_the_command_repeats_how_pytest_was_started(project: pytest.Pytester) -> None:
    (project.path / "other.ini").write_text(f"[pytest]\naddopts = {PLUGINS}\n")
    options = ("-c", "other.ini", "-Wignore::UserWarning", "--rootdir=.", "-p", "no:cacheprovider")
    _, found = run(project, *options, "--chaos-explore", "--chaos-explore-limit=1.5m")
    finding, _ = found["findings"]
    assert finding["repeat"].startswith(
        "python -m pytest "  # what else pytester gives stands in between
    )
    assert (
        " -c other.ini -Wignore::UserWarning --rootdir=. -p no:cacheprovider "
        f"test_app.py::test_pays --chaos-explore '--chaos-explore-case={CASE}' "
        "--chaos-explore-limit=90s --chaospoint-seed="
    ) in finding["repeat"]


REFUSED = {
    "=Pay.*": "--chaos-explore Pay.*: not a name*; write 'pay.[*]'*",
    "-latency=fast": "--chaos-explore-latency=fast: not a duration; write *; or 'none'",
    "-limit=soon": "--chaos-explore-limit=soon: not a duration; write *",
    "-limit=0": "--chaos-explore-limit=0: write a duration above 0",
    "-exception=Foo": "--chaos-explore-exception=Foo: *",
    "-exception=KeyboardInterrupt": "*=KeyboardInterrupt: not a subclass of Exception*",
    "-exception=asyncio.CancelledError": "*=asyncio.CancelledError: not a subclass of Exception*",
    "-json=": "--chaos-explore-json=: write the path of a file*",
    "-json=.": "--chaos-explore-json=.: write the path of a file*",
}


def test_a_refusal_names_the_option_that_was_wrong(project: pytest.Pytester) -> None:
    runs = [["--chaos-explore", f"--chaos-explore{option}"] for option in REFUSED]
    for expected, (status, lines) in zip(REFUSED.values(), refused(project, *runs), strict=True):
        LineMatcher(lines).fnmatch_lines([f"ERROR: {expected}"])
        assert status == pytest.ExitCode.USAGE_ERROR


def result(case: str, outcome: Any = "handled", **keys: Any) -> Result:
    return Result(case, "p", 1, "before", "off", 0, outcome, **keys)


def test_processes_that_recorded_different_reaches_are_not_exhaustive() -> None:
    for hashes, exhaustive in (((1, 1), True), ((1, 2), False)):
        test = Gathered("t")
        for share, one in enumerate(hashes):
            test.add_share({"cases": 0, "left_out": [], "of": 0, "hash": one}, f"gw{share}")
        assert test.exploration().exhaustive is exhaustive


@pytest.mark.parametrize(
    ("processes", "of", "missing"),
    [
        ({"gw0": "ab", "gw1": "a"}, 2, 1),  # each runs the same share, and one of them dies
        ({"gw0": "ab", "gw1": "ab"}, 2, 0),
        ({"gw0": "ab"}, 5, 3),  # the other share was never begun
        ({"gw0": "ab", "gw1": "cd"}, 4, 0),
    ],
)
def test_cases_of_a_share_that_never_ran_and_of_a_process_that_died_are_missed(
    processes: dict[str, str], of: int, missing: int
) -> None:
    test = Gathered("t")
    for process, cases in processes.items():
        test.add_share({"cases": 2, "left_out": [], "of": of}, process)
        for case in cases:
            test.add(result(case), process)
    said = f"{missing} case{'s' * (missing != 1)} not run, because the run ended early"
    assert test.exploration().left_out == ((said,) if missing else ())


def test_the_worst_of_what_processes_say_of_a_case_is_kept() -> None:
    test = Gathered("t")
    for outcome in ("handled", "failed", "left out", "handled"):
        test.add(result("a", outcome), "gw0")
    assert [one.outcome for one in test.results] == ["failed"]


def test_what_was_waited_for_in_a_thread_is_said_apart() -> None:
    in_thread: Any = SimpleNamespace(
        point="q",
        nth=1,
        order=0,
        finding=False,
        late=9.0,
        waited=9.0,
        in_thread=True,
    )
    cases = (
        result("a", late=600.0, waited=600.0),
        in_thread,
        result("c", late=600.0, waited=30.0),
    )
    found = [Exploration("t", cases)]
    assert waited_out(found) == ["p", "q"]
    assert [*patience(found)] == [
        "at p the test waited for the late answer: nothing timed out",
        "at q the test waited for the late answer: nothing timed out. In plain threads this proves "
        "nothing, because only chaospoint's waits skip time",
    ]
    assert summary(found).endswith("; exhaustive")
    assert summary([Exploration("t")]).endswith("; nothing was tried")


def test_without_rich_printing_an_exploration_says_the_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "chaospoint.testing.exploring.table")
    monkeypatch.setitem(sys.modules, "rich.table", None)
    with pytest.raises(ChaosError, match=r"pip install 'chaospoint\[testing\]'"):
        str(Exploration("t"))
