"""Plan files: validated alone, compared with what is held, and put in its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Cli, Spy, complaint, said, told

from chaospoint._registry.registry import Registry
from chaospoint.cli import plans
from chaospoint.control.http import reply
from chaospoint.plan import Rule, load_plan
from chaospoint.plan.compiling import seeds
from chaospoint.stores.store import Store

PLAN = """\
seed: 7
rules:
  - point: payment.charge
    latency: 200ms
    times: 3
  - point: db.*
    rule: 5%raise(KeyError)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


@pytest.fixture(params=["--url", "--store"])
def there(cli: Cli, url: str, store: Store, request: pytest.FixtureRequest) -> Cli:
    """The command line, for a service and for a store."""
    target = url if request.param == "--url" else store.url

    def there(*arguments: str, **environment: str) -> Any:
        return cli(*arguments, request.param, target, **environment)

    return there


def test_a_valid_file_is_told_rule_by_rule(cli: Cli, file: Path) -> None:
    assert said(cli("validate", str(file))).splitlines() == [
        "1. payment.charge=3*latency(200ms)",
        "2. db.*=5%raise(KeyError)",
        f"{file}: 2 rules, valid",
    ]
    document = told(cli("validate", str(file), "--json"))
    assert (document["valid"], document["seed"]) == (True, 7)
    assert [rule["point"] for rule in document["rules"]] == ["payment.charge", "db.*"]


def test_an_invalid_file_is_told_with_the_line(cli: Cli, file: Path) -> None:
    file.write_text(PLAN.replace("KeyError", "KeyErorr"))
    message = complaint(cli("validate", str(file)), 1)
    assert f"{file}, line 6: rule 2 ('db.*')" in message
    document = told(cli("validate", str(file), "--json"), 1)
    assert document["type"] == "urn:chaospoint:problem:invalid-plan"


def test_placements_are_told_and_nobody_but_the_service_itself_takes_them(
    there: Cli, cli: Cli, file: Path
) -> None:
    file.write_text("placements: {shop.db:query: db.query}\nrules: []\n")
    assert said(cli("validate", str(file))).splitlines() == [
        "shop.db:query is db.query",
        f"{file}: 0 rules and 1 placement, valid",
    ]
    assert "only the plan file may have placements" in complaint(
        there("plan", "apply", str(file)), 1
    )


@pytest.mark.parametrize("command", [["validate"], ["plan", "apply"], ["plan", "diff"]])
def test_a_file_that_is_not_there_is_refused(cli: Cli, nobody: str, command: list[str]) -> None:
    done = cli(*command, "/no/such/plan.yaml", CHAOSPOINT_URL=nobody)
    assert complaint(done, 1) == "chaospoint: /no/such/plan.yaml: no such file; correct the path\n"


def test_a_plan_is_applied_shown_and_the_same_again(there: Cli, file: Path, tmp_path: Path) -> None:
    file.write_text(PLAN.replace("seed: 7\n", ""))
    assert f"{file}: 2 rules, in force in" in said(there("plan", "apply", str(file)))
    lines = ["payment.charge=3*latency(200ms)", "db.*=5%raise(KeyError)"]
    assert said(there("plan", "show")).splitlines() == lines
    assert said(there("plan", "diff", str(file))) == ""
    assert told(there("plan", "diff", str(file), "--json")) == {"different": False, "diff": []}
    saved = tmp_path / "saved.json"
    saved.write_text(said(there("plan", "show", "--json")))
    assert load_plan(saved).rules == load_plan(file).rules


def test_the_seed_of_a_plan_comes_back_as_those_of_its_rules(
    there: Cli, file: Path, tmp_path: Path
) -> None:
    """So what was shown can be applied again, and fires where it fired."""
    said(there("plan", "apply", str(file)))
    saved = tmp_path / "saved.json"
    saved.write_text(said(there("plan", "show", "--json")))
    assert [rule.seed for rule in load_plan(saved).rules] == list(seeds(load_plan(file)))
    assert all(seed and seed < 2**53 for seed in seeds(load_plan(file))), "as jq can read them"
    assert said(there("plan", "diff", str(file))) == ""
    assert said(there("plan", "diff", str(saved))) == ""
    assert "seed" not in said(there("plan", "show"))
    first, second = said(there("plan", "show", "--seeds")).splitlines()
    assert [Rule.parse(first), Rule.parse(second)] == [*load_plan(saved).rules]
    assert first.startswith("payment.charge=3*latency(200ms) [seed=")
    file.write_text(PLAN.replace("seed: 7", "seed: 8"))
    assert said(there("plan", "diff", str(file)), 1) != ""


def test_a_difference_is_unified_and_exit_code_1(there: Cli, file: Path) -> None:
    file.write_text(PLAN.replace("seed: 7\n", ""))
    said(there("plan", "apply", str(file)))
    file.write_text(PLAN.replace("seed: 7\n", "").replace("200ms", "300ms"))
    lines = said(there("plan", "diff", str(file)), 1).splitlines()
    assert lines[1] == f"+++ {file}"
    assert lines[3:] == [
        "-payment.charge=3*latency(200ms)",
        "+payment.charge=3*latency(300ms)",
        " db.*=5%raise(KeyError)",
    ]
    document = told(there("plan", "diff", str(file), "--json"), 1)
    assert document == {"different": True, "diff": lines}


def test_applying_replaces_the_whole_plan(there: Cli, file: Path) -> None:
    said(there("arm", "db.query", "off"))
    said(there("plan", "apply", str(file)))
    assert "db.query=off" not in said(there("plan", "show"))
    file.write_text("rules: []")
    assert f"{file}: 0 rules, in force" in said(there("plan", "apply", str(file)))
    assert said(there("plan", "show")) == ""


def test_rules_get_the_seed_of_their_plan_and_ten_minutes(
    cli: Cli, url: str, store: Store, registry: Registry, file: Path
) -> None:
    said(cli("plan", "apply", str(file), "--url", url))
    said(cli("plan", "apply", str(file), "--store", store.url))
    expected = list(seeds(load_plan(file)))
    assert [rule.terms.schedule.seed for rule in registry.rules()] == expected
    assert [entry.seed for entry in store.read().entries] == expected
    assert {entry.expires_after for entry in store.read().entries} == {600}


def test_a_plan_that_was_changed_meanwhile_is_not_replaced_unless_forced(
    cli: Cli, url: str, spy: Spy, file: Path
) -> None:
    said(cli("arm", "db.query", "off", "--url", url))
    spy.instead.append(reply(200, {"rules": []}, headers={"etag": '"0"'}))  # as it was before
    message = complaint(cli("plan", "apply", str(file), "--url", url), 1)
    assert "or apply with --force" in message
    assert spy.asked[-1].headers["if-match"] == '"0"'
    said(cli("plan", "apply", "--force", str(file), "--url", url))
    assert "if-match" not in spy.asked[-1].headers


def test_a_store_that_was_changed_meanwhile_is_not_replaced_unless_forced(
    cli: Cli, store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = type(store).update

    def late(self: Store, edit: Callable[..., Any], **options: Any) -> Any:
        update(self, lambda desired: desired.enable(by="another", now=1.0))
        return update(self, edit, **options)

    monkeypatch.setattr(type(store), "update", late)
    document = told(cli("plan", "apply", str(file), "--json", "--store", store.url), 1)
    assert (document["status"], document["detail"]) == (
        412,
        "the plan changed meanwhile: generation 0 was read, and it is now 1",
    )
    said(cli("plan", "apply", str(file), "--force", "--store", store.url))


def test_a_kind_that_is_not_installed_here_is_shown_as_it_came(
    cli: Cli, url: str, spy: Spy
) -> None:
    rule = {"point": "db.query", "faults": [{"kind": "earthquake"}]}
    spy.instead.append(reply(200, {"rules": [rule]}))
    assert json.loads(said(cli("plan", "show", "--url", url))) == rule


# What others armed


def test_a_plan_names_what_it_takes_away_and_takes_it_from_others_only_with_replace(
    there: Cli, cli: Cli, file: Path
) -> None:
    file.write_text(PLAN)
    said(there("arm", "db.query", "off", LOGNAME="alice"))
    said(there("arm", "db.commit", "off", LOGNAME="bob"))
    said(there("arm", "payment.charge", "3*latency(200ms)", LOGNAME="alice"))
    before = said(there("plan", "show"))

    refused = there("plan", "apply", str(file), LOGNAME="bob")
    lines = complaint(refused, 1).splitlines()
    assert any("removes db.query=off, armed by " in line and "alice" in line for line in lines)
    assert any("removes db.commit=off, armed by " in line and "bob" in line for line in lines)
    assert not any("payment.charge" in line for line in lines), "the file holds it"
    assert "lacks 1 rule that other users armed" in lines[-1]
    assert "--replace" in lines[-1]
    assert said(there("plan", "show")) == before, "nothing is changed"
    document = told(there("plan", "apply", str(file), "--json", LOGNAME="bob"), 1)
    assert document["type"] == "urn:chaospoint:problem:armed-by-others"
    assert [one["rule"] for one in document["takes_away"]] == ["db.query=off"]

    done = there("plan", "apply", str(file), "--replace", LOGNAME="bob")
    assert "2 rules, in force in" in said(done)
    assert "removes db.query=off" in done.stderr
    assert "db.query=off" not in said(there("plan", "show"))


def test_what_the_same_operator_armed_goes_with_a_word_alone(there: Cli, file: Path) -> None:
    said(there("arm", "db.query", "off", LOGNAME="alice"))
    done = there("plan", "apply", str(file), LOGNAME="alice")
    assert "2 rules" in said(done)
    assert "removes db.query=off" in done.stderr
    file.write_text("rules: []\n")
    assert "0 rules" in said(there("plan", "apply", str(file), LOGNAME="alice"))


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
def test_on_a_terminal_it_asks(
    there: Cli, file: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    said(there("arm", "db.query", "off", LOGNAME="alice"))
    asked: list[str] = []

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        return answer == "y"

    monkeypatch.setattr(plans, "on_terminal", lambda: True)
    monkeypatch.setattr(plans.typer, "confirm", confirm)
    assert there("plan", "apply", str(file), LOGNAME="bob").exit_code == code
    assert len(asked) == 1
    assert ("db.query=off" in said(there("plan", "show"))) == (code == 1)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("payment.charge=raise(KeyboardInterrupt)", "can be raised only by rules that code arms"),
        ("payment.charge=off [scope=context]", "only rules that code arms can be limited"),
    ],
)
def test_what_the_service_refuses_whole_is_not_valid(
    cli: Cli, file: Path, rule: str, problem: str
) -> None:
    file.write_text(f"rules: ['{rule}']\n")
    assert problem in complaint(cli("validate", str(file)), 1)
