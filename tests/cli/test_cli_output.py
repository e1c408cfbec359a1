"""What is printed: complete without a terminal, folded in one; text from outside is text."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import pytest
from cli_kit import Cli, Spy, said, told
from rich.table import Table
from rich.text import Text

from chaospoint.cli import tables
from chaospoint.cli.output import Output, plain
from chaospoint.control.messages import reply

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
    assert len(names) == 13
    for name in names:
        assert "Usage: chaospoint" in said(cli(name, "--help"))
    assert not any(line.endswith("...") for line in listed), "the listing is whole"
