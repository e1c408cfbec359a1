"""What rules and plans write down reads back as what they were."""

from __future__ import annotations

import json
import re
import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaospoint.errors import InjectedFault, InvalidPlan
from chaospoint.faults import Failure, Off, Pause, Print, Return, Yield
from chaospoint.models.refusal import show
from chaospoint.plan import Plan, Rule, parse_plan
from chaospoint.plan.compiling import shown, unseeded


class Shop:
    class Error(Exception):
        """An exception that a path leads to."""


durations = (
    st.floats(0, 1e8)
    | st.integers(0, 10**8)
    | st.sampled_from([-0.0, 5e-324, "200ms", "1.5s", "2m", ".5", "250us"])
)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [10**599, -(10**599), -0.0, 1e300, 5e-324, "<", "NaN", "\x00\u2028\U0001f600"]
    )
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    [TimeoutError, InjectedFault, Shop.Error, "IOError", "sqlite3.OperationalError", "größe.Fehler"]
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "type": names,
        "args": st.lists(plain, max_size=2),
        "kwargs": st.dictionaries(st.text(), plain, max_size=2),
    },
)
instances = st.builds(lambda args: OSError(*args), st.lists(plain, max_size=1))
weighted = st.builds(
    lambda spec, weight: {**spec, "weight": weight}, specs, st.floats(0.001, 1e6) | st.just(1)
)
exceptions = (
    names | specs | instances | st.lists(names | instances | weighted, min_size=1, max_size=3)
)
shares = st.floats(0, 1) | st.sampled_from([-0.0, 0.3, 0.07, 1e-320])
spreads = st.fixed_dictionaries(
    {"seconds": st.floats(1e-300, 1e8), "jitter": durations},
    optional={"distribution": st.sampled_from(["uniform", "normal", "lognormal"])},
)
fault_keys = st.one_of(
    st.fixed_dictionaries(
        {"latency": durations | spreads},
        optional={"exception": exceptions, "failure_rate": shares},
    ),
    st.fixed_dictionaries({"exception": exceptions}, optional={"failure_rate": shares}),
    st.fixed_dictionaries({"returns": plain}, optional={"latency": durations}),
    st.fixed_dictionaries({"returns": plain, "failure_rate": st.floats(0, 0.9)}),
    st.fixed_dictionaries({"hang": st.just(True) | durations}),
    st.fixed_dictionaries(
        {
            "faults": st.lists(
                st.sampled_from([Yield(), Pause(), {"kind": "yield"}])
                | st.builds(Print, message=st.text())
                | st.builds(lambda time: {"kind": "delay", "seconds": time}, durations),
                min_size=1,
                max_size=3,
            )
        },
        optional={"latency": durations, "exception": exceptions},
    ),
    st.just({"faults": [Off()]}),
)
labels = st.text(min_size=1) | st.sampled_from(
    ["to", "http.route", "where", "where.x", "times", "Every", "evry", "seeds", "a b", "3"]
)
words = st.sampled_from(
    ["db", "b*", "", "3", "1e5", "-0", "007", "1.2.3", "null", "None", "nan", "fal\u017fe", "a=b"]
) | st.sampled_from(
    ["(a", "a,b", "a]", "a->b", " a ", "30%", "a b", "12:30", "M\u00fcller", "\u0663", "...", "…"]
)
counts = st.integers(1, 2**62)
triggers = st.fixed_dictionaries(
    {"point": st.from_regex(r"[a-z0-9_*-]{1,12}(\.[a-z0-9_*-]{1,12}){0,9}", fullmatch=True)},
    optional={"probability": shares, "times": st.none() | counts},
)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "skip": st.integers(0, 2**62),
        "every": counts,
        "max_active": st.none() | counts,
        "when": st.sampled_from(["before", "after"]),
        "scope": st.sampled_from(["process", "context"]),
        "where": st.dictionaries(labels, plain | words, min_size=1, max_size=3),
        "seed": st.none() | st.integers(0, 2**63 - 1),
        "expires_after": st.floats(0.1, 1e6),
    },
)
rules = st.builds(
    lambda faults, trigger, condition: Rule(**faults, **trigger, **condition),
    fault_keys,
    triggers,
    st.just({}) | conditions,
)
plans = st.builds(
    lambda rules, seed: Plan(rules=rules, seed=seed),
    st.lists(rules, max_size=4),
    st.none() | st.integers(0, 2**63 - 1),
)


@given(rules)
def test_a_rule_reads_back_equal(rule: Rule) -> None:
    text = str(rule)
    again = Rule.parse(text)
    assert again == rule
    assert str(again) == text
    assert len(text.splitlines()) == 1
    assert text.startswith(f"{rule.point}=")


@given(rules)
def test_what_people_see_says_neither_the_seed_nor_the_values_of_where(rule: Rule) -> None:
    assert Rule.parse(unseeded(rule)) == rule.model_copy(update={"seed": None})
    again = Rule.parse(shown(rule))
    assert again.seed is None
    assert again.where == (rule.where and dict.fromkeys(rule.where, "…"))
    assert again.faults == rule.faults


@given(plans)
def test_a_plan_reads_back_equal(plan: Plan) -> None:
    text = str(plan)
    assert Plan.parse(text) == plan
    assert str(Plan.parse(text)) == text


@given(plans)
def test_a_plan_is_read_from_its_dump_and_from_the_texts_of_its_rules(plan: Plan) -> None:
    assert parse_plan(json.loads(plan.model_dump_json())) == plan
    assert parse_plan(plan.model_dump()) == plan
    assert parse_plan({"seed": plan.seed, "rules": [*map(str, plan.rules)]}) == plan


def nested(depth: int) -> Any:
    value: Any = "x"
    for nth in range(depth):
        value = [value] if nth % 2 else {"a": value}
    return value


def test_what_counts_as_plain_data_reads_back_wherever_it_stands() -> None:
    deep = nested(50)
    failure = [OSError, {"type": OSError, "kwargs": {"x": nested(48)}, "weight": 2}]
    rules = [
        Rule(point="a", returns=deep),
        Rule(point="a", exception={"args": [nested(49)]}),
        Rule(point="a", exception=failure, failure_rate=0.5, latency=1),
        Rule(point="a", hang=True, where={"x": deep}),
    ]
    assert "<code only>" not in str(rules)
    for plan in (Plan(rules=rules), Plan(rules=rules, seed=1)):
        assert Plan.parse(str(plan)) == plan
    assert "<code only>" in str(Rule(point="a", returns=nested(51)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a=sleep(100)", "a = latency( .1 )"),
        ("a=raise", "a=panic()"),
        ('a=panic("m")', "a=raise(InjectedFault, m)"),
        ("a=raise(IOError)", "a=raise(builtins.OSError)"),
        ("a=5%2*off", "a=2*5.0%off"),
        ("a=raise+latency(1)", "a=latency(1000ms)+raise"),
        ("a=return", "a=return(null)"),
        ('a=return({"a":1,"b":2})', 'a=return({"b":2, "a":1})'),
        ("a=print", 'a=print("")'),
        ("a=100%off", '{"point": "a", "faults": [{"kind": "off"}]}'),
        ("a=30%raise", '{"point": "a", "failure_rate": 0.3}'),
        ("a=raise", '{"point": "a", "exception": [{"weight": 3}]}'),
        ("a=latency(0)", '{"point": "a", "latency": -0.0}'),
        (
            "a=latency(1)",
            '{"point": "a", "latency": {"seconds": 1, "jitter": 0, "distribution": "normal"}}',
        ),
    ],
)
def test_rules_that_mean_the_same_have_the_same_text(one: str, other: str) -> None:
    assert Rule.parse(one) == Rule.parse(other)
    assert str(Rule.parse(one)) == str(Rule.parse(other))


def hidden() -> type[Exception]:
    class Hidden(Exception):
        pass

    return Hidden


@pytest.mark.parametrize(
    "keys",
    [
        {"returns": object()},
        {"returns": (1, 2)},
        {"returns": float("inf")},
        {"returns": {1: 2}},
        {"returns": "\ud800"},
        {"returns": {"\ud800": 1}},
        {"returns": 10**5000},
        {"exception": hidden()},
        {"exception": hidden()("text")},
        {"exception": lambda: OSError()},
        {"exception": {"type": OSError, "args": [object()]}},
        {"exception": [OSError, {"type": hidden(), "weight": 2}]},
        {"exception": OSError, "failure_rate": 0.5, "returns": object()},
        {"call": print},
        {"hang": True, "where": {"tenant": object()}},
    ],
    ids=lambda keys: re.sub(" at 0x[0-9a-f]+", "", show(keys)),  # the same in every process
)
def test_what_only_code_can_say_is_written_as_such_and_refused(keys: dict[str, Any]) -> None:
    rule = Rule(point="a", **keys)
    text = str(rule)
    assert "<code only>" in text
    assert "<code only>" in str(Plan(rules=[rule], seed=1))
    for read in (Rule.parse, Plan.parse):
        with pytest.raises(InvalidPlan) as caught:
            read(text)
        assert caught.value.cure is not None


def test_a_class_in_a_module_that_no_path_can_name_is_code_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ModuleType("my-script")
    module.Odd = type("Odd", (Exception,), {"__module__": "my-script"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my-script", module)
    assert "<code only>" in str(Rule(point="a", exception=module.Odd))


def test_faults_that_share_a_rule_with_text_keep_their_order() -> None:
    text = 'a=print("1")+yield+print("2")+return(1)'
    rule = Rule.parse(text)
    assert str(rule) == text
    assert rule.faults == (Print(message="1"), Yield(), Print(message="2"), Return(value=1))
    assert Rule(point="a", faults=[Failure(), Pause()]).faults == (Pause(), Failure())
