"""Plans: read whole or refused whole, written down and read back, compiled for the kernel."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from chaospoint._kernel.chance import derive
from chaospoint.errors import InvalidPlan
from chaospoint.faults import Latency
from chaospoint.faults.lookup import Trust
from chaospoint.plan import Plan, Rule, parse_plan
from chaospoint.plan.compiling import compile_plan

HANG = {"point": "a", "hang": True}


def test_a_plan_is_a_list_or_a_mapping() -> None:
    plan = Plan(rules=[Rule(point="a", hang=True)])
    assert parse_plan([HANG]) == plan
    assert parse_plan({"rules": [HANG]}) == plan
    assert parse_plan(({"point": "a", "hang": True},)) == plan
    assert parse_plan(plan) is plan
    assert parse_plan({"seed": 0, "rules": []}) == Plan(seed=0, rules=[])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, ["plan: plan=None: not a plan", "write {rules: [...]}"]),
        ("text", ["plan='text'", "not a plan"]),
        (3, ["plan=3"]),
        ({}, ["plan: rules: missing", "`rules: []` arms nothing"]),
        ({"point": "a", "hang": True}, ["rules: missing", "[{point: ...}]"]),
        ({"rules": None}, ["rules=None", "not a list"]),
        ({"rules": {}}, ["rules={}", "not a list"]),
        ({"rules": "a"}, ["rules='a'", "not a list"]),
        ({"rules": [], "sed": 3}, ["plan: sed=3: unknown key", "did you mean 'seed'?"]),
        ({"rules": [], "seed": -1}, ["plan: seed=-1: less than 0", "from 0"]),
        ({"rules": [], "seed": True}, ["seed=True", "whole number"]),
        ({"rules": [], 1: 2}, ["1=2", "unknown key"]),
        ([HANG, None], ["rule 2: rule=None: not a rule"]),
        (
            [HANG, "a=hung"],
            ["rule 2: rule='a=hung': column 3: 'hung': not a known action; did you mean 'hang'?"],
        ),
        ([HANG, {"rule": "off"}], ["rule 2: point: missing"]),
        ([HANG, {"point": "b", "rule": "of"}], ["rule 2 ('b'): rule='of': column 1: 'of'"]),
        ([HANG, {"hang": True}], ["rule 2: point: missing"]),
        ([HANG, {"point": 3, "hang": True}], ["rule 2: point=3: not the name of a point"]),
        ([HANG, {**HANG, "times": 0}], ["rule 2 ('a'): times=0: less than 1"]),
        (
            [HANG, {"point": "payment.charge", "latency": "fast"}],
            [
                "rule 2 ('payment.charge'): latency='fast': not a duration; "
                "write a number of seconds or a number with a unit: 200ms, 1.5s, 2m, 1h"
            ],
        ),
    ],
)
def test_a_bad_plan_is_refused_with_the_place(data: Any, words: list[str]) -> None:
    with pytest.raises(InvalidPlan) as caught:
        parse_plan(data)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.rule is not None
    assert caught.value.field is not None
    assert caught.value.cure is not None


def test_the_constructor_refuses_in_the_same_words() -> None:
    with pytest.raises(InvalidPlan, match=r"^rule 1 \('a'\): hang=False: .*leave the key out"):
        Plan(rules=[{"point": "a", "hang": False}])
    with pytest.raises(InvalidPlan, match=r"^plan: rules: missing"):
        Plan()  # type: ignore[call-arg]
    with pytest.raises(InvalidPlan, match=r"^plan: seed='x'"):
        Plan(rules=[], seed="x")  # type: ignore[arg-type]


def test_models_survive_pickling_and_copying() -> None:
    plan = parse_plan(
        [
            {"point": "a", "returns": [1], "where": {"tenant": ["acme"]}},
            {"point": "b", "exception": "OSError", "latency": {"seconds": 1, "jitter": 1}},
            "c=print(m)+pause->off",
        ]
    )
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert plan.model_copy(deep=True) == plan


class TestCompile:
    def test_gives_the_terms_in_plan_order(self) -> None:
        plan = parse_plan(
            [
                {"point": "b.*", "latency": "1s", "skip": 1, "every": 2, "times": 3, "seed": 4,
                 "probability": 0.5, "expires_after": "1m"},
                HANG,
            ]
        )  # fmt: skip
        first, second = compile_plan(plan, trust="deferred", expires_after=600.0)
        schedule = first.schedule
        assert (first.pattern, second.pattern) == ("b.*", "a")
        assert (schedule.seed, schedule.skip, schedule.every, schedule.times) == (4, 1, 2, 3)
        assert schedule.probability == 0.5
        assert (first.expires_after, second.expires_after) == (60.0, 600.0)
        assert first.faults == (Latency(seconds=1),)
        assert first.text == "b.*=50%3*latency(1s) [skip=1, every=2, expires_after=1m]"
        assert str(plan.rules[0]) == first.text.replace("expires", "seed=4, expires")
        assert (first.resolve, second.resolve) == (None, None)

    def test_nothing_expires_unless_it_is_said(self) -> None:
        (terms,) = compile_plan(parse_plan([HANG]), trust="code")
        assert terms.expires_after is None

    def test_the_seed_is_the_rules_else_the_plans_else_the_default_else_drawn(self) -> None:
        own = {**HANG, "seed": 0}
        plan = Plan(seed=0, rules=[own, HANG, HANG, {**HANG, "point": "b"}])
        seeds = [terms.schedule.seed for terms in compile_plan(plan, trust="code", seed=9)]
        hang, other = (
            f'{{"faults": [{{"kind": "hang"}}], "point": "{point}"}}' for point in ("a", "b")
        )
        assert seeds == [0, *(derive(0, *key) >> 10 for key in ((hang, 1), (hang, 2), (other, 1)))]

        (terms,) = compile_plan(parse_plan([HANG]), trust="code", seed=0)
        assert (terms.schedule.seed, terms.seed_drawn) == (derive(0, hang, 1) >> 10, False)

        drawn = [compile_plan(parse_plan([HANG, own]), trust="code") for _ in range(3)]
        assert [(one.seed_drawn, two.seed_drawn) for one, two in drawn] == [(True, False)] * 3
        assert len({one.schedule.seed for one, _ in drawn}) > 1

    def test_what_does_not_concern_the_firing_does_not_change_the_seed(self) -> None:
        more = {"expires_after": "1h", "max_active": 5, "where": {"x": 1}, "when": "after"}
        plans = [Plan(seed=7, rules=[{**HANG, **keys}]) for keys in ({}, more)]
        seeds = {compile_plan(plan, trust="code")[0].schedule.seed for plan in plans}
        assert len(seeds) == 1

    def test_a_rule_put_above_others_changes_the_seed_of_none(self) -> None:
        other = {"point": "a", "latency": "1s"}
        (alone,) = compile_plan(Plan(seed=7, rules=[HANG]), trust="code")
        _, below = compile_plan(Plan(seed=7, rules=[other, HANG]), trust="code")
        assert alone.schedule == below.schedule

    def test_one_bad_rule_refuses_the_whole_plan(self) -> None:
        plan = parse_plan([HANG, {"point": "b", "exception": "chaos_nowhere.Error"}])
        with pytest.raises(InvalidPlan, match=r"^rule 2 \('b'\): exception='chaos_nowhere.Error'"):
            compile_plan(plan, trust="code")

    def test_conditions_are_part_of_the_terms(self) -> None:
        keys = {"when": "after", "max_active": 3, "where": {"tenant": "acme"}, "scope": "context"}
        (terms,) = compile_plan(Plan(rules=[{**HANG, **keys}]), trust="code")
        assert (terms.after, terms.max_active, terms.scoped) == (True, 3, True)
        assert terms.where == {"tenant": "acme"}

    @pytest.mark.parametrize("trust", ["deferred", "loaded"])
    def test_only_code_has_a_context(self, trust: Trust) -> None:
        words = (
            r"^rule 2 \('a'\): scope='context': only rules that code arms can be limited to a"
            r" context; leave the key out; `where` selects calls by labels and arguments$"
        )
        with pytest.raises(InvalidPlan, match=words):
            compile_plan(parse_plan([HANG, {**HANG, "scope": "context"}]), trust=trust)

    def test_nothing_in_nothing_out(self) -> None:
        assert compile_plan(Plan(rules=[]), trust="code") == ()
