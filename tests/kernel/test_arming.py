"""What code arms with: the public functions end in the kernel."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from chaospoint import Plan, Registry, Rule, arm, armed, disable, disarm, enable
from chaospoint.arming import Origin, install_plan, plan_of
from chaospoint.errors import InvalidPlan, NotPermitted, UnknownPoint
from chaospoint.observers.log import Log
from chaospoint.observers.otel import OpenTelemetry
from chaospoint.observers.prometheus import Prometheus
from chaospoint.testing import FakeClock

from .kit import Witness


@pytest.fixture
def function(registry: Registry) -> Any:
    @registry.point("p")
    def function() -> str:
        return "own"

    return function


@pytest.mark.parametrize(
    ("target", "keys"),
    [
        ("p", {"exception": KeyError, "times": 1}),
        ("p*", {"exception": "KeyError", "times": 1}),
        (Rule(point="p", exception=KeyError, times=1), {}),
        (Plan(rules=[Rule(point="p", exception=KeyError, times=1)]), {}),
        (Plan(rules=[{"point": "p", "exception": "KeyError", "times": 1}], seed=3), {}),
    ],
    ids=["name", "glob", "rule", "plan", "plan of data"],
)
def test_names_globs_rules_and_plans(
    registry: Registry, function: Any, target: Any, keys: dict[str, Any]
) -> None:
    handle = arm(target, registry=registry, **keys)
    with pytest.raises(KeyError):
        function()
    assert function() == "own"
    assert (handle.injections, handle.reaches) == (1, 2)
    assert handle.rules[0].source == "code"


def test_a_name_takes_the_text_of_a_rule_too(registry: Registry, function: Any) -> None:
    for target in ("p", registry.point("p")):
        handle = arm(target, "1*raise(KeyError)", registry=registry)
        with pytest.raises(KeyError):
            function()
        assert function() == "own"
        assert handle.rules[0].text == "p=1*raise(KeyError)"
    with armed("p", 'return("chaos")', registry=registry):
        assert function() == "chaos"


@pytest.mark.parametrize(
    ("target", "text", "keys", "words"),
    [
        ("p", 0.2, {}, "0.2 is not the text of a rule: write text, such as arm("),
        ("p", TimeoutError, {}, "exception=TimeoutError"),
        ("p", "some text", {}, "some text"),
        ("p", "return(1)", {"times": 2}, "without keys"),
        (Rule(point="p", latency=1), "return(1)", {}, "give it after a name or a glob"),
    ],
)
def test_what_is_no_text_of_a_rule_is_refused(
    registry: Registry, target: Any, text: Any, keys: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidPlan) as refused:
        arm(target, text, registry=registry, **keys)
    assert words in str(refused.value)
    assert registry.rules() == ()


@pytest.mark.parametrize("target", [None, 3, b"p", ["p"], {"point": "p", "latency": 1}])
def test_what_is_no_target_is_refused(registry: Registry, target: Any) -> None:
    with pytest.raises(InvalidPlan, match="give the name of a point or a glob with keys"):
        arm(target, registry=registry)


def test_a_complete_rule_takes_no_further_keys(registry: Registry) -> None:
    one = Rule(point="p", latency=1)
    with pytest.raises(InvalidPlan, match=r"a Rule is complete.*\(times\): put them into the Rule"):
        arm(one, times=1, registry=registry)
    with pytest.raises(InvalidPlan, match="a Plan is complete"):
        armed(Plan(rules=[one]), latency=2, registry=registry)


def test_armed_disarms_on_every_way_out(registry: Registry, function: Any) -> None:
    with armed("p", returns=1, registry=registry) as handle:
        assert function() == 1
    assert function() == "own"
    with pytest.raises(OSError, match="out"), armed("p", returns=2, registry=registry):
        raise OSError("out")
    assert function() == "own"
    assert handle.injections == 1
    assert registry.rules() == ()


def test_armed_may_be_entered_again_with_fresh_counts(registry: Registry, function: Any) -> None:
    block = armed("p", returns=1, times=1, registry=registry)
    for _ in range(2):
        with block as handle:
            assert [function(), function()] == [1, "own"]
        assert handle.injections == 1


def test_a_wrong_rule_is_refused_before_the_block(registry: Registry) -> None:
    with pytest.raises(InvalidPlan):
        armed("p", latency="soon", registry=registry)
    with pytest.raises(InvalidPlan):
        armed("p", registry=registry)


def test_armed_decorates_no_less_than_it_opens_blocks(registry: Registry, function: Any) -> None:
    with armed("p", returns=1, registry=registry), armed("p", returns=2, registry=registry):
        assert function() == 2  # the newest first
    assert function() == "own"


def test_arming_loads_the_three_sinks_once(registry: Registry, function: Any) -> None:
    for _ in range(2):
        arm("p", returns=1, registry=registry)
    assert [type(one) for one in registry.observers] == [Prometheus, OpenTelemetry, Log]


def test_disarm_disable_and_enable(registry: Registry, function: Any) -> None:
    arm("p", returns=1, registry=registry)
    assert disarm("p", registry=registry) == 1
    assert function() == "own"
    arm("p", returns=1, registry=registry)
    disable(registry=registry)
    assert function() == "own"
    with pytest.raises(NotPermitted, match="disabled"):
        arm("p", returns=1, registry=registry)
    enable(registry=registry)
    with armed("p", returns=1, registry=registry):
        assert function() == 1


@pytest.mark.parametrize("word", ["false", "no", "OFF", " 0 "])
def test_an_explicit_no_is_overridden_by_nothing(
    registry: Registry, function: Any, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("CHAOSPOINT_ENABLED", word)
    with pytest.raises(NotPermitted, match="CHAOSPOINT_ENABLED is false in this process"):
        arm("p", returns=1, registry=registry)
    with pytest.raises(NotPermitted), armed("p", returns=1, registry=registry):
        pytest.fail("the block was run")
    with pytest.raises(NotPermitted):
        enable(registry=registry)
    assert function() == "own"


@pytest.mark.parametrize("word", ["true", "1", "", "maybe"])
def test_anything_else_is_no_no(
    registry: Registry, function: Any, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("CHAOSPOINT_ENABLED", word)
    with armed("p", returns=1, registry=registry):
        assert function() == 1


def test_strict_refuses_unknown_names(registry: Registry, function: Any) -> None:
    with pytest.raises(UnknownPoint, match="nobody"):
        arm("nobody", latency=1, strict=True, registry=registry)
    with pytest.raises(UnknownPoint), armed("nobody", latency=1, strict=True, registry=registry):
        pytest.fail("the block was run")


def test_installing_from_outside(registry: Registry, function: Any, clock: FakeClock) -> None:
    plan = Plan(rules=[{"point": "p", "exception": "KeyError"}])

    def install(by: str = "", **keys: Any) -> Any:
        return install_plan(plan, Origin("http", by), registry, expires_after=600, **keys)

    first = install(replace=True, by="10.0.0.1")
    assert first.rules[0].by == "10.0.0.1"
    clock.advance(10)
    (same,) = install(replace=True).rules
    assert (same.state, same.seconds_left) == ("armed", 590)
    with pytest.raises(KeyError):
        function()


def test_an_exception_that_is_not_imported_yet_waits_for_the_first_reach(
    registry: Registry, function: Any
) -> None:
    """Env and file rules import nothing until they are reached."""
    import sys

    sys.modules.pop("wave", None)
    plan = Plan(rules=[{"point": "p", "exception": "wave.Error", "latency": 0}])
    handle = install_plan(plan, origin=Origin("env"), registry=registry, replace=True)
    assert handle.rules[0].state == "waiting for an import"
    assert "wave" not in sys.modules
    with pytest.raises(Exception) as caught:  # noqa: PT011
        function()
    assert caught.type is sys.modules["wave"].Error
    with pytest.raises(caught.type):
        registry.point("p").hit()
    assert handle.rules[0].state == "armed"


def test_a_seed_reproduces_what_fires(registry: Registry, function: Any) -> None:
    def fired(seed: int) -> list[bool]:
        with armed("p", returns=1, probability=0.5, seed=seed, registry=registry):
            return [function() == 1 for _ in range(64)]

    assert fired(7) == fired(7)
    assert fired(7) != fired(8)


@pytest.mark.parametrize("text", ["payment.charge=30%off", "30%off", "hang(3s)"])
def test_the_text_of_a_rule_is_sent_to_where_it_is_read(text: str) -> None:
    with pytest.raises(InvalidPlan, match=r"Rule\.parse"):
        arm(text)
    with pytest.raises(InvalidPlan, match=r"Rule\.parse"):
        arm("payment.charge", rule=text)  # type: ignore[call-arg]
    with pytest.raises(InvalidPlan, match=r"write faults: \[\{kind: pause\}\]"):
        arm("payment.charge", pause=True)  # type: ignore[call-arg]


def test_the_values_of_where_enter_no_log_span_note_or_message(
    registry: Registry, log: pytest.LogCaptureFixture, witness: Witness
) -> None:
    registry.add_observer(Log())
    point = registry.point("p")
    with armed("p", exception=KeyError, where={"card": "4929-secret"}, registry=registry) as handle:
        with pytest.raises(KeyError) as raised:
            point.hit(card="4929-secret")
        with pytest.raises(TimeoutError) as late:
            handle.wait_for(injections=2, timeout=0)
    (injection,) = witness.injections
    assert injection.rule == "p=raise(KeyError) [card=…]"
    said = [log.text, injection.rule, repr(handle), str(late.value), *raised.value.__notes__]
    assert all("card" in text for text in said)
    assert not any("secret" in text for text in said)


def test_a_plan_that_is_armed_again_means_the_same() -> None:
    registry = Registry()
    made = registry.point("a.b")(lambda: 7)

    def text(**keys: Any) -> str:
        with armed("a.b", registry=registry, **keys) as handle:
            assert made is not None  # the function lives on
            return handle.rules[0].text

    for _ in range(2):
        # These are equal to one another, as keys of a dictionary are.
        assert [text(returns=one) for one in (1, 1.0, True)] == [
            "a.b=return(1)",
            "a.b=return(1.0)",
            "a.b=return(true)",
        ]
        assert text(hang=True) == "a.b=hang"
        assert text(exception=OSError) == text(exception="OSError") == "a.b=raise(OSError)"
        assert text(latency=1, times=2) == "a.b=2*latency(1s)"
        with pytest.raises(InvalidPlan, match="times"):
            text(latency=1, times=0)


def test_a_class_of_the_program_is_kept_for_nobody() -> None:
    class Own(Exception):
        pass

    assert plan_of("a.b", {"exception": Own}).rules
    gone = weakref.ref(Own)
    del Own
    gc.collect()
    assert gone() is None
