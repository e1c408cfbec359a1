"""The panic button reports only what a service answered, and sends nothing for a wrong command."""

from __future__ import annotations

from typing import Any

import pytest
from cli_kit import Cli, Spy, complaint

from chaospoint.cli.quick_disable import disable
from chaospoint.control.http import reply

ACKNOWLEDGED = {"acknowledged": 1, "workers": 1, "generation": 1}


@pytest.mark.parametrize(
    "answer",
    [
        {"ok": True},
        {**ACKNOWLEDGED, "workers": None},
        {**ACKNOWLEDGED, "generation": "1"},
        {**ACKNOWLEDGED, "missing": 1},
        {**ACKNOWLEDGED, "missing": ["a"]},
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_answer_of_another_program_is_left_to_the_usual_command(
    url: str, spy: Spy, answer: Any, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    spy.instead.append(reply(200, answer))
    assert disable(["disable", "--url", url, *options]) is None
    assert len(spy.asked) == 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("arguments", [["disable", "--url"], ["disable", "--reason"]])
def test_an_option_without_its_value_sends_nothing(
    url: str, spy: Spy, arguments: list[str], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSPOINT_URL", url)
    assert disable(arguments) is None
    assert spy.asked == []
    assert cli(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "command",
    [
        ["disable"],
        ["enable"],
        ["disarm"],
        ["release", "db.query"],
        ["renew", "db.query"],
        ["arm", "db.query", "off"],
    ],
    ids=" ".join,
)
def test_no_change_is_reported_from_an_answer_of_another_program(
    cli: Cli, url: str, spy: Spy, command: list[str]
) -> None:
    spy.instead.append(reply(200, {"ok": True}))
    message = complaint(cli(*command, "--url", url), 3)
    assert f"the server at {url} is not a chaospoint admin endpoint" in message
