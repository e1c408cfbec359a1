"""What the commands say of a service on a real socket, and do to it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from cli_kit import Cli, Spy, complaint, said, told

from chaospoint._registry.registry import Registry
from chaospoint.arming import arm
from chaospoint.control.http import reply
from chaospoint.stores.store import Store


def test_a_fault_is_armed_seen_and_disarmed(
    cli: Cli, url: str, charge: Callable[[], str], registry: Registry
) -> None:
    text = said(cli("arm", "payment.charge", "raise(KeyError)", "--url", url))
    assert "payment.charge: armed, in force in the answering process only, generation 1" in text
    assert "payment.charge=raise(KeyError)" in text
    with pytest.raises(KeyError):
        charge()
    [rule] = told(cli("status", "--url", url, "--json"))["rules"]
    assert (rule["text"], rule["injections"]) == ("payment.charge=raise(KeyError)", 1)
    text = said(cli("disarm", "payment.*", "--url", url))
    assert text == "payment.*: 1 disarmed, in force in the answering process only, generation 2\n"
    assert charge() == "charged"


def test_disarming_without_a_pattern_disarms_everything(
    cli: Cli, url: str, registry: Registry
) -> None:
    arm("db.query", latency=1, registry=registry)
    arm("payment.charge", latency=1, registry=registry)
    assert told(cli("disarm", "--url", url, "--json"))["disarmed"] == 2
    assert registry.rules() == ()


def test_the_switch_is_turned_off_and_on(cli: Cli, url: str, registry: Registry) -> None:
    done = cli("disable", "--url", url)
    assert said(done).startswith("disabled, in force in the answering process only, generation")
    assert f"only pid {os.getpid()} was reached; other processes of the service are" in done.stderr
    assert not registry.enabled
    message = complaint(cli("arm", "db.query", "off", "--url", url), 1)
    assert message.count("`chaospoint enable` or POST /v1/enable") == 1
    assert said(cli("enable", "--url", url)).startswith(
        "enabled, in force in the answering process"
    )
    assert registry.enabled


def test_release_says_how_many_calls_it_let_go(cli: Cli, url: str, spy: Spy) -> None:
    assert said(cli("release", "db.*", "--url", url)).startswith("db.*: 0 released, ")
    assert spy.asked[-1].path == "/v1/points/db.*/release"


def test_points_are_listed_with_their_placements(cli: Cli, url: str) -> None:
    lines = said(cli("points", "--url", url)).splitlines()
    assert lines[0].split() == ["POINT", "ARMED", "PLACEMENTS", "DESCRIPTION"]
    assert [line.split()[0] for line in lines[1:]] == ["db.commit", "db.query", "payment.charge"]
    assert "charge.<locals>.charge (function)" in lines[3]
    assert "every [bold]query[/bold]" in lines[2], "what comes from outside is no markup"


def test_one_point_is_shown_with_its_rules_and_a_glob_lists_some(
    cli: Cli, url: str, registry: Registry
) -> None:
    arm("db.*", latency=1, registry=registry)
    text = said(cli("points", "db.query", "--url", url))
    assert "db.commit" not in text
    assert "db.*=latency(1s)" in text
    one = told(cli("points", "db.query", "--url", url, "--json"))
    assert (one["name"], [rule["text"] for rule in one["rules"]]) == (
        "db.query",
        ["db.*=latency(1s)"],
    )
    some = told(cli("points", "db.*", "--url", url, "--json"))["points"]
    assert [one["name"] for one in some] == ["db.commit", "db.query"]
    assert "no points" in said(cli("points", "x.*", "--url", url))
    assert "db.query" in complaint(cli("points", "db.qurey", "--url", url), 1)
    assert "uppercase letters are not allowed" in complaint(cli("points", "DB", "--url", url), 1)


def test_status_shows_the_switch_and_why_nothing_may_be_armed(cli: Cli, url: str) -> None:
    text = said(cli("status", "--url", url))
    assert "switch       on" in text
    assert "why          CHAOSPOINT_ENABLED is true" in text
    assert text.endswith("no rules\n")
    cli("disable", "--url", url)
    text = said(cli("status", "--url", url))
    assert "switch       off" in text
    assert "may arm      no" in text
    assert " by http 127.0.0.1" in text


def test_workers_are_listed_and_the_one_that_answers_is_marked(cli: Cli, url: str) -> None:
    assert f"{os.getpid()} (answering)" in said(cli("workers", "--url", url))
    [worker] = told(cli("workers", "--url", url, "--json"))["workers"]
    assert (worker["pid"], worker["answering"]) == (os.getpid(), True)


def test_a_worker_that_is_behind_is_seen(cli: Cli, url: str, spy: Spy) -> None:
    document = {"generation": 3, "workers": [{"pid": 1, "generation": 2, "enabled": False}]}
    spy.instead.append(reply(200, document))
    assert said(cli("workers", "--url", url)).splitlines()[1].split() == [
        "1",
        "2",
        "of",
        "3",
        "off",
    ]


def test_injections_are_listed_the_newest_first(
    cli: Cli, url: str, charge: Callable[[], str], spy: Spy
) -> None:
    cli("arm", "payment.charge", "raise(KeyError)", "--url", url)
    for _ in range(3):
        with pytest.raises(KeyError):
            charge()
    command = ("injections", "--point", "payment.*", "--limit", "2", "--url", url)
    seen = told(cli(*command, "--json"))["injections"]
    assert [one["ordinal"] for one in seen] == [3, 2]
    assert spy.asked[-1].query == "point=payment.%2A&limit=2"
    first, newest, _, _, names, rule = said(cli(*command)).splitlines()
    assert first.split() == ["AT", "POINT", "FAULT", "ORDINAL", "EXCEPTION", "RULE"]
    assert newest.split()[1:] == ["payment.charge", "exception", "3", "KeyError", "#1"]
    assert names.split() == ["#", "SOURCE", "RULE"]
    assert rule.split(maxsplit=2) == ["#1", "http", "payment.charge=raise(KeyError)"]
    assert said(cli("injections", "--point", "db.query", "--url", url)) == "no injections\n"


def test_a_dry_run_arms_nothing_and_says_what_it_would_do(
    cli: Cli, url: str, registry: Registry
) -> None:
    cli("arm", "*", "latency(1)", "--url", url)
    text = said(cli("arm", "*", "latency(2)+return(3)", "--dry-run", "--url", url))
    assert "latency(2s) + return(3)" in text
    assert "db.commit (without return), db.query (without return), payment.charge" in text
    assert "replaces *=latency(1s)" in text
    assert [rule.text for rule in registry.rules()] == ["*=latency(1s)"]


def test_what_a_service_remarks_is_said_on_stderr(cli: Cli, url: str, spy: Spy) -> None:
    spy.instead.append(reply(200, {"rules": [], "remarks": ["never fires"]}))
    done = cli("arm", "db.query", "off", "--dry-run", "--url", url)
    assert done.stderr == "chaospoint: never fires\n"


def test_what_not_every_worker_runs_is_exit_code_4_with_the_reasons(
    cli: Cli, url: str, spy: Spy
) -> None:
    missing = [{"id": "w", "pid": 42, "generation": 6, "why": "it is asleep"}]
    document = {"generation": 7, "workers": 2, "acknowledged": 1, "missing": missing}
    spy.instead += [reply(200, document), reply(200, document)]
    done = cli("disarm", "--url", url)
    assert "in force in 1 of 2 workers, generation 7" in said(done, 4)
    assert done.stderr == "chaospoint: pid 42 has not applied the change: it is asleep\n"
    assert told(cli("disarm", "--json", "--url", url), 4) == document


def test_a_refusal_is_the_problem_document_and_a_line(cli: Cli, url: str) -> None:
    done = cli("arm", "payment.chrage", "off", "--url", url, "--json")
    document = told(done, 1)
    assert document["type"] == "urn:chaospoint:problem:unknown-point"
    assert document["nearest"] == ["payment.charge"]
    assert done.stderr.count("\n") == 1
    assert "did you mean 'payment.charge'?" in done.stderr
    assert complaint(cli("arm", "payment.chrage", "off", "--url", url), 1) == done.stderr


def test_every_command_prints_one_json_document(cli: Cli, url: str) -> None:
    for command in (
        ["points"],
        ["status"],
        ["workers"],
        ["injections"],
        ["plan", "show"],
        ["arm", "db.query", "off"],
        ["arm", "db.query", "off", "--dry-run"],
        ["release", "db.query"],
        ["disarm"],
        ["disable"],
        ["enable"],
        ["watch", "--count", "1"],
    ):
        assert isinstance(told(cli(*command, "--json", "--url", url)), dict), command


def test_options_may_stand_before_the_command(cli: Cli, url: str) -> None:
    assert told(cli("--json", "--url", url, "points")) == told(
        cli("points", "--json", "--url", url)
    )


@pytest.mark.parametrize("target", ["--url", "--store"])
def test_the_reason_of_disable_is_shown_until_enable(
    cli: Cli, url: str, store: Store, target: str
) -> None:
    where = [target, url if target == "--url" else store.url]
    said(cli("disable", "--reason", "checkout is down", *where))
    assert "checkout is down" in said(cli("status", *where))
    assert told(cli("status", "--json", *where))["reason"] == "checkout is down"
    said(cli("enable", *where))
    assert "checkout is down" not in said(cli("status", *where))


@pytest.mark.parametrize("target", ["--url", "--store"])
def test_renew_moves_the_deadline_of_what_stands(
    cli: Cli, url: str, store: Store, target: str
) -> None:
    where = [target, url if target == "--url" else store.url]
    message = complaint(cli("renew", "db.query", *where), 1)
    assert "is still in force" in message
    said(cli("arm", "db.query", "latency(1s)", "--expires-after", "1m", *where))
    done = told(cli("renew", "db.*", "--expires-after", "1h", "--json", *where))
    assert done["renewed"] == 1
    assert 3590 < done["rules"][0]["seconds_left"] <= 3600
    text = said(cli("renew", "db.query", *where))
    assert text.startswith("db.query: 1 renewed, in force in")
    assert "not a duration" in complaint(
        cli("renew", "db.query", "--expires-after", "soon", *where), 1
    )
