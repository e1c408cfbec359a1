"""Fault coverage under pytest, in separate runs, with and without workers."""

from __future__ import annotations

import json
import re

import pytest
from _pytest.pytester import LineMatcher
from refusals import refused

pytest_plugins = "pytester"

APP = """
import chaospoint

@chaospoint.point("pay.charge")
def charge():
    return 1

@chaospoint.point("pay.refund")
def refund():
    return 1

@chaospoint.point("stock.take")
def take():
    return 1
"""

TESTS = """
import chaospoint, pytest
from app import charge, refund

@pytest.fixture(scope="session", autouse=True)
def last():
    yield
    {at_the_end}

def test_timeout():
    with chaospoint.armed("pay.charge", exception=TimeoutError, latency=0.0, times=1):
        with pytest.raises(TimeoutError):
            charge()
        charge()

def test_refund():
    refund()
"""

TABLE = [
    "POINT       REACHES  EXCEPTION  LATENCY",
    "pay.charge        2          1        1",
    "pay.refund        1          -        -  reached, no fault fired",
    "stock.take        0          -        -  never reached",
    "a fault fired at 1 of 3 points: 33.3%",
]

COUNTS = {
    "pay.charge": {"reaches": 2, "fired": {"exception": 1, "latency": 1}},
    "pay.refund": {"reaches": 1, "fired": {}},
    "stock.take": {"reaches": 0, "fired": {}},
}


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Loads only the given plugins, because most plugins take longer than the tests."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider -p chaospoint.testing.plugin\n")
    pytester.makepyfile(app=APP, test_app=TESTS.format(at_the_end="pass"))
    return pytester


def run(suite: pytest.Pytester, *options: str) -> pytest.RunResult:
    return suite.runpytest_subprocess(*options, timeout=60)


def test_the_run_ends_with_the_table(suite: pytest.Pytester) -> None:
    result = run(suite, "--chaos-cov")
    result.stdout.fnmatch_lines(["*= fault coverage =*", *TABLE], consecutive=True)
    assert result.ret == 0


def test_the_order_of_the_tests_makes_no_difference(suite: pytest.Pytester) -> None:
    result = run(suite, "-p", "pytest_randomly", "--chaos-cov")
    result.stdout.fnmatch_lines(TABLE, consecutive=True)


def test_without_the_options_nothing_of_it_is_imported_or_shown(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_app="""
        import sys
        def test_nothing_was_loaded():
            assert "chaospoint.testing.coverage" not in sys.modules
            assert "rich" not in sys.modules
        """
    )
    result = run(suite)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*fault coverage*")


@pytest.mark.once
def test_workers_add_up_to_the_same_json(suite: pytest.Pytester) -> None:
    alone, together = suite.path / "alone.json", suite.path / "together.json"
    assert run(suite, f"--chaos-cov-json={alone}").ret == 0
    result = run(suite, "--chaos-cov-json=together.json", "-p", "xdist", "-n2")
    assert result.ret == 0
    result.stdout.fnmatch_lines(TABLE, consecutive=True)
    assert together.read_text() == alone.read_text()
    assert json.loads(alone.read_text())["points"] == COUNTS


@pytest.mark.once
def test_what_ran_in_a_worker_that_died_is_said_to_be_missing(suite: pytest.Pytester) -> None:
    """Even a share that is high enough is not trusted."""
    suite.makepyfile(
        test_dying="""
        import os
        from app import take
        def test_dies():
            take()
            os._exit(3)
        """
    )
    result = run(suite, "-p", "xdist", "-n2", "--chaos-cov-fail-under=0", "--chaos-cov-json=c.json")
    out = result.stdout.str()
    dead = re.findall(r"(gw\d) did not report, so its tests are not counted", out)
    assert len(dead) == 1, out
    assert f"--chaos-cov-fail-under=0 cannot be decided: {dead[0]} did not report" in out
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert json.loads((suite.path / "c.json").read_text())["missing"] == dead


@pytest.mark.parametrize(("least", "status"), [("33.3", 0), ("33.4", 1), ("0", 0), ("100", 1)])
def test_the_run_fails_under_the_share(suite: pytest.Pytester, least: str, status: int) -> None:
    result = run(suite, f"--chaos-cov-fail-under={least}", "--color=yes")
    short = f"ERROR: a fault fired at 1 of 3 points, which is less than {least}%"
    assert (short in result.stdout.str()) is bool(status)
    if status:
        assert f"\x1b[31m\x1b[1m{short}" in result.stdout.str()  # red
    assert result.ret == status
    result.assert_outcomes(passed=2)


def test_a_suite_without_points_fails_under_anything(suite: pytest.Pytester) -> None:
    result = run(suite, "--chaos-cov=nothing.*", "--chaos-cov-fail-under=0")
    result.stdout.fnmatch_lines(
        [
            "no known point matches 'nothing.[*]'*",
            "ERROR: --chaos-cov-fail-under=0: there are no points to cover",
        ]
    )
    assert result.ret == 1


def test_only_points_of_the_glob_are_shown(suite: pytest.Pytester) -> None:
    result = run(suite, "--chaos-cov=pay.*")
    result.stdout.fnmatch_lines(["a fault fired at 1 of 2 points: 50.0%"])
    result.stdout.no_fnmatch_line("stock.take*")


REFUSED: list[tuple[list[str], str]] = [
    (["--chaos-cov-fail-under=101"], "*'101' is not a percentage: write a number from 0 to 100*"),
    (["--chaos-cov-fail-under=-1"], "*'-1' is not a percentage*"),
    (["--chaos-cov-fail-under=nan"], "*'nan' is not a percentage*"),
    (["--chaos-cov-fail-under=most"], "*'most' is not a percentage*"),
    (["--chaos-cov", "test_app.py"], "*put the option after the paths*"),
    (
        ["--chaos-cov-json=no/such/c.json"],
        "*c.json: there is no directory *such: create it first*",
    ),
    (["--chaos-cov-json=app.py/c.json"], "*--chaos-cov-json=app.py/c.json: there is no *"),
    (["--chaos-cov-json="], "*--chaos-cov-json=: write the path of a file*"),
    (["--chaos-cov-json=."], "*--chaos-cov-json=.: write the path of a file*"),
    (["--chaos-cov=Pay.*"], "*uppercase letters are not allowed; write 'pay.[*]'*"),
]


def test_a_wrong_option_is_refused_with_the_cure(suite: pytest.Pytester) -> None:
    runs = [options for options, _ in REFUSED]
    for (_, said), (status, lines) in zip(REFUSED, refused(suite, *runs), strict=True):
        LineMatcher(lines).fnmatch_lines([said])
        assert status == pytest.ExitCode.USAGE_ERROR


def test_without_rich_the_run_does_not_begin(suite: pytest.Pytester) -> None:
    suite.makepyfile(no_rich="import sys; sys.modules['rich'] = None")
    result = run(suite, "-p", "no_rich", "--chaos-cov")
    result.stderr.fnmatch_lines(["*--chaos-cov needs rich*pip install 'chaospoint[[]testing]'*"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_collecting_only_shows_no_table(suite: pytest.Pytester) -> None:
    result = run(suite, "--chaos-cov", "--chaos-cov-fail-under=100", "--collect-only")
    result.stdout.no_fnmatch_line("*fault coverage*")
    assert result.ret == 0


def test_what_runs_while_collecting_and_when_fixtures_end_counts_too(
    suite: pytest.Pytester,
) -> None:
    at_import = "from app import take as at_import; at_import()"
    suite.makepyfile(test_app=at_import + TESTS.format(at_the_end="refund()"))
    result = run(suite, "--chaos-cov")
    result.stdout.fnmatch_lines(["pay.refund        2 *", "stock.take        1 *"])


@pytest.mark.parametrize(
    ("end", "options", "status"),
    [("assert False", ["-x"], 1), ("raise KeyboardInterrupt", [], 2)],
)
def test_a_run_that_ends_early_shows_what_it_has(
    suite: pytest.Pytester, end: str, options: list[str], status: int
) -> None:
    suite.makepyfile(test_a=f"def test_a():\n    from app import take; take(); {end}")
    result = run(suite, "--chaos-cov", *options)
    result.stdout.fnmatch_lines(["stock.take        1 *", "a fault fired at 0 of 3 points: 0.0%"])
    so_far = "the run was interrupted, so these counts are incomplete"
    assert (so_far in result.stdout.str()) is (status == 2)
    assert result.ret == status


def test_a_directory_with_the_name_of_a_point_is_no_path_behind_an_equals_sign(
    suite: pytest.Pytester,
) -> None:
    (suite.path / "stock.take").mkdir()
    result = run(suite, "--chaos-cov=stock.take")
    result.stdout.fnmatch_lines(["a fault fired at 0 of 1 points: 0.0%"])
    assert result.ret == 0


def test_json_that_can_no_more_be_written_fails_the_run(suite: pytest.Pytester) -> None:
    suite.makeconftest(
        """
        import pathlib

        def pytest_collection_finish():
            pathlib.Path("c.json").mkdir()
        """
    )
    result = run(suite, "--chaos-cov-json=c.json")
    result.stdout.fnmatch_lines([*TABLE, "ERROR: --chaos-cov-json=*c.json cannot be written: *"])
    assert result.ret == 1
