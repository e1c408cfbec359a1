"""What `arm` takes: the text of a rule, its keys as options, and both; checked before sending."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli_kit import Cli, Spy, complaint, told


@pytest.fixture
def armed(cli: Cli, url: str) -> Any:
    """Arm, and return the text of the rules that the service then has on the name."""

    def armed(*arguments: str) -> list[str]:
        done = cli("arm", *arguments, "--url", url, "--json")
        return [rule["text"] for rule in told(done)["rules"]]

    return armed


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["db.query", "latency(200ms)"], "db.query=latency(200ms)"),
        (["db.query=30%latency(200ms)"], "db.query=30%latency(200ms)"),
        ([" db.query = off "], "db.query=off"),
        (['{"point": "db.query", "latency": 1}'], "db.query=latency(1s)"),
        (["db.query", '{"latency": 1, "times": 2}'], "db.query=2*latency(1s)"),
        (["db.query", "--latency", "200ms"], "db.query=latency(200ms)"),
        (["db.query", "--exception", "TimeoutError"], "db.query=raise(TimeoutError)"),
        (
            ["db.query", "--exception", '{"type": "OSError", "args": [28, "full"]}'],
            'db.query=raise(OSError,28,"full")',
        ),
        (
            ["db.query", "--latency", "1s", "--failure-rate", "0.3"],
            "db.query=latency(1s)+raise [failure_rate=30%]",
        ),
        (["db.query", "--hang", "30s"], "db.query=hang(30s)"),
        (["db.query", "--hang", "true"], "db.query=hang"),
        (["payment.charge", "--returns", '{"ok": [1]}'], 'payment.charge=return({"ok": [1]})'),
        (["payment.charge", "--returns", "null"], "payment.charge=return"),
        (["db.query", "off", "--probability", "30%"], "db.query=30%off"),
        (["db.query", "off", "--probability", "0.3"], "db.query=30%off"),
        (["db.query", "off", "--times", "5"], "db.query=5*off"),
        (["db.query=off [every=3, to=db]"], "db.query=off [to=db, every=3]"),
        (["db.query", "off[times=2]", "--every", "3"], "db.query=2*off [every=3]"),
    ],
)
def test_a_rule_is_text_or_options(armed: Any, arguments: list[str], text: str) -> None:
    assert armed(*arguments) == [text]


def test_several_rules_of_one_point_are_one_text(armed: Any) -> None:
    assert armed("db.query=2*off->latency(1)") == ["db.query=2*off", "db.query=latency(1s)"]
    assert armed("db.query", "2*off->latency(1)") == ["db.query=2*off", "db.query=latency(1s)"]


def test_every_key_of_a_rule_has_its_option(cli: Cli, url: str, spy: Spy) -> None:
    options = {
        "latency": ("10ms", "10ms"),
        "skip": ("1", 1),
        "every": ("2", 2),
        "times": ("3", 3),
        "max-active": ("4", 4),
        "seed": ("5", 5),
        "when": ("after", "after"),
        "expires-after": ("5m", "5m"),
        "probability": ("12.5%", 0.125),
    }
    given = [part for name, (text, _) in options.items() for part in (f"--{name}", text)]
    told(cli("arm", "payment.charge", *given, "--json", "--url", url))
    sent = json.loads(spy.asked[-1].body)
    assert sent == {name.replace("-", "_"): value for name, (_, value) in options.items()}


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (["tenant=acme"], {"tenant": "acme"}),
        (["tenant=acme", "amount=3"], {"tenant": "acme", "amount": [3, "3"]}),
        (["tenant=acme", "tenant=b=c"], {"tenant": ["acme", "b=c"]}),
        (['amount="3"', "vip=true"], {"amount": "3", "vip": True}),
        (["tenant="], {"tenant": ""}),
    ],
)
def test_where_is_given_as_often_as_needed(
    cli: Cli, url: str, spy: Spy, given: list[str], where: dict[str, object]
) -> None:
    options = [part for one in given for part in ("--where", one)]
    told(cli("arm", "db.*", "off", *options, "--json", "--url", url))
    assert json.loads(spy.asked[-1].body) == {"rule": "off", "where": where}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["db.query"], "a rule needs a fault"),
        (["Db.Query", "off"], "write 'db.query'"),
        (["db.query", "latency("], "column 9: expected ')'"),
        (["db.query", "--latency", "soon"], "not a duration"),
        (["db.query", "--latency", "1s", "--hang", "true", "--exception", "OSError"], "one outc"),
        (["db.query", "off", "--probability", "7"], "not between 0 and 1"),
        (["db.query", "off", "--probability", "130%"], "write a percentage from 0% to 100%"),
        (["db.query", "off", "--probability", "1.3"], "from 0 to 1, such as 0.3"),
        (["db.query", "latency(20ms)", "--latency", "1s"], "or leave the text out"),
        (["db.query", "2*latency(1ms)", "--times", "3"], "keep it in the text only"),
        (["db.query"], "write a rule such as latency(200ms)"),
        (["db.query", "off", "--times", "0"], "less than 1"),
        (["db.query", "off", "--latency", "1s"], "already has the faults"),
        (["db.query", "5*off", "--times", "3"], "has this key already"),
        (["db.query=off; db.commit=off"], "expected '+', '[', '->' or the end"),
        (["db.query", "off [every=2]", "--every", "3"], "has this key already"),
        (["db.query", "off [every=x]"], "column 12: not a whole number: 'x'"),
    ],
)
def test_a_mistake_is_told_without_a_service(
    cli: Cli, nobody: str, arguments: list[str], message: str
) -> None:
    done = cli("arm", *arguments, "--url", nobody)
    assert message in complaint(done, 1)
    assert told(cli("arm", *arguments, "--url", nobody, "--json"), 1)["status"] == 422


def test_the_caret_stands_under_the_mistake(cli: Cli, nobody: str) -> None:
    lines = complaint(cli("arm", "db.query", "latency(1) off", "--url", nobody), 1).splitlines()
    assert lines[1].index("off") == lines[2].index("^")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["db.query=off", "off"], "given twice"),
        (["db.query", '{"latency": 1}', "--latency", "2"], "given twice"),
        (["db.query", "--probability", "often", "--latency", "1"], "write 0.3 or 30%"),
        (["db.query", "--probability", "3%0", "--latency", "1"], "write 0.3 or 30%"),
        (["db.query", "--returns", "{"], "is not JSON"),
        (["db.query", "--returns", "NaN"], "is not JSON"),
        (["db.query", "off", "--where", "tenant"], "write name=value"),
        (["db.query", "off", "--times", "many"], "'--times'"),
        (['{"latency": 1}'], "has no key 'point'"),
        (["db.query", "{"], "is not JSON"),
        (["db.query", "off", "--force"], "--force needs --store"),
        ([], "POINT"),
    ],
)
def test_what_is_no_option_is_wrong_usage(
    cli: Cli, url: str, spy: Spy, arguments: list[str], message: str
) -> None:
    done = cli("arm", *arguments, "--url", url)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert spy.asked == []
