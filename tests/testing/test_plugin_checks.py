"""The pytest plugin, run by real pytest processes: exactly the test that caused it fails.

The inner tests are in `suites`; each says by a marker how it is to come out.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from chaospoint.testing.plugin.seeding import _seed

pytest_plugins = "pytester"

SUITES = Path(__file__).parent / "suites"
ALWAYS = ("-p", "no:ordeal", "-p", "no:cacheprovider", "-p", "no:schemathesis")
FEW = ("-p", "no:anyio", "-p", "no:hypothesispytest", "-p", "no:xdist")
WAYS = {
    "plain": ("-p", "no:xdist", "-p", "no:randomly"),
    "two processes": ("-n", "2", "-p", "no:randomly"),
    "shuffled": ("-p", "no:xdist", "--randomly-seed=11"),
    "two processes, shuffled": ("-n", "2", "--randomly-seed=12"),
}

LEFT_TO_CI = ("two processes", "shuffled")
"""These two ways are covered by the other two."""


class Report(NamedTuple):
    """The actual and the expected outcome of an inner test."""

    outcome: str
    text: str
    expected: list[str]


class Inner:
    """A project of inner tests, and runs of it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        pytester.makeini(
            "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
        )
        self.add("conftest", "inner_conftest")
        self.add("shop")

    def add(self, name: str, suite: str | None = None) -> None:
        text = (SUITES / f"{suite or name}.py").read_text()
        self._pytester.path.joinpath(f"{name}.py").write_text(text)

    def run(self, *options: str) -> pytest.RunResult:
        return self._pytester.runpytest_subprocess(*ALWAYS, *options)

    def reports(self) -> dict[str, Report]:
        found: dict[str, Report] = {}
        for line in (self._pytester.path / "reports.jsonl").read_text().splitlines():
            one: dict[str, Any] = json.loads(line)
            told = "".join(f"\ntold: {text}" for text in one["told"].splitlines())
            before = found.get(one["test"], Report("passed", "", one["expected"]))
            outcome = before.outcome
            if one["when"] != "call" and one["outcome"] == "failed":
                outcome = "error" if outcome in ("passed", "error") else f"{outcome}, error"
            elif one["outcome"] != "passed":
                outcome = one["outcome"]
            text = f"{before.text}\n{one['text']}{told}"
            found[one["test"]] = Report(outcome, text, one["expected"])
        return found


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Inner:
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        monkeypatch.delenv(name)  # where these tests themselves run in a process of it
    return Inner(pytester)


def unmet(report: Report) -> list[str]:
    """Return the expected words that a report lacks; ``told:`` marks chaospoint's own section."""
    lines = report.text.splitlines()
    return [
        word
        for word in report.expected[1:]
        if not any(
            word.removeprefix("told: ") in line
            for line in lines
            if not word.startswith("told: ") or line.startswith("told: ")
        )
    ]


def check(reports: dict[str, Report]) -> None:
    """Every inner test has the expected outcome and message."""
    wrong = [
        f"{name}: {report.outcome} instead of {report.expected[0]}\n{report.text}"
        for name, report in reports.items()
        if report.outcome not in report.expected[0].split(" or ")
    ]
    assert not wrong, "\n".join(wrong)
    silent = [
        f"{name} does not say {words}:\n{report.text}"
        for name, report in reports.items()
        if (words := unmet(report))
    ]
    assert not silent, "\n".join(silent)


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=[pytest.mark.ci] * (way in LEFT_TO_CI)) for way in WAYS],
)
def test_exactly_what_caused_it_fails(inner: Inner, way: str) -> None:
    suites = ("rules", "leaks", "waits", "bugs", "kinds")
    for suite in suites:
        inner.add(f"test_{suite}", suite)
    result = inner.run(*WAYS[way], "--strict-markers")
    reports = inner.reports()
    assert len(reports) > 100, result.stdout.str()
    assert {name.partition(".")[0] for name in reports} == {f"test_{suite}" for suite in suites}
    check(reports)


def test_a_fixture_that_outlives_a_test_is_judged_at_its_own_end(inner: Inner) -> None:
    inner.add("test_ends", "ends")
    inner.run(*FEW, *WAYS["plain"])
    reports = inner.reports()
    check(reports)
    renewed = [one for name, one in reports.items() if "TestRenewed" in name]
    assert sorted(one.outcome for one in renewed) == ["error", "passed"]
    assert any('stock.read=return("a")' in one.text for one in renewed)


def test_what_is_used_rightly_warns_of_nothing(inner: Inner, pytester: pytest.Pytester) -> None:
    """With a plugin that uses shorter names of the same options, under the strictest settings."""
    inner.add("test_clean", "clean")
    pytester.makepyfile(
        other="""
        def pytest_addoption(parser):
            parser.addoption("--chaos-seed", type=int)
            parser.addoption("--chaos", action="store_true")
        """
    )
    strict = ("-W", "error", "--strict-markers", "--strict-config", "--doctest-modules")
    result = inner.run(
        *(*FEW[:2], *strict, "-p", "other", "--chaos-seed=3", "--chaos"),
        *("-o", "asyncio_mode=auto", "-o", "chaos_must_fire=false", "-p", "no:randomly"),
    )
    reports = inner.reports()
    check(reports)
    result.assert_outcomes(passed=5, failed=2)
    result.stdout.no_fnmatch_line("*warning*")


INTERRUPTED = """
import pytest

import chaospoint
from chaospoint.testing import Chaos

@chaospoint.point("stock.read")
def read():
    return 1

@pytest.fixture(scope="session")
def service():
    yield
    print("cleaned up", read())

@pytest.fixture
def broken(service, chaos):
    chaos.arm("stock.read", exception=TimeoutError)
    raise KeyboardInterrupt

def test_setup(broken):
    pass

def test_call(service):
    chaospoint.arm("stock.read", exception=TimeoutError)
    pytest.exit("enough")
"""


@pytest.mark.parametrize("name", ["test_setup", "test_call"])
def test_after_ctrl_c_what_cleans_up_meets_no_fault(pytester: pytest.Pytester, name: str) -> None:
    pytester.makepyfile(INTERRUPTED)
    result = pytester.runpytest_subprocess(*ALWAYS, *FEW, "-p", "no:randomly", "-s", "-k", name)
    result.stdout.fnmatch_lines(["*cleaned up 1*"])


DICE = """
import unittest

import pytest

import chaospoint
from chaospoint.testing import Chaos

@chaospoint.point("dice.throw")
def throw():
    return 0

def thrown():
    return [throw() for _ in range(64)]

@pytest.mark.parametrize("n", [1], ids=["it's [a] \\"b\\" $HOME ::c *"])
@pytest.mark.chaos("dice.throw", returns=1, probability=0.5)
def test_marked(n, chaos):
    pytest.fail(f"thrown {thrown()}")

class TestCases(unittest.TestCase):
    def test_entered(self):
        chaos = self.enterContext(Chaos())
        chaos.arm("dice.throw", returns=1, probability=0.5)
        self.fail(f"thrown {thrown()}")

    def test_of_the_code_itself(self):
        with chaospoint.armed("dice.throw", returns=1, probability=0.5):
            self.fail(f"thrown {thrown()}")

class TestOther:
    @pytest.mark.chaos("dice.throw", returns=1, probability=0.5)
    def test_marked(self):
        pytest.fail(f"thrown {thrown()}")
"""


def thrown_and_commands(result: pytest.RunResult) -> tuple[list[str], list[str]]:
    """Return the throws of the inner tests, and the commands that repeat them."""
    lines = result.outlines
    # In CI the summary repeats whole messages.
    told = [line for line in lines if not line.startswith("FAILED")]
    throws = [text for line in told for text in re.findall(r"thrown (\[[01, ]+\])", line)]
    commands = [line.removeprefix("repeat it: ") for line in lines if line.startswith("repeat it")]
    return sorted(throws), commands


def test_the_printed_command_repeats_a_failure(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the shell, two in one process, although one file alone has another root folder."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CHAOSPOINT_SEED", "")  # which the header's comes before
    home, here = pytester.mkdir("it's home"), pytester.mkdir("here")
    (home / "pytest.ini").write_text("[pytest]\n")
    (home / "test_dice.py").write_text(DICE)
    monkeypatch.chdir(here)
    first = pytester.runpytest_subprocess(
        *ALWAYS, *FEW[:4], "-p", "no:asyncio", "-n", "2", "-p", "no:randomly", ".."
    )
    throws, commands = thrown_and_commands(first)
    assert len(throws) == len(commands) == 4, first.stdout.str()
    assert len(set(throws)) > 2
    seeds = [re.findall(r"--chaospoint-seed=(\d+)", line) for line in first.outlines]
    (seed,) = {found[0] for found in seeds if found}
    assert f"chaospoint: --chaospoint-seed={seed}" in first.outlines
    # All that was said of single tests, as one command that a shell reads.
    words = [command.removeprefix("python -m pytest ").rpartition(" ")[0] for command in commands]
    options = " ".join([*ALWAYS, *FEW, "-p no:randomly", f"--chaospoint-seed={seed}"])
    again = pytester.run("sh", "-c", f"pytest {' '.join(words)} {options}")
    again.assert_outcomes(failed=4)
    assert thrown_and_commands(again)[0] == throws


def test_who_never_uses_it_sees_one_line(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No expensive module is imported, and the environment does not change."""
    pytester.makeconftest(
        """
        import os

        def pytest_unconfigure():
            assert not [name for name in os.environ if name.startswith("CHAOSPOINT")]
        """
    )
    pytester.makepyfile(
        """
        import sys

        import pytest

        def test_imports():
            dear = "pydantic prometheus_client opentelemetry wrapt rich hypothesis yaml".split()
            if sys.version_info < (3, 14):  # then pdb imports asyncio, and pytest imports pdb
                dear.append("asyncio")
            assert not [name for name in dear if name in sys.modules]
            ours = [name for name in sys.modules if name.startswith("chaospoint.")]
            assert not [name for name in ours if "_board" in name or "arming" in name]

        def test_that_fails():
            assert 1 == 2
        """
    )
    others = "asyncio", "randomly", "xdist", "time_machine"  # old ones import much
    options = (*(f"-pno:{name}" for name in others), *FEW, *ALWAYS)
    result = pytester.runpytest_subprocess(*options)
    result.assert_outcomes(passed=1, failed=1)
    said = [line for line in result.outlines if "chaos" in line and "rootdir" not in line]
    plugins = [line for line in said if line.startswith("plugins: ")]
    assert len(said) == len(plugins) + 1
    assert re.fullmatch(r"chaospoint: --chaospoint-seed=\d+", said[0])
    assert not result.errlines
    blocked = pytester.runpytest_subprocess(*options, "-p", "no:chaospoint")
    blocked.assert_outcomes(passed=1, failed=1)
    blocked.stdout.no_fnmatch_line("*chaospoint-seed*")


@pytest.mark.parametrize("text", ["x", "-1", "", "1.5", str(2**63), "²"])
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(pytest.UsageError, match="is not a seed: write a whole number from 0"):
        _seed(text)


def test_a_warning_of_a_marker_belongs_to_the_test(pytester: pytest.Pytester) -> None:
    source = """
        import unittest
        import pytest

        @pytest.mark.chaos("nowhere.one", latency=0)
        def test_function(): pass

        @pytest.mark.chaos("nowhere.two", latency=0)
        async def test_coroutine(): pass

        class TestThem(unittest.TestCase):
            @pytest.mark.chaos("nowhere.three", latency=0)
            def test_method(self): pass
    """
    path = pytester.makepyfile(source)
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    done = pytester.runpytest_subprocess(*ALWAYS, *WAYS["plain"])
    text = done.stdout.str()
    lines = path.read_text().splitlines()
    for name in ("one", "two", "three"):
        said = rf"{path.name}:(\d+): ChaosWarning: no point is named 'nowhere.{name}' yet"
        found = re.search(said, text)
        assert found is not None, text
        assert "nowhere" in lines[int(found[1]) - 1] or "def test" in lines[int(found[1]) - 1]
