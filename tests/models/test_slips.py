"""Slips of a hand in the text and the data of rules: each is refused with a cure that works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaospoint import Plan, Rule
from chaospoint.errors import InvalidPlan
from chaospoint.plan import load_plan, parse_plan
from chaospoint.plan.compiling import check_from_outside

SLIPS = {
    "expires_after": ["expires", "Expires", "ttl", "expire", "expire_after"],
    "probability": ["rate", "prob", "p", "chance", "percent"],
    "times": ["count", "max", "limit", "time"],
    "every": ["evry"],
}


@pytest.mark.parametrize(
    ("slip", "key"), [(slip, key) for key, slips in SLIPS.items() for slip in slips]
)
def test_a_slip_of_a_key_in_the_tail_is_no_label(slip: str, key: str) -> None:
    with pytest.raises(InvalidPlan, match=rf"did you mean '{key}'\?.*where\.{slip}"):
        Rule.parse(f"a.b=off [{slip}=3]")
    labelled = Rule.parse(f"a.b=off [where.{slip}=3]")
    assert labelled.where == {slip: 3}
    assert Rule.parse(str(labelled)) == labelled


@pytest.mark.parametrize(
    ("text", "column", "cure"),
    [
        ("a.b=off [order==1]", 16, "write name=value"),
        ("a.b=off [order!=1]", 10, "write name=value"),
        ("a.b=off [amount>=1]", 10, "write name=value"),
        ("a.b=off [order=a;n=1]", 16, "write ',' between entries"),
        ("a.b=30latency(20ms)", 7, r"write 30% for a share of the calls, or 30\* for a count"),
        ("a.b=2 off", 6, "write 2% for a share"),
        (
            "[to=db]a.b=off",
            1,
            r"write the brackets after the faults, as in payment\.charge=off \[to=db\]",
        ),
        ("a.b=off [to=[db, 5432]]", 13, r"write \(db, 5432\), or a list in JSON"),
    ],
)
def test_what_looks_like_another_syntax_is_refused(text: str, column: int, cure: str) -> None:
    with pytest.raises(InvalidPlan, match=rf"column {column}: .*; {cure}"):
        Plan.parse(text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('a.b=off [order="=1"]', {"order": "=1"}),
        ('a.b=off [order="a;n=1"]', {"order": "a;n=1"}),
        ('a.b=off ["order!"=1]', {"order!": 1}),
        ("a.b=off [to=(db, 5432)]", {"to": ["db", 5432]}),
        ('a.b=off [to=["db", 5432]]', {"to": ["db", 5432]}),
        ('a.b=off [to=[["db", 5432]]]', {"to": [["db", 5432]]}),
    ],
)
def test_the_cures_work(text: str, where: object) -> None:
    rule = Rule.parse(text)
    assert rule.where == where
    assert Rule.parse(str(rule)) == rule


@pytest.mark.parametrize("value", ["30%", " 30 %", 0.3])
def test_shares_are_numbers_or_percentages_wherever_they_stand(value: Any) -> None:
    assert Rule(point="a.b", latency="1s", probability=value).probability == 0.3
    assert Rule(point="a.b", failure_rate=value).probability == 0.3
    data = {"point": "a.b", "exception": "OSError", "failure_rate": value}
    assert parse_plan([data]).rules[0].probability == 0.3
    assert str(Rule(point="a.b", failure_rate=value)) == "a.b=30%raise"


@pytest.mark.parametrize(
    ("value", "cure"),
    [
        ("130%", "more than 100%; write a percentage from 0% to 100%"),
        (1.3, "not between 0 and 1; write a number from 0 to 1, such as 0.3"),
        (30, "such as 0.3"),
        ("30", "or a percentage such as 30%"),
    ],
)
def test_other_shares_are_refused_with_a_likely_cure(value: Any, cure: str) -> None:
    with pytest.raises(InvalidPlan, match=cure):
        Rule(point="a.b", failure_rate=value)
    with pytest.raises(InvalidPlan) as caught:
        Rule.parse("a.b=off [probability=130%]")
    assert "write a percentage from 0% to 100%" in str(caught.value)


def refused(data: object) -> str:
    with pytest.raises(InvalidPlan) as caught:
        parse_plan([data])
    return str(caught.value)


def test_data_is_refused_in_the_words_of_data() -> None:
    text = refused({"payment.charge": "latency(1ms)"})
    assert "write the text of a rule: payment.charge=latency(1ms)" in text
    assert parse_plan(["payment.charge=latency(1ms)"]).rules[0].point == "payment.charge"
    assert "did you mean 'rule'?" in refused({"point": "db.query", "rul": "off"})
    known = refused({"point": "db.query", "strange": 1})
    assert "known are point, rule, latency" in known
    assert "returns_from" not in known
    assert "call" not in known
    for key in ("returns_from", "call"):
        assert "arm the rule in code" in refused({"point": "a.b", key: "x"})
    bare = refused({"point": "a.b"})
    assert "latency(200ms)" in bare
    assert "call" not in bare


def test_tuples_in_where_are_lists_as_they_match() -> None:
    assert (
        str(Rule(point="a.b", returns=1, where={"to": ("a", "b")})) == "a.b=return(1) [to=(a, b)]"
    )
    nested = Rule(point="a.b", returns=1, where={"to": [("db", 1)]})
    assert str(nested) == 'a.b=return(1) [to=[["db", 1]]]'
    assert Rule.parse(str(nested)) == nested
    kept = object()
    where = Rule(point="a.b", returns=1, where={"to": (kept,)}).where
    assert where is not None
    assert where["to"] == (kept,)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a.b=raise(KeyboardInterrupt)", "can be raised only by rules that code arms"),
        ("a.b=raise(SystemExit)", "can be raised only by rules that code arms"),
        ("a.b=off [scope=context]", "only rules that code arms can be limited"),
        (
            "a.b=off; c.d=raise(asyncio.CancelledError)",
            r"rule 2 \('c.d'\).* only by rules that code arms",
        ),
    ],
)
def test_what_is_refused_from_outside_can_be_asked_beforehand(text: str, problem: str) -> None:
    with pytest.raises(InvalidPlan, match=problem):
        check_from_outside(Plan.parse(text))


def test_what_is_not_installed_here_may_be_there() -> None:
    nested = '{"type": "OSError", "args": [{"type": "elsewhere.Failed", "args": [1]}]}'
    for one in ("elsewhere.Failed", "OSError", "httpx.ConnectTimeout", nested):
        check_from_outside(Plan.parse(f"a.b=raise({one})"))


def test_a_file_says_text_for_a_share(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("rules: [{point: a.b, failure_rate: 30%}]\n")
    assert load_plan(file).rules[0].probability == 0.3
