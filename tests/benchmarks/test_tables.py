"""What a run writes: a table with every row, the same as Markdown and JSON, and a picture."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as command
from benchmarks import docs, machine
from benchmarks.budget import Budget, Kind
from benchmarks.machine import Machine
from benchmarks.measure import Effort, Part
from benchmarks.row import Result, Row, Unit, judge
from benchmarks.table import COLUMNS, duration, markdown

pytestmark = pytest.mark.ci

EFFORT = Effort(quick=False, builds=1, rounds=1)
PAGE = f"# Title\n\nbefore\n\n{docs.BEGIN}\n\nold\n{docs.END}\n\nafter\n"


def scripted(effort: Effort) -> Sequence[Part]:
    return [Part((150.0, 160.0), (100.0, 100.0), (101.0, 99.0))]


def absent(effort: Effort) -> Sequence[Part]:
    raise ModuleNotFoundError("No module named 'peer | of ours'")


def rows() -> list[Row]:
    return [
        Row("times", "a ratio", Budget(Kind.RATIO, 2.0), scripted),
        Row("times", "a rate", Budget(Kind.RATE, 0.5, at_least=True), scripted),
        Row("differences", "more", Budget(Kind.EXTRA, 60.0), scripted),
        Row("differences", "bytes", Budget(Kind.VALUE, 1_024), scripted, Unit.BYTES),
        Row(
            "injected latency, against a plain sleep",
            "5 ms, sync",
            Budget(Kind.EXTRA),
            scripted,
            at=5.0,
        ),
        Row(
            "injected latency, against a plain sleep",
            "5 ms, async",
            Budget(Kind.EXTRA),
            scripted,
            at=5.0,
        ),
        Row("beside others", "chaospoint, off", Budget(Kind.RATIO), scripted),
        Row("beside others", "a peer, off", Budget(Kind.RATIO), scripted),
        Row("beside others", "a peer, fires", Budget(Kind.RATIO), absent),
    ]


def results() -> list[Result]:
    return judge(rows(), EFFORT)


def test_markdown_has_a_line_for_each_row_and_as_many_cells_in_each() -> None:
    lines = markdown(results()).splitlines()
    cells = [re.split(r"(?<!\\)\|", line) for line in lines]
    assert {len(line) for line in cells} == {len(COLUMNS) + 2}
    assert all(line[0] == line[-1] == "" for line in cells)
    assert re.fullmatch(r"\|( -+:? \|)+", lines[1])
    groups = [line for line in lines if line.startswith("| **")]
    assert len(groups) == 4
    assert len(lines) == 2 + len(groups) + len(rows())


def test_the_cells_say_figure_noise_and_budget() -> None:
    ratio, rate, extra, value, *_ = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in markdown(results()).splitlines()[2:]
        if "**" not in line
    )
    assert ratio == [
        "a ratio",
        "155 ns",
        "100 ns",
        "1.550 x",
        "1.525 … 1.575",
        "± 0.011",
        "at most 2 x",
        "met",
    ]
    assert rate[-2:] == ["at least 0.5 x", "met"]
    assert extra[3:5] == ["+55.0 ns", "+52.5 ns … +57.5 ns"]
    assert value[1:4] == ["155 B", "", "155 B"]


def test_a_peer_that_is_not_there_gives_a_row_that_says_so() -> None:
    line = markdown(results()).splitlines()[-1]
    assert line.startswith(
        r"| a peer, fires: ModuleNotFoundError: No module named 'peer \| of ours' |"
    )
    assert line.endswith("| not measured |")


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (9.994, "9.99 ns"),
        (15.04, "15.0 ns"),
        (999.0, "999 ns"),
        (2_345.6, "2.35 µs"),
        (3e8, "300 ms"),
    ],
)
def test_durations_have_three_figures_and_a_unit(nanoseconds: float, text: str) -> None:
    assert duration(nanoseconds) == text


def test_the_json_has_every_row_and_the_machine(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    assert command.main(["--json", str(file)], [rows]) == 0
    told = json.loads(file.read_text())
    assert [f"{row['group']}: {row['name']}" for row in told["rows"]] == [
        row.title for row in rows()
    ]
    assert told["rows"][0]["figure"]["value"] == pytest.approx(
        {"median": 1.55, "low": 1.525, "high": 1.575}
    )
    assert told["rows"][0]["budget"] == {"kind": "ratio", "limit": 2.0, "at_least": False}
    assert set(told["machine"]) == {"python", "system", "processor", "cores", "date", "packages"}


def test_the_table_has_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    command.main([], [rows])
    out = capsys.readouterr().out
    assert all(row.name in out for row in rows())


def test_an_unknown_row_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "nothing"], [rows]) == 2
    assert "no row has 'nothing' in its name" in capsys.readouterr().err


def test_the_machine_is_told_without_its_name_or_paths() -> None:
    import platform

    told = str(Machine.this())
    assert platform.python_version() in told
    assert platform.node() not in told or len(platform.node()) < 4
    assert str(Path.home()) not in told


@pytest.mark.parametrize(("load", "said"), [(1.9, ""), (2.5, "busy (load 2.5 on 2 cores)")])
def test_a_busy_machine_is_said(monkeypatch: pytest.MonkeyPatch, load: float, said: str) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    assert said in machine.busy()
    assert bool(said) is bool(machine.busy())


def test_the_docs_are_written_between_the_markers_and_the_picture_is_xml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)
    page, picture = tmp_path / docs.PAGE, tmp_path / docs.picture(sys.version_info[:2])
    page.write_text(PAGE)
    assert command.main(["--docs", str(tmp_path)], [rows]) == 0
    text, drawn = page.read_text(), picture.read_text()
    assert text.startswith(PAGE[: PAGE.index("old")])
    assert text.endswith(PAGE[PAGE.index(docs.END) :])
    assert "old" not in text
    assert markdown(results()) in text
    assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert "a peer, off" in drawn  # text stays text
    assert "dc:date" not in drawn
    command.main(["--docs", str(tmp_path)], [rows])
    assert (page.read_text(), picture.read_text()) == (text, drawn)


def test_each_version_of_python_has_a_section_of_its_own(tmp_path: Path) -> None:
    page = tmp_path / docs.PAGE
    page.write_text(PAGE)
    this = Machine.this()
    for version in ("3.15.2", "3.9.1", "3.11.7", "3.15.3"):
        docs.write(results(), replace(this, python=f"CPython {version}"), tmp_path)
    text = page.read_text()
    assert re.findall("^### (.*)", text, re.MULTILINE) == [
        "CPython 3.9",
        "CPython 3.11",
        "CPython 3.15",
    ]
    assert text.count(markdown(results())) == 3
    assert "CPython 3.15.3" in text
    assert "CPython 3.15.2" not in text
    for shown in re.findall(r"\]\((.*)\)", text):
        assert (tmp_path / shown).is_file()
    assert len(list(tmp_path.glob("*.svg"))) == 3


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    (tmp_path / docs.PAGE).write_text("# Title\n")
    with pytest.raises(ValueError, match="lacks the line"):
        docs.write(results(), Machine.this(), tmp_path)


def test_the_page_has_its_markers() -> None:
    text = (Path(__file__).parents[2] / "docs" / "explanation" / docs.PAGE).read_text()
    assert text.count(docs.BEGIN) == text.count(docs.END) == 1


def test_docs_are_for_a_whole_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--docs", "--check"], [rows])
    assert "whole run" in capsys.readouterr().err
