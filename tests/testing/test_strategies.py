"""All drawn rules and plans can be armed, and the simple ones come first."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from helpers import python
from hypothesis import find, given, settings
from hypothesis import strategies as st

import chaospoint
from chaospoint import Plan, Registry, Rule
from chaospoint.errors import ChaosError, InvalidPlan
from chaospoint.faults import Failure, Hang, Latency, Off, Return
from chaospoint.testing import plans, rules

SETTINGS = settings(max_examples=150, deadline=None, database=None, derandomize=True)
QUICK = settings(SETTINGS, max_examples=60)


def placed() -> Registry:
    """Return a registry with a placement of every kind, and one that declares exceptions."""
    registry = Registry()

    @registry.point("a.function")
    def function() -> int:
        return 1

    @registry.point("a.coroutine")
    async def coroutine() -> int:
        return 1

    @registry.point("a.generator")
    def generator() -> Any:
        yield 1

    @registry.point("a.async-generator")
    async def async_generator() -> Any:
        yield 1

    mixed = registry.point("a.mixed")
    registry.kept = (function, coroutine, generator, async_generator, mixed(lambda: 1))  # type: ignore[attr-defined]
    registry.kept += (mixed(lambda: (yield)),)  # type: ignore[attr-defined]
    registry.point("a.nowhere")
    registry.point("b.said", raises=(OSError, UnicodeDecodeError, StopIteration))
    return registry


REGISTRY = placed()
ALL = ("exception", "latency", "return", "hang", "off", "yield")


def arm(plan: Rule | Plan, registry: Registry = REGISTRY) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chaospoint.arm(plan, registry=registry, strict=True).disarm()


@SETTINGS
@given(plans(kinds=ALL, returns=[None, 7, [1, 2], "text"], registry=REGISTRY))
def test_every_plan_can_be_armed_without_a_warning_and_reads_back(plan: Plan) -> None:
    arm(plan)
    assert plan.seed is not None
    assert Plan.parse(str(plan)) == plan


@SETTINGS
@given(rules(kinds=ALL, returns=[7, [1]], max_latency="20ms", registry=REGISTRY))
def test_every_rule_has_a_seed_and_stays_within_the_bounds(rule: Rule) -> None:
    arm(rule)
    assert rule.seed is not None
    assert REGISTRY.find(rule.point)
    for fault in rule.faults:
        if isinstance(fault, Latency | Hang):
            assert fault.seconds is not None
            assert 0 < fault.seconds <= 0.02


def drawn(wanted: Any, **keys: Any) -> Any:
    return find(
        plans(registry=REGISTRY, **keys), wanted, settings=settings(SETTINGS, max_examples=2000)
    )


def test_the_simplest_plan_is_none_at_all_then_one_rule_that_fires_once() -> None:
    assert drawn(lambda plan: True) == Plan(rules=[], seed=0)
    one = drawn(lambda plan: plan.rules, exceptions=[TimeoutError], points="a.function")
    assert one == Plan(rules=[Rule(point="a.function", exception=TimeoutError, times=1)], seed=0)


WANTED = [
    lambda rule: rule.when == "after",
    lambda rule: rule.every == 3,
]
WANTED_IN_CI = [
    lambda rule: isinstance(rule.faults[0], Hang),
    lambda rule: rule.times is None,
    lambda rule: rule.skip > 1 and rule.times == 4,
    lambda rule: rule.probability < 0.5,
    lambda rule: len(rule.faults) == 2,
    lambda rule: isinstance(rule.faults[0], Return) and rule.point == "a.generator",
    lambda rule: rule.point == "a.nowhere",
]


@pytest.mark.once
@pytest.mark.parametrize(
    "wanted", [*WANTED, *(pytest.param(one, marks=pytest.mark.ci) for one in WANTED_IN_CI)]
)
def test_a_rule_that_is_wanted_is_found_and_nothing_stands_beside_it(wanted: Any) -> None:
    """Plans shrink to the one rule that matters."""
    plan = drawn(lambda plan: any(map(wanted, plan.rules)), returns=[[1]])
    assert len(plan.rules) == 1


def test_what_a_point_says_that_it_raises_is_drawn_as_far_as_it_can_be_made() -> None:
    seen: set[object] = set()

    @QUICK
    @given(rules(["a.nowhere", "b.*"], kinds=["exception"], registry=REGISTRY))
    def look(rule: Rule) -> None:
        (fault,) = rule.faults
        assert isinstance(fault, Failure)
        seen.add((rule.point, fault.exception.path))

    look()
    assert seen == {("a.nowhere", "InjectedFault"), ("b.said", "OSError")}


@QUICK
@given(rules(["a.nowhere", "not.there"], registry=REGISTRY))
def test_points_that_are_named_need_not_be_there(rule: Rule) -> None:
    assert rule.point in ("a.nowhere", "not.there")


@QUICK
@given(rules(["a.mixed", "a.nowhere"], kinds="return", returns=[7, [1]], registry=REGISTRY))
def test_a_value_is_drawn_where_every_placement_can_return_it(rule: Rule) -> None:
    assert (rule.point, rule.when) == ("a.mixed", "before")
    (fault,) = rule.faults
    assert fault == Return(value=[1])


@SETTINGS
@given(plans("a.function", kinds="off", max_rules=8, registry=REGISTRY))
def test_no_rule_of_a_plan_hides_another(plan: Plan) -> None:
    arm(plan)


@QUICK
@given(st.data())
def test_points_are_looked_up_when_something_is_drawn(data: st.DataObject) -> None:
    registry = Registry()
    strategy = plans("late.*", registry=registry)
    registry.point("late.one")
    for rule in data.draw(strategy).rules:
        assert rule.point == "late.one"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"points": "stock.*"}, r"no point matches 'stock.\*'.*import the modules"),
        ({"points": "b.*", "kinds": ["return"], "returns": [1]}, "'b.*' can express 'return'"),
    ],
)
def test_where_nothing_can_be_drawn_the_cure_is_said(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ChaosError, match=said):
        find(rules(registry=REGISTRY, **keys), lambda rule: True)


@pytest.mark.parametrize(
    ("keys", "error", "said"),
    [
        ({"kinds": ["latencies"]}, ChaosError, "'latencies' cannot be drawn: write some of"),
        ({"kinds": []}, ChaosError, "cannot be drawn"),
        ({"kinds": ["return"]}, ChaosError, "need each other"),
        ({"kinds": ["hang"], "returns": [1]}, ChaosError, "need each other"),
        ({"kinds": ["hang"], "exceptions": [OSError]}, ChaosError, "add it to kinds"),
        ({"exceptions": []}, ChaosError, "exceptions is empty"),
        ({"exceptions": [UnicodeDecodeError]}, InvalidPlan, "UnicodeDecodeError"),
        ({"exceptions": ["no.such.Error"]}, InvalidPlan, "no.such.Error"),
        ({"returns": [iter(())]}, InvalidPlan, "use up this iterator"),
        ({"max_latency": "soon"}, InvalidPlan, "max_latency"),
        ({"points": "Pay.*"}, InvalidPlan, "uppercase"),
        ({"points": []}, ChaosError, "points is empty, so there is nothing to draw rules for"),
    ],
)
def test_what_cannot_be_drawn_is_refused_at_once(
    keys: dict[str, Any], error: type[Exception], said: str
) -> None:
    for strategy in (rules, plans):
        with pytest.raises(error, match=said):
            strategy(registry=REGISTRY, **keys)


@pytest.mark.parametrize("many", [-1, True, 1.5, None])
def test_a_number_of_rules_that_is_none_is_refused_at_once(many: Any) -> None:
    with pytest.raises(ChaosError, match=r"max_rules=.*: write a whole number from 0"):
        plans(registry=REGISTRY, max_rules=many)
    assert find(plans(registry=REGISTRY, max_rules=0), lambda plan: True).rules == ()


@QUICK
@given(rules(["a.nowhere", "b.said"], kinds=ALL, returns=[7], registry=REGISTRY))
def test_what_may_be_a_statement_has_no_end_to_act_after(rule: Rule) -> None:
    assert rule.when == "before"
    assert not isinstance(rule.faults[-1], Return)


def test_one_kind_may_be_given_as_a_word() -> None:
    rule = find(rules("a.function", kinds="off", registry=REGISTRY), lambda rule: True)
    assert rule.faults == (Off(),)


def test_without_hypothesis_the_cure_is_said_and_all_else_is_there() -> None:
    python(
        """
        import sys
        sys.modules["hypothesis"] = None
        from chaospoint.testing import fault_coverage
        try:
            from chaospoint.testing import plans
        except ImportError as error:
            assert "pip install hypothesis" in str(error), error
        else:
            raise AssertionError("it was found")
        """
    )
