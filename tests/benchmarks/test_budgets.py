"""The budgets are those that were agreed, and a check fails where it should, and only there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import disarmed
from benchmarks.budget import Budget, Kind, Verdict, figure_of, verdict_on
from benchmarks.measure import Effort, Part
from benchmarks.pace import slowness
from benchmarks.row import Row, Unit, judge
from benchmarks.threads import check_counts
from chaospoint._kernel.chance import Schedule

pytestmark = pytest.mark.ci

ROOT = Path(__file__).parents[2]
NEW = sys.version_info >= (3, 13)
MORE = 2_800 if sys.version_info >= (3, 12) else 2_300
CALLS = (
    "function",
    "method",
    "classmethod",
    "staticmethod",
    "coroutine",
    "generator",
    "async generator",
)
BUDGETS = {
    **{f"disarmed: {kind}": ("ratio", 1.03, False) for kind in CALLS},
    **{
        f"disarmed: {kind}, after 1,000 cycles": ("extra", 12, False)
        if NEW
        else ("ratio", 1.03, False)
        for kind in CALLS
    },
    "disarmed: with point:": ("ratio", 1.0, False),
    "disarmed: point.hit()": ("ratio", 1.1, False),
    'disarmed: point.hit(tenant="a")': ("ratio", 1.1, False),
    "armed, does not fire: function": ("extra", 150, False),
    "armed, does not fire: coroutine": ("extra", 150, False),
    "armed, does not fire: generator": ("extra", 150, False),
    "armed, does not fire: async generator": ("extra", 150, False),
    "armed, does not fire: where that does not match": ("extra", 600, False),
    "armed, does not fire: armed in another context": ("extra", 150, False),
    "armed, fires: exception": ("extra", MORE, False),
    "armed, fires: a rule with a deadline, exception": ("extra", MORE, False),
    "armed, fires: exception, on a recording span": ("extra", MORE + 1_000, False),
    "8 threads, calls a second against one thread: fires rarely": ("rate", 0.75, True),
    "8 threads, calls a second against one thread: probability 0.3": ("rate", 0.65, True),
    "memory: a point with a function, disarmed": ("value", 1_024, False),
    "10,000 points, half of them on methods: arm and disarm a glob that matches all": (
        "value",
        300_000_000,
        False,
    ),
    "10,000 points, half of them on methods: arm and disarm the glob, garbage collector on": (
        "value",
        300_000_000,
        False,
    ),
    "10,000 points, half of them on methods: arm and disarm one name": ("value", 100_000, False),
    **{
        f"1,000 globs over 10,000 points: {change}": ("value", 1e9, False)
        for change in (
            "arm",
            "arm `*`, too",
            "disable",
            "enable",
            "read one rule more",
            "disarm all",
        )
    },
    "start: import chaospoint, against import threading, re, random, logging": (
        "ratio",
        2.0,
        False,
    ),
}
EFFORT = Effort(quick=True, builds=1, rounds=1)


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "REST_SECONDS", 0)


def all_rows() -> list[Row]:
    return [row for family in command.FAMILIES for row in family()]


def test_the_budgets_are_those_that_were_agreed() -> None:
    found = {
        row.title: (row.budget.kind.value, row.budget.limit, row.budget.at_least)
        for row in all_rows()
        if row.budget.limit is not None
    }
    assert found == BUDGETS


def test_no_two_rows_have_one_name() -> None:
    titles = [row.title for row in all_rows()]
    assert len(set(titles)) == len(titles)


def test_a_quick_check_leaves_out_no_budget() -> None:
    options = command._options(["--check", "--quick"])
    rows = command._rows(command.FAMILIES, options)
    assert {row.title for row in rows if row.budget.limit is not None} == set(BUDGETS)


class Scripted:
    """Gives one scripted figure at each try: ours, over a base of 100 with a control beside it."""

    def __init__(self, *ours: float, control: Sequence[float] = (100.0,)) -> None:
        self.left = list(ours)
        self.control = tuple(control)

    def __call__(self, effort: Effort) -> Sequence[Part]:
        count = len(self.control)
        return [Part((self.left.pop(0),) * count, (100.0,) * count, self.control)]


RATIO = Budget(Kind.RATIO, 1.03)
AT_LEAST = Budget(Kind.RATE, 0.75, at_least=True)


def checked(budget: Budget, scripted: Any) -> int:
    row = Row("scripted", "row", budget, scripted)
    return command.main(["--check"], [lambda: [row]])


def test_over_in_three_tries_is_a_miss(capsys: pytest.CaptureFixture[str]) -> None:
    scripted = Scripted(110, 110, 110, 100)
    assert checked(RATIO, scripted) == 1
    assert scripted.left == [100]  # there is no fourth
    line = "missed (3 tries): scripted: row: 1.100 x, at most 1.03 x, noise ± 0.000\n"
    assert capsys.readouterr().err == line


def test_over_twice_and_then_met_is_a_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(RATIO, Scripted(110, 110, 101)) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert "met (3 tries)" in told.out


def test_over_by_no_more_than_the_noise_is_a_pass(capsys: pytest.CaptureFixture[str]) -> None:
    scripted = Scripted(106, control=(104, 104, 104))
    assert checked(RATIO, scripted) == 0
    assert "within the noise" in capsys.readouterr().out


def test_noise_forgives_a_twentieth_of_the_budget_at_the_most() -> None:
    """Else a machine that is noisy enough would pass anything."""
    assert checked(RATIO, Scripted(130, 130, 130, control=(150, 150, 150))) == 1


def test_over_by_more_than_the_noise_is_a_miss() -> None:
    assert checked(RATIO, Scripted(110, 110, 110, control=(102, 102, 102))) == 1


def test_a_budget_of_at_least_works_the_other_way_round() -> None:
    assert checked(AT_LEAST, Scripted(200, 200, 200)) == 1  # half as many calls a second
    assert checked(AT_LEAST, Scripted(120)) == 0
    assert checked(AT_LEAST, Scripted(50)) == 0


def test_what_cannot_be_measured_fails_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_: Effort) -> Sequence[Part]:
        raise RuntimeError("miscounted: 7 calls")

    assert checked(RATIO, broken) == 1
    assert "row: RuntimeError: miscounted: 7 calls" in capsys.readouterr().err


def test_without_check_nothing_is_tried_again_and_the_exit_code_is_zero() -> None:
    scripted = Scripted(110, 110)
    row = Row("scripted", "row", RATIO, scripted)
    assert command.main([], [lambda: [row]]) == 0
    assert scripted.left == [110]


@pytest.mark.parametrize(
    ("kind", "unit", "verdict"),
    [
        (Kind.EXTRA, Unit.NANOSECONDS, Verdict.MET),
        (Kind.VALUE, Unit.NANOSECONDS, Verdict.MET),
        (Kind.VALUE, Unit.BYTES, Verdict.MISSED),
        (Kind.RATIO, Unit.NANOSECONDS, Verdict.MISSED),
    ],
)
def test_a_slow_machine_stretches_limits_in_time_alone(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, unit: Unit, verdict: Verdict
) -> None:
    monkeypatch.setattr("benchmarks.row.slowness", lambda: 2.0)
    limit = {Kind.EXTRA: 60.0, Kind.VALUE: 130.0, Kind.RATIO: 1.5}[kind]
    (result,) = judge([Row("a", "row", Budget(kind, limit), Scripted(200), unit)], EFFORT)
    assert result.verdict is verdict
    assert result.slowness == (2.0 if verdict is Verdict.MET else 1.0)


def test_a_plain_call_is_timed() -> None:
    assert 1.0 <= slowness() < 100.0


def test_only_what_missed_is_tried_again_and_after_all_else() -> None:
    tried: list[str] = []
    rows = [
        Row("a", "missed", RATIO, Scripted(110, 100)),
        Row("a", "met", RATIO, Scripted(100)),
        Row("a", "reported", Budget(Kind.RATIO), Scripted(500)),
    ]
    rests: list[str] = []
    results = judge(
        rows, EFFORT, 3, lambda row: tried.append(row.name), lambda: rests.append("rest")
    )
    assert rests == ["rest"], "before the round of those that missed, and not after it"
    assert tried == ["missed", "met", "reported", "missed"]
    assert [result.verdict for result in results] == [Verdict.MET, Verdict.MET, Verdict.REPORTED]


@pytest.mark.parametrize(
    ("kind", "expected", "noise"),
    [(Kind.RATIO, 1.5, 0.1), (Kind.RATE, 1 / 1.5, 1 - 1 / 1.1), (Kind.EXTRA, 50, 10)],
)
def test_a_figure_and_its_noise(kind: Kind, expected: float, noise: float) -> None:
    figure = figure_of(kind, [Part((150.0,) * 4, (100.0,) * 4, (110.0,) * 4)])
    assert figure.value.median == pytest.approx(expected)
    assert figure.noise == pytest.approx(noise)


def test_builds_that_differ_are_noise() -> None:
    parts = [Part((100.0,), (100.0,), (control,)) for control in (80.0, 100.0, 100.0, 120.0)]
    figure = figure_of(Kind.RATIO, parts)
    assert figure.control.median == 1.0
    assert figure.noise == pytest.approx(1.57 * 0.1 / 2)


def test_the_verdict_without_a_limit_is_none() -> None:
    figure = figure_of(Kind.RATIO, [Part((900.0,), (1.0,), (1.0,))])
    assert verdict_on(Budget(Kind.RATIO), figure) is Verdict.REPORTED


@pytest.mark.parametrize("counts", [(9, 3, 0, 3), (10, 2, 0, 2), (10, 3, 0, 2), (10, 4, 0, 4)])
def test_counts_that_are_wrong_by_one_fail_the_row(counts: tuple[int, int, int, int]) -> None:
    schedule = Schedule(seed=7, every=3)
    check_counts(10, schedule, (10, 3, 0, 3))
    check_counts(10, schedule, (10, 2, 1, 2))
    with pytest.raises(RuntimeError, match="wrong counts: 10 calls, 3 of them due"):
        check_counts(10, schedule, counts)


def passing_through(function: Any) -> Any:
    @wraps(function)
    def wrapper(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return wrapper


def wrapped_rows() -> Iterable[Row]:
    return disarmed.rows(place=lambda: passing_through)


def test_the_command_sees_a_wrapper_in_the_place_of_ours(tmp_path: Path) -> None:
    """The real command, measuring for real, finds that a wrapper is no disarmed function."""
    file = tmp_path / "result.json"
    program = (
        "import sys; from benchmarks import __main__ as command;"
        "from test_budgets import wrapped_rows; command.REST_SECONDS = 0;"
        "sys.exit(command.main(sys.argv[1:], [wrapped_rows]))"
    )
    words = ["--check", "--quick", "--only", "disarmed: staticmethod", "--json", str(file)]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}:{Path(__file__).parent}", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    first, *_ = done.stderr.splitlines()
    assert first.startswith("missed (3 tries): disarmed: staticmethod: ")
    wrapped, cycled = json.loads(file.read_text())["rows"]
    assert (wrapped["verdict"], wrapped["tries"]) == ("missed", 3)
    assert wrapped["figure"]["value"]["median"] > 1.03
    assert cycled["name"] == "staticmethod, after 1,000 cycles"


def test_the_command_measures_and_leaves_nothing_armed() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks", "--quick", "--only", "disarmed: point"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "point.hit()" in done.stdout
