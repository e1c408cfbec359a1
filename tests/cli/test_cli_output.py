"""What is printed: complete without a terminal, folded in one; text from outside is text."""

from __future__ import annotations

import io
import re
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from cli_kit import Cli, Spy, said, told
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from chaospoint.cli import tables
from chaospoint.cli.output import Output, plain
from chaospoint.control.http import reply

NASTY = "[red]\x1b[31mred\x07\r\n\u202eback[/nonsense]:smile:"
SHOWN = "[red]\\x1b[31mred\\x07\\r\\n\\u202eback[/nonsense]:smile:"


def test_what_comes_from_outside_does_nothing_to_the_terminal(cli: Cli, url: str, spy: Spy) -> None:
    assert plain(NASTY) == SHOWN
    point = {"name": NASTY, "armed": False, "placements": [NASTY], "description": NASTY}
    spy.instead.append(reply(200, {"points": [point]}))
    assert said(cli("points", "--url", url)).count(SHOWN) == 3
    problem = {"title": "No", "detail": NASTY, "cure": NASTY}
    spy.instead.append(reply(409, problem, media="application/problem+json"))
    done = cli("points", "--url", url)
    assert done.exit_code == 1
    assert "\x1b" not in done.stderr
    assert "\u202e" not in done.stderr
    assert "[red]\\x1b[31mred" in done.stderr


def test_nothing_is_cut_off_where_there_is_no_terminal(cli: Cli, url: str, spy: Spy) -> None:
    points = [{"name": "p" * 300, "armed": True, "placements": ["x" * 3000]}]
    spy.instead.append(reply(200, {"points": points}))
    _, row = said(cli("points", "--url", url, COLUMNS="40")).splitlines()
    assert row.split() == ["p" * 300, "armed", "x" * 3000]


def test_there_is_no_colour_where_there_is_no_terminal(cli: Cli, url: str) -> None:
    cli("arm", "db.query", "off", "--url", url)
    for command in (["status"], ["points"], ["watch", "--count", "1"]):
        assert "\x1b" not in said(cli(*command, "--url", url))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_long_text_is_folded_and_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    points = [{"name": "p" * 150, "armed": True, "placements": ["x" * 150]}]
    Output(as_json=False).show({}, tables.points(points))
    lines = terminal.getvalue().splitlines()
    assert "\x1b[1m" in lines[0], "the head is bold"
    assert len(lines) > 3
    assert (terminal.getvalue().count("p"), terminal.getvalue().count("x")) == (150, 150)


def test_in_a_terminal_a_line_of_text_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the rule that is copied from there is the rule."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "20")
    Output(as_json=False).show({}, Text("a.b=raise(KeyError,'with some words') " * 3))
    assert terminal.getvalue().count("\n") == 1


LONG = (
    'payment.charge=30%latency(20ms)+raise(TimeoutError,"slow bank") [tenant=(acme, b*), every=3,'
    " expires_after=5m]"
)
RULES = [
    {"text": LONG, "state": "armed", "reaches": 120, "injections": 40, "seconds_left": 299.5,
     "by": "http 127.0.0.1 (alice)", "why": ""},
    {"text": "db.*=2*off", "state": "spent", "reaches": 9, "injections": 2, "seconds_left": None,
     "by": "CHAOSPOINT_POINTS", "why": "its times are used up"},
    {"text": "db.query=raise", "state": "masked", "reaches": 0, "injections": 0, "by": "code",
     "why": "db.*=off, armed by http, fires at every reach before it"},
]  # fmt: skip


def in_terminal(
    monkeypatch: pytest.MonkeyPatch, *views: RenderableType, width: int = 100, **env: str
) -> str:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    for name, value in {"COLUMNS": str(width), "TERM": "xterm-256color", **env}.items():
        monkeypatch.setenv(name, value)
    Output(as_json=False).show({}, *views)
    return terminal.getvalue()


def bare(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_in_a_terminal_of_100_characters_rules_have_the_width_they_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = bare(in_terminal(monkeypatch, tables.rules(RULES)))
    assert [line.rstrip() for line in text.splitlines()] == [
        "RULE" + " " * 60 + "STATE   REACHES  INJECTIONS  ENDS IN",
        'payment.charge=30%latency(20ms)+raise(TimeoutError,"slow'
        "        armed   120      40          300 s",
        'bank") [tenant=(acme, b*), every=3, expires_after=5m]',
        "  by http 127.0.0.1 (alice)",
        "db.*=2*off" + " " * 54 + "spent   9        2           -",
        "  by CHAOSPOINT_POINTS",
        "  its times are used up",
        "db.query=raise" + " " * 50 + "masked  0        0           -",
        "  by code",
        "  db.*=off, armed by http, fires at every reach before it",
    ]
    (head, row) = bare(in_terminal(monkeypatch, tables.rules(RULES[1:2]))).splitlines()
    assert head.split()[-2:] == ["BY", "WHY"], "it fits"
    assert "db.*=2*off  spent  9        2           CHAOSPOINT_POINTS  its times are used up" in row


@pytest.mark.parametrize("width", [20, 60, 80, 100, 300])
def test_in_a_terminal_of_any_width_all_is_there(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    text = bare(in_terminal(monkeypatch, tables.rules(RULES), width=width))
    assert max(map(len, text.splitlines())) <= width
    letters = Counter(text)
    for word in ("expires_after", "CHAOSPOINT_POINTS", "its times are used up", "alice", "masked"):
        assert not Counter(word.replace(" ", "")) - letters, word


def test_states_and_the_switch_are_coloured_where_the_terminal_has_colours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    views = (tables.rules(RULES), tables.switch(True), tables.switch(False))
    text = in_terminal(monkeypatch, *views)
    assert re.search(r"\x1b\[32marmed *\x1b\[0m", text), "green"
    assert re.search(r"\x1b\[33mmasked *\x1b\[0m", text), "yellow"
    assert "\x1b[32mon\x1b[0m" in text
    assert "\x1b[1;31moff\x1b[0m" in text
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", in_terminal(monkeypatch, *views, **env)), env


def test_a_rule_is_shown_once_for_all_its_injections(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [
        {"at": f"2026-11-30T14:58:{56 - nth:02}.250+00:00", "point": "payment.charge",
         "fault": "latency+exception", "ordinal": 90 - nth, "source": "http", "latency": 0.02,
         "exception": "TimeoutError", "rule": LONG if nth % 2 else "payment.*=raise"}
        for nth in range(10)
    ]  # fmt: skip
    text = bare(in_terminal(monkeypatch, tables.injections(seen)))
    assert text.count("30%latency(20ms)") == text.count("payment.*=raise") == 1
    rows = text.splitlines()
    assert [row.split()[-1] for row in rows[1:11]] == ["#1", "#2"] * 5
    assert rows[1].split()[:4] == ["14:58:56", "payment.charge", "latency+exception", "90"]
    assert len(rows) == 1 + 10 + 1 + 1 + 1 + 2, "no row is folded but the long rule"
    days = [{**seen[0], "at": "2026-11-29T23:59:59.000+00:00"}, *seen]
    assert "2026-11-29 23:59:59  payment" in bare(in_terminal(monkeypatch, tables.injections(days)))
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    Output(as_json=False).show({}, tables.injections(seen))
    assert output.getvalue().count(LONG) == 1
    assert "2026-11-30T14:58:56.250+00:00  payment" in output.getvalue(), "whole in a pipe"


def test_a_message_with_a_caret_keeps_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = tables.facts([("source", "file: column 3: no\n    a=of\n      ^"), ("x", NASTY)])
    lines = [line.rstrip() for line in bare(in_terminal(monkeypatch, facts)).splitlines()]
    assert lines[:3] == ["source  file: column 3: no", "            a=of", "              ^"]
    assert "\\x1b[31mred\\x07\\r" in lines[3]


def test_columns_in_which_nothing_stands_are_left_out() -> None:
    table = tables.points([{"name": "a", "armed": False}, {"name": "b", "armed": True}])
    assert isinstance(table, Table)
    assert [column.header for column in table.columns] == ["POINT", "ARMED"]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.2, "0.2 s"), (0, "0 s"), (59.96, "60 s"), (599.7, "600 s")]
)
def test_seconds_are_short(seconds: float, shown: str, cli: Cli, url: str, spy: Spy) -> None:
    rule = {"text": "a.b=off", "state": "armed", "seconds_left": seconds}
    spy.instead.append(reply(200, {"enabled": True, "rules": [rule]}))
    assert said(cli("status", "--url", url)).splitlines()[-1].split("  ")[2].strip() == shown


def test_sources_are_shown_with_what_came_of_them(cli: Cli, url: str, spy: Spy) -> None:
    sources = [
        {"source": "env", "ok": True, "reason": None},
        {"source": "file", "ok": False, "reason": "no such file"},
    ]
    spy.instead.append(reply(200, {"sources": sources}))
    text = said(cli("status", "--url", url))
    assert "source   env: read" in text
    assert "source   file: no such file" in text


def test_json_is_one_line_of_what_the_service_said(
    cli: Cli, url: str, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"points": [{"name": NASTY, "new": {"in": ["a later version"]}}]}
    spy.instead.append(reply(200, document))
    done: Any = cli("points", "--json", "--url", url)
    assert told(done) == document
    assert done.stdout.count("\n") == 1


def test_help_says_the_exit_codes_and_where_the_token_is_read(cli: Cli) -> None:
    text = " ".join(said(cli("--help")).split())
    assert "CHAOSPOINT_ADMIN_TOKEN" in text
    assert "4 written but not in force in every worker" in text
    assert said(cli("-h")) == said(cli("--help"))


def test_every_command_explains_itself(cli: Cli) -> None:
    commands: Callable[[str], bool] = lambda line: line.startswith("  ")  # noqa: E731
    listed = said(cli("--help")).partition("Commands:")[2].splitlines()
    names = [line.split()[0] for line in filter(commands, listed)]
    assert len(names) == 14
    for name in names:
        assert "Usage: chaospoint" in said(cli(name, "--help"))
    assert not any(line.endswith("...") for line in listed), "the listing is whole"
