"""``pytest --chaos-explore`` runs each test without faults, and once for each case."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaospoint.testing.plugin.shares import Share, plain

pytest_plugins = "pytester"

PLUGINS = ("chaospoint.testing.plugin", "xdist.plugin", "anyio.pytest_plugin")
OPTIONS = f"-p no:cacheprovider --strict-config -p {' -p '.join(PLUGINS)}"

SHOP = """
    import unittest

    import pytest

    import chaospoint

    bank = chaospoint.point("bank.charge", raises=TimeoutError)
    audit = chaospoint.point("audit.write")

    def pay():
        with bank:
            return "paid"

    def test_copes():
        for _ in range(2):
            try:
                pay()
                break
            except TimeoutError:
                pass

    @pytest.mark.parametrize("name", ["it's", "b"])
    def test_breaks(name, tmp_path):
        (tmp_path / "fresh").mkdir()
        assert pay() == "paid"

    class TestOld(unittest.TestCase):
        def test_breaks_too(self):
            audit.hit()

    def test_hangs():
        try:
            pay()
        except TimeoutError:
            while True:
                pass

    def test_reaches_nothing():
        pass

    def test_arms_itself():
        with chaospoint.armed("bank.charge", latency=0):
            pay()

    @pytest.fixture
    def slow():
        with chaospoint.armed("bank.charge", latency=0):
            yield

    def test_is_armed_for(slow):
        pay()

    @pytest.mark.skip
    def test_skipped():
        pay()

    @pytest.mark.xfail
    def test_expected_to_fail():
        assert pay() == "refused"

    def test_draws_examples():
        pay()

    test_draws_examples.is_hypothesis_test = True  # as hypothesis marks its own

    def test_fails_by_itself():
        assert pay() == "refused"
"""

IMPATIENT = """
    from chaospoint.testing.exploring import recording

    recording._MIN_LIMIT = 0.2
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory of tests whose runs load only the plugins that they need."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini(f"[pytest]\naddopts = {OPTIONS}\n")
    return pytester


def run(project: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, dict[str, Any]]:
    given = ("--chaos-explore-json=found.json", "--chaospoint-seed=7", *options)
    result = project.runpytest_subprocess(*given, timeout=60)
    path = project.path / "found.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return result, found


def without_waits(data: Any) -> Any:
    """Remove the seconds waited, because they contain some real time."""
    if isinstance(data, dict):
        return {key: without_waits(value) for key, value in data.items() if key != "waited"}
    return [without_waits(one) for one in data] if isinstance(data, list) else data


def of(found: dict[str, Any], test: str) -> dict[str, Any]:
    (one,) = (one for one in found["tests"] if one["test"].endswith(test))
    return dict(one)


@pytest.mark.ci
def test_what_was_found_is_the_same_alone_and_on_workers(project: pytest.Pytester) -> None:
    """Each finding comes with a command that repeats only this finding."""
    project.makepyfile(test_shop=SHOP)
    project.makeconftest(IMPATIENT)
    result, found = run(project, "--chaos-explore", "--tb=no")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert of(found, "::test_copes") == {
        "test": "test_shop.py::test_copes",
        "exhaustive": True,
        "left_out": [],
        "beyond": [
            "bank.charge#2: reached only under a fault, first in bank.charge#1 "
            "raise(TimeoutError), and not failed in turn"
        ],
        "findings": 0,
        "reaches": {
            "bank.charge#1": [
                {"case": f"bank.charge#1 {said}", "when": when, "fault": fault, **handled}
                for said, when, fault, handled in (
                    ("raise(TimeoutError)", "before", "raise(TimeoutError)", HANDLED),
                    ("after raise(TimeoutError)", "after", "raise(TimeoutError)", HANDLED),
                    (
                        "latency(600s)",
                        "before",
                        "latency(600s)",
                        {**HANDLED, "waited": 600.0, "in_thread": True},
                    ),
                )
            ]
        },
    }
    assert [(one["test"], one["case"], one["outcome"]) for one in found["findings"]] == [
        ("test_shop.py::TestOld::test_breaks_too", "audit.write#1 raise(InjectedFault)", "failed"),
        *(
            (f"test_shop.py::{test}", f"bank.charge#1 {when}raise(TimeoutError)", outcome)
            for test, outcome in (
                ("test_breaks[b]", "failed"),
                ("test_breaks[it's]", "failed"),
                ("test_hangs", "hung"),
            )
            for when in ("", "after ")
        ),
    ]
    assert found["exhaustive"] is False
    for test, why in (
        ("arms_itself", "not explored: the test arms rules itself (bank.charge=latency(0ms)"),
        ("is_armed_for", "not explored: the test arms rules itself (bank.charge=latency(0ms)"),
        ("skipped", "not explored: the test is skipped"),
        ("expected_to_fail", "not explored: the test is expected to fail"),
        ("draws_examples", "not explored: hypothesis draws new examples"),
        ("fails_by_itself", "not explored: the test fails without a fault"),
    ):
        assert of(found, test)["left_out"][0].startswith(why)
        result.stdout.fnmatch_lines(f"left out of *{test}: {why.replace('[', '[[]')}*")
    assert of(found, "reaches_nothing")["reaches"] == {}
    result.stdout.fnmatch_lines(
        [
            "14 cases at 5 reaches, 7 not handled; not exhaustive: 6 left out; 1 call happened "
            "only under a fault and was not failed in turn"
        ]
    )
    result.assert_outcomes(passed=9, failed=8, skipped=1, xfailed=1)
    told = run(project, "--chaos-explore", "--tb=short", "-k", "copes or too")[0].stdout.str()
    assert told.count(f"repeat it: {found['findings'][0]['repeat']}\n") == 1

    on_workers, same = run(project, "--chaos-explore", "--tb=short", "-n2")
    assert on_workers.ret == result.ret
    assert without_waits(same) == without_waits(found)
    assert (
        "repeat it: python -m pytest 'test_shop.py::test_fails_by_itself' --"
        in on_workers.stdout.str()
    )
    # Each share runs its test; it is counted once, unless it fails by itself.
    on_workers.assert_outcomes(passed=9, failed=9, skipped=1, xfailed=1)

    project.makeini(f"[pytest]\naddopts = {OPTIONS} -n2\n")  # the command is to work there, too
    (finding,) = (
        one
        for one in found["findings"]
        if one["test"].endswith("[it's]") and one["case"].startswith("bank.charge#1 after")
    )
    assert finding["repeat"] in result.stdout.str()
    command = f"{shlex.quote(sys.executable)} {finding['repeat'].removeprefix('python ')} --tb=no"
    again = subprocess.run(
        f"{command} --chaos-explore-json=again.json",
        shell=True,
        cwd=project.path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert again.returncode == pytest.ExitCode.TESTS_FAILED, again.stdout + again.stderr
    repeated = json.loads((project.path / "again.json").read_text())
    assert repeated["cases"] == 1
    assert repeated["findings"] == [finding]


HANDLED = {"outcome": "handled", "injected": False}


def test_fixtures_of_the_function_are_fresh_and_others_stay(project: pytest.Pytester) -> None:
    """Only reaches in the test's call are failed, and a teardown that then fails is a finding."""
    project.makepyfile(
        """
        import pytest
        import chaospoint

        made = []

        @pytest.fixture(scope="module")
        def server():
            made.append("server")
            yield
            made.append("server down")

        @pytest.fixture
        def table(server):
            chaospoint.point("db.create").hit()
            rows = []
            yield rows
            chaospoint.point("db.drop").hit()
            assert len(rows) == 1, "the row is gone"

        def test_row(table):
            print("said by each run")
            assert table == []
            try:
                with chaospoint.point("db.insert"):
                    table.append(1)
            except chaospoint.InjectedFault:
                pass

        def test_last(server):
            assert made == ["server"]
        """
    )
    result, found = run(project, "--chaos-explore", "--chaos-explore-latency=none")
    (one,) = found["findings"]
    assert (one["case"], one["escaped"]) == (
        "db.insert#1 raise(InjectedFault)",
        "AssertionError: the row is gone",
    )
    assert list(of(found, "test_row")["reaches"]) == ["db.insert#1"]
    assert found["exhaustive"] is True
    assert result.stdout.str().count("said by each run") == 1  # the others are not of this case
    result.stdout.fnmatch_lines(
        [
            "*test_row [[]db.insert#1 raise(InjectedFault)] _*",
            "*the row is gone, during teardown*",
            "  python -m pytest *test_row --chaos-explore '--chaos-explore-case=db.insert#1 raise("
            "InjectedFault)' --chaos-explore-latency=none --chaospoint-seed=7",
        ]
    )


def test_what_copes_passes_and_the_options_bound_it(project: pytest.Pytester) -> None:
    project.makepyfile(
        errors="class Refused(Exception): pass",
        test_bank="""
        import asyncio
        import pytest
        import chaospoint

        @pytest.mark.anyio
        async def test_pays():
            chaospoint.point("audit").hit()
            for name in ("bank.charge", "bank.note"):
                try:
                    async with asyncio.timeout(30), chaospoint.point(name):
                        pass
                except (TimeoutError, Exception) as error:
                    assert type(error).__name__ in ("TimeoutError", "Refused")

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        """,
    )
    options = ("--chaos-explore=bank.*", "--chaos-explore-exception=errors.Refused")
    result, found = run(project, *options)
    assert result.ret == pytest.ExitCode.OK
    assert found["exhaustive"] is True
    (test,) = found["tests"]
    assert list(test["reaches"]) == ["bank.charge#1", "bank.note#1"]
    late = test["reaches"]["bank.charge#1"][2]
    assert (late["case"], late["waited"]) == ("bank.charge#1 latency(600s)", 30.0)
    result.stdout.fnmatch_lines(["6 cases at 2 reaches, 0 not handled; exhaustive"])

    bounded, found = run(project, *options, "--chaos-explore-max=2", "-v")
    assert bounded.ret == pytest.ExitCode.OK
    assert found["exhaustive"] is False
    bounded.stdout.fnmatch_lines(
        [
            "*test_pays HANDLED bank.charge#1 raise(errors.Refused) *",
            "*test_pays HANDLED bank.note#1 raise(errors.Refused) *",
            "left out of *test_pays: 4 of 6 cases, because the maximum is 2",
        ]
    )


def test_a_run_that_is_stopped_says_what_it_did_not_come_to(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import chaospoint

        def test_pays():
            for _ in range(3):
                chaospoint.point("bank").hit()

        def test_next():
            pass
        """
    )
    result, found = run(project, "--chaos-explore", "-x")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert of(found, "test_pays")["left_out"] == ["5 cases not run, because the run ended early"]
    assert len(found["findings"]) == 1

    gone, found = run(project, "--chaos-explore", "--chaos-explore-case=bank#4 latency(1s)")
    assert gone.ret == pytest.ExitCode.TESTS_FAILED
    assert "this run has no case 'bank#4 latency(1s)'; the nearest: " in gone.stdout.str()
    assert found["cases"] == 0
    assert found["exhaustive"] is False
    typo, _ = run(project, "--chaos-explore=bnk.*")
    assert typo.ret == pytest.ExitCode.TESTS_FAILED
    typo.stdout.fnmatch_lines("no test reached a point that 'bnk.[*]' matches; the nearest: bank")


def test_a_terminal_shows_a_bar_in_place_of_letters(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import chaospoint

        def test_pays():
            chaospoint.point("bank").hit()
        """
    )
    main, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "--chaos-explore", "--tb=no"],
        cwd=project.path,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(terminal)
        shown = b""
        try:
            while part := os.read(main, 65_536):
                shown += part
        except OSError:
            pass  # the terminal is closed at the other end
        finally:
            os.close(main)
    text = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).split())
    assert process.returncode == pytest.ExitCode.TESTS_FAILED, text
    assert re.search(r"exploring .* 2/2 .*1 not handled", text)
    assert "test_pays bank#1 raise(InjectedFault): failed with InjectedFault" in text
    assert not re.search(r"test_a_terminal\w*\.py [.F]", text)
    assert "FAILED test_a_terminal" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--chaos-explore-max=3"], "--chaos-explore-max has no effect without --chaos-explore"),
        (["--chaos-explore", "some/tests"], "not a name or glob of points"),
        (["--chaos-explore", "here"], "not a name or glob of points: write --chaos-explore=GLOB"),
        (["--chaos-explore", "--chaos-explore-max=0"], "write a number from 1"),
        (["--chaos-explore", "--chaos-explore-latency=soon"], "not a duration"),
        (["--chaos-explore", "--chaos-explore-exception=no good"], "no good"),
        (
            ["--chaos-explore", "--chaos-explore-json=no/such/dir/a.json"],
            "there is no directory",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(
    pytester: pytest.Pytester, options: list[str], said: str
) -> None:
    (pytester.path / "here").mkdir()
    with pytest.raises(pytest.UsageError, match=re.escape(said)):
        pytester.parseconfigure(*options)


def test_an_exception_that_is_not_there_is_refused_once_tests_are_collected(
    project: pytest.Pytester,
) -> None:
    project.makepyfile("def test(): pass")
    result, _ = run(project, "--chaos-explore", "--chaos-explore-exception=nowhere.Error")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("ERROR: --chaos-explore-exception=nowhere.Error: *nowhere*")


def test_without_rich_the_cure_is_said(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chaospoint.testing.plugin import exploring

    monkeypatch.setattr(exploring, "find_spec", lambda _: None)
    with pytest.raises(pytest.UsageError, match=r"pip install 'chaospoint\[testing\]'"):
        pytester.parseconfigure("--chaos-explore")


def test_each_case_falls_to_one_share() -> None:
    shares = [Share(nth, 3) for nth in range(3)]
    for nth in range(100):
        assert sum(share.takes(f"bank#{nth} raise") for share in shares) == 1
    assert {plain(f"a.py::t[{own}share2of3]") for own in ("", "x-", "share-")} == {
        "a.py::t",
        "a.py::t[x]",
        "a.py::t[share]",
    }
    assert plain("a.py::t[share1of2-x]") == "a.py::t[share1of2-x]"


@pytest.mark.once
def test_the_shop_is_explored_and_copes(pytester: pytest.Pytester) -> None:
    """The example of the documentation, run with its own command."""
    shop = Path(__file__).parents[2] / "examples" / "shop"
    found = pytester.path / "found.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "test_explored.py", "-p", "no:cacheprovider"),
            *("--chaos-explore", f"--chaos-explore-json={found}"),
        ],
        cwd=shop,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(found.read_text())
    assert data["exhaustive"] is True
    assert data["cases"] == 75
