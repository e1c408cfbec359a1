"""What is read has few rules, and not many more are made before it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chaospoint import Plan, Registry
from chaospoint.control.http import MAX_BODY, Request
from chaospoint.control.service import Service
from chaospoint.errors import InvalidPlan
from chaospoint.models.nesting import MAX_FILE_RULES, MAX_RULES
from chaospoint.plan import load_plan, parse_plan
from chaospoint.plan.rule import Rule
from chaospoint.sources.reading import Sources
from chaospoint.sources.settings import Settings

TOO_MANY = "more than 1000 rules; use globs, or lists of values in `where`"
MANY = 2 * MAX_RULES
FILES = 12  # for a file holds ten times as many
DATA: dict[str, Any] = {
    "texts": ["a=off"] * MANY,
    "one text": [";".join(["a=off"] * MANY)],
    "a chain": [{"point": "a", "rule": "->".join(["off"] * MANY)}],
    "a chain in a text": ["a=" + "->".join(["off"] * MANY)],
    "texts of many rules": [";".join(["a=off"] * 100)] * 80,
    "chains of many rules": [{"point": "a", "rule": "->".join(["off"] * 100)}] * 80,
    "rules": [{"point": "a", "rule": "off"}] * MANY,
    "bad rules": [{}] * MANY,
}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The data of each rule that is made."""
    made: list[object] = []
    real = Rule.from_data

    def from_data(data: Any) -> Rule:
        made.append(data)
        return real(data)

    monkeypatch.setattr(Rule, "from_data", from_data)
    return made


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".toml"])
@pytest.mark.parametrize("what", DATA)
def test_no_file_has_many_rules(tmp_path: Path, made: list[object], what: str, suffix: str) -> None:
    path = tmp_path / f"plan{suffix}"
    data = DATA[what] * FILES if len(DATA[what]) > 1 else DATA[what]
    text = json.dumps(data)
    if suffix == ".toml":
        text = "rules = " + text.replace('": ', '" = ')
    path.write_text(text)
    with pytest.raises(InvalidPlan, match=r"more than 10*000 rules") as refused:
        load_plan(path)
    assert "use globs, or lists of values in `where`" in str(refused.value)
    assert len(made) <= MAX_FILE_RULES + MAX_RULES


@pytest.mark.parametrize("text", ["a=off", '{"point": "a", "rule": "off"}'])
def test_no_variable_has_many_rules(
    registry: Registry, caplog: pytest.LogCaptureFixture, made: list[object], text: str
) -> None:
    settings = Settings(enabled=True, points="; ".join([text] * MANY))
    assert Sources(settings, registry).read_env() == "env: refused"
    assert "more than 1000 rules" in caplog.text
    assert not made


@pytest.mark.parametrize("what", DATA)
def test_no_body_has_many_rules(registry: Registry, made: list[object], what: str) -> None:
    service = Service.of(Settings(enabled=True), registry)
    body = json.dumps({"rules": DATA[what]}, separators=(",", ":")).encode()
    assert len(body) <= MAX_BODY
    answer = service.answer(
        Request(
            "PUT",
            "/v1/plan",
            headers={"host": "127.0.0.1", "content-type": "application/json"},
            body=body,
            client="127.0.0.1",
        )
    )
    assert answer.status == 422
    assert TOO_MANY.partition(";")[0] in answer.body.decode()
    assert len(made) <= 2 * MAX_RULES


def test_as_many_as_may_be_are_read(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(["a=off"] * MAX_FILE_RULES))
    assert len(load_plan(path).rules) == MAX_FILE_RULES
    assert len(Plan.parse(";".join(["a=off"] * MAX_RULES)).rules) == MAX_RULES
    with pytest.raises(InvalidPlan, match=TOO_MANY):
        parse_plan(["a=off"] * (MAX_RULES + 1))


def test_code_makes_any_number() -> None:
    assert len(Plan(rules=[Rule(point="a", latency=1)] * MANY).rules) == MANY


def test_the_text_of_a_rule_has_a_thousand_faults_at_most() -> None:
    assert len(Rule.parse("a=" + "+".join(["yield"] * 1000)).faults) == 1000
    with pytest.raises(InvalidPlan, match="more than 1000 faults"):
        Rule.parse("a=" + "+".join(["yield"] * 5000))
