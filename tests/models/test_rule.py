"""The keys of a rule: what they become, and how nonsense in them is refused."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any

import pytest

from chaospoint.errors import InvalidPlan
from chaospoint.faults import Failure, Hang, Latency, Off, Return
from chaospoint.models.refusal import HIDDEN, show
from chaospoint.plan import Keys, Plan, Rule, parse_rules


class Local(Exception):
    """An exception of the test's own module."""


SLOW = Latency(seconds=0.2)
LATE = Failure(exception=TimeoutError)


def test_the_signature_lists_the_keys_and_their_defaults() -> None:
    parameters = signature(Rule).parameters
    assert [*parameters] == ["point", *Keys.__annotations__]
    assert parameters["point"].default is Parameter.empty
    assert {parameters[key].default for key in ("latency", "exception", "faults")} == {...}
    assert (parameters["skip"].default, parameters["times"].default) == (0, None)
    assert parameters["latency"].annotation == float | str | Mapping[str, object]


@pytest.mark.parametrize(
    ("keys", "faults"),
    [
        ({"latency": "200ms"}, (SLOW,)),
        ({"latency": 0.2}, (SLOW,)),
        ({"latency": {"seconds": "200ms"}}, (SLOW,)),
        ({"latency": {"seconds": 0.2, "distribution": "uniform"}}, (SLOW,)),
        ({"latency": {"seconds": 1, "jitter": "1s"}}, (Latency(seconds=1, jitter=1),)),
        ({"exception": TimeoutError}, (LATE,)),
        ({"exception": "TimeoutError"}, (LATE,)),
        ({"exception": "builtins.TimeoutError"}, (LATE,)),
        ({"exception": {"type": "TimeoutError"}}, (LATE,)),
        ({"failure_rate": 1}, (Failure(),)),
        ({"returns": None}, (Return(),)),
        ({"returns": [1]}, (Return(value=[1]),)),
        ({"hang": True}, (Hang(),)),
        ({"hang": "30s"}, (Hang(seconds=30),)),
        ({"hang": 30}, (Hang(seconds=30),)),
        ({"exception": TimeoutError, "latency": "200ms"}, (SLOW, LATE)),
        (
            {"latency": 0.2, "exception": TimeoutError, "failure_rate": 0.3},
            (SLOW, Failure(exception=TimeoutError, rate=0.3)),
        ),
        ({"latency": 0.2, "failure_rate": 0}, (SLOW, Failure(rate=0))),
        (
            {"returns": 1, "exception": TimeoutError, "failure_rate": 0.3},
            (Failure(exception=TimeoutError, rate=0.3), Return(value=1)),
        ),
        ({"faults": [SLOW]}, (SLOW,)),
        ({"faults": [{"kind": "latency", "seconds": 0.2}]}, (SLOW,)),
        ({"faults": [LATE, SLOW]}, (SLOW, LATE)),
        ({"faults": [LATE], "latency": 0.2}, (SLOW, LATE)),
    ],
)
def test_short_keys_become_faults(keys: dict[str, Any], faults: tuple[object, ...]) -> None:
    rule = Rule(point="payment.charge", **keys)
    assert rule.faults == faults
    assert rule.probability == 1.0
    assert parse_rules({"point": "payment.charge", **keys}) == (rule,)


@pytest.mark.parametrize(
    ("keys", "probability"),
    [
        ({"exception": OSError, "failure_rate": 0.3}, 0.3),
        ({"failure_rate": 0.3}, 0.3),
        ({"failure_rate": 0.5, "probability": 0.5}, 0.25),
        ({"failure_rate": 0}, 0.0),
        ({"faults": [Failure(rate=0.5)], "probability": 0.5}, 0.25),
    ],
)
def test_the_rate_of_a_lone_failure_multiplies_into_the_probability(
    keys: dict[str, Any], probability: float
) -> None:
    rule = Rule(point="a", **keys)
    assert rule.probability == probability
    (failure,) = rule.faults
    assert isinstance(failure, Failure)
    assert failure.rate is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"latency": 0.2}, {"latency": "200ms"}),
        ({"latency": 0.2, "skip": 0, "every": 1}, {"latency": {"seconds": 0.2, "jitter": 0}}),
        ({"exception": OSError}, {"faults": [{"kind": "exception", "exception": OSError}]}),
        ({"exception": OSError, "failure_rate": 0.3}, {"exception": "OSError", "probability": 0.3}),
        ({"returns": {"a": 1, "b": 2}}, {"returns": {"b": 2, "a": 1}}),
        ({"hang": 60, "times": None}, {"hang": "1m", "probability": 1}),
        ({"exception": Local}, {"exception": f"{__name__}.Local"}),
    ],
)
def test_rules_that_mean_the_same_are_equal_and_have_the_same_text(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = Rule(point="a", **one), Rule(point="a", **other)
    assert first == second
    assert str(first) == str(second)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"latency": 0.2}, "a.*=latency(200ms)"),
        ({"latency": 2, "probability": 0.3, "times": 5}, "a.*=30%5*latency(2s)"),
        ({"exception": OSError, "failure_rate": 0.005}, "a.*=0.5%raise(OSError)"),
        (
            {"latency": 1, "exception": {"type": OSError, "args": [5, "gone"]}},
            'a.*=latency(1s)+raise(OSError,5,"gone")',
        ),
        ({"exception": {"args": ["no"]}}, 'a.*=raise(InjectedFault,"no")'),
        ({"failure_rate": 1}, "a.*=raise"),
        ({"returns": None}, "a.*=return"),
        ({"returns": {"b": [1, "x"], "a": None}}, 'a.*=return({"a": null, "b": [1, "x"]})'),
        ({"hang": True}, "a.*=hang"),
        ({"hang": "1.5m"}, "a.*=hang(90s)"),
        ({"faults": [{"kind": "off"}]}, "a.*=off"),
        ({"faults": [{"kind": "delay", "seconds": "100ms"}]}, "a.*=delay(100ms)"),
        ({"faults": [{"kind": "print", "message": "m"}]}, 'a.*=print("m")'),
        ({"faults": [{"kind": "yield"}, {"kind": "pause"}]}, "a.*=yield+pause"),
        (
            {"latency": "200ms", "times": 2, "expires_after": "10m", "seed": 7},
            "a.*=2*latency(200ms) [seed=7, expires_after=10m]",
        ),
        (
            {"hang": True, "when": "after", "max_active": 3, "scope": "context"},
            "a.*=hang [max_active=3, when=after, scope=context]",
        ),
        (
            {"hang": True, "where": {"tenant": ["acme", "b*"]}},
            "a.*=hang [tenant=(acme, b*)]",
        ),
        (
            {"hang": True, "where": {"n": 3, "m": "3", "to": "db"}, "every": 2, "skip": 1},
            'a.*=hang [m="3", n=3, to=db, skip=1, every=2]',
        ),
        (
            {"hang": True, "where": {"a": [], "b": [1, [2]], "c": {"x": None}, "d": [None, ""]}},
            'a.*=hang [a=(), b=[1, [2]], c={"x": null}, d=(null, "")]',
        ),
        (
            {"hang": True, "where": {"times": 3, "where.x": "a b", "http.route": "/x", "a b": 1}},
            'a.*=hang ["a b"=1, http.route=/x, where.times=3, where.where.x="a b"]',
        ),
        (
            {"latency": "1s", "exception": OSError, "failure_rate": 0.3},
            "a.*=latency(1s)+raise(OSError) [failure_rate=30%]",
        ),
        (
            {"latency": {"seconds": 1, "jitter": "50ms", "distribution": "normal"}},
            "a.*=latency(1s, jitter=50ms, distribution=normal)",
        ),
        (
            {"exception": {"type": OSError, "kwargs": {"x": 1}}},
            'a.*=raise({"kwargs": {"x": 1}, "type": "OSError"})',
        ),
        (
            {"exception": [OSError, {"type": KeyError, "weight": 3}]},
            'a.*=raise(["OSError", {"type": "KeyError", "weight": 3.0}])',
        ),
        ({"hang": True, "expires_after": 90}, "a.*=hang [expires_after=90s]"),
        ({"hang": True, "expires_after": "48h"}, "a.*=hang [expires_after=2d]"),
    ],
)
def test_a_rule_is_written_as_text(keys: dict[str, Any], text: str) -> None:
    assert str(Rule(point="a.*", **keys)) == text
    assert Rule.parse(text) == Rule(point="a.*", **keys)


def test_what_only_code_can_say_shows_as_code_only() -> None:
    class Inner(Exception):
        pass

    assert str(Rule(point="a", exception=Inner)) == "a=raise(<code only>)"
    assert str(Rule(point="a", returns=object())) == "a=return(<code only>)"
    assert str(Rule(point="a", returns=(1, 2))) == "a=return(<code only>)"
    assert str(Rule(point="a", returns=INF)) == "a=return(<code only>)"
    assert str(Rule(point="a", call=print, times=2)) == "a=2*call(<code only>)"
    spec = {"type": OSError, "args": [object()]}
    assert str(Rule(point="a", exception=spec)) == "a=raise(<code only>)"
    choice = [OSError, {"type": Inner, "weight": 2}]
    assert str(Rule(point="a", exception=choice)) == (
        'a=raise(["OSError", {"type": "<code only>", "weight": 2.0}])'
    )
    where = {"x": {1}, "y": 1}
    assert str(Rule(point="a", hang=True, where=where)) == "a=hang [x=<code only>, y=1]"


@pytest.mark.parametrize("key", ["returns", "exception"])
def test_code_only_is_refused_when_read_back(key: str) -> None:
    with pytest.raises(InvalidPlan, match=f"{key}='<code only>'"):
        parse_rules({"point": "a", key: "<code only>"})


def test_classes_that_no_path_leads_to_are_told_apart() -> None:
    def make() -> type[Exception]:
        class Inner(Exception):
            pass

        return Inner

    one, other = make(), make()
    assert Rule(point="a", exception=one) == Rule(point="a", exception=one)
    assert Rule(point="a", exception=one) != Rule(point="a", exception=other)


DURATION = "write a number of seconds or a number with a unit: 200ms, 1.5s, 2m, 1h"
SHARE = "write a number from 0 to 1"
NAN, INF = float("nan"), float("inf")

BAD: list[tuple[dict[str, Any], str, object, str]] = [
    # keys, the field named, the value named, words of the cure
    ({"latency": "fast"}, "latency", "fast", DURATION),
    ({"latency": -1}, "latency", -1, DURATION),
    ({"latency": True}, "latency", True, DURATION),
    ({"latency": NAN}, "latency", NAN, DURATION),
    ({"latency": INF}, "latency", INF, DURATION),
    ({"latency": None}, "latency", None, "leave the key out"),
    ({"latency": []}, "latency", [], DURATION),
    ({"latency": "11000d"}, "latency", "11000d", "shorter"),
    ({"latency": {"seconds": 1, "jitter": "x"}}, "latency.jitter", "x", DURATION),
    ({"latency": {"seconds": 1, "jiter": 1}}, "latency.jiter", 1, "did you mean 'jitter'?"),
    ({"latency": {"seconds": 1, "distribution": "odd"}}, "latency.distribution", "odd", "uniform"),
    ({"exception": "Timeouterror"}, "exception", "Timeouterror", "did you mean 'TimeoutError'?"),
    ({"exception": "TimeotError"}, "exception", "TimeotError", "'TimeoutError'"),
    ({"exception": "InjctedFault"}, "exception", "InjctedFault", "'InjectedFault'"),
    ({"exception": "print"}, "exception", "print", "write an exception class"),
    ({"exception": "int"}, "exception", "int", "write an exception class"),
    ({"exception": "not a path"}, "exception", "not a path", "dotted path"),
    ({"exception": ".relative"}, "exception", ".relative", "dotted path"),
    ({"exception": "a..b"}, "exception", "a..b", "dotted path"),
    ({"exception": ""}, "exception", "", "dotted path"),
    ({"exception": 3}, "exception", 3, "dotted path"),
    ({"exception": int}, "exception", int, "dotted path"),
    ({"exception": StopIteration}, "exception", StopIteration, "write another exception"),
    ({"exception": "StopAsyncIteration"}, "exception", "StopAsyncIteration", "another exception"),
    ({"exception": GeneratorExit}, "exception", GeneratorExit, "another exception"),
    ({"exception": {"type": "int"}}, "exception", "int", "dotted path"),
    ({"exception": {"typ": "OSError"}}, "exception.typ", "OSError", "did you mean 'type'?"),
    ({"exception": {"args": "text"}}, "exception.args", "text", "as a list"),
    ({"exception": {"kwargs": [1]}}, "exception.kwargs", [1], "as a mapping"),
    ({"exception": {"kwargs": {1: 2}}}, "exception.kwargs", {1: 2}, "text keys"),
    ({"failure_rate": 1.1}, "failure_rate", 1.1, SHARE),
    ({"failure_rate": 30}, "failure_rate", 30, "such as 0.3"),
    ({"failure_rate": -0.1}, "failure_rate", -0.1, SHARE),
    ({"failure_rate": NAN}, "failure_rate", NAN, SHARE),
    ({"failure_rate": True}, "failure_rate", True, SHARE),
    ({"failure_rate": "0.3"}, "failure_rate", "0.3", SHARE),
    ({"hang": False}, "hang", False, "leave the key out"),
    ({"hang": "long"}, "hang", "long", DURATION),
    ({"hang": None}, "hang", None, "leave the key out"),
    ({"faults": []}, "faults", [], "write one of latency"),
    ({"faults": {}}, "faults", {}, "write a list"),
    ({"faults": ["pause"]}, "faults[0]", "pause", "write {kind: pause}"),
    ({"faults": [{"kind": "latncy"}]}, "faults[0].kind", "latncy", "did you mean 'latency'?"),
    ({"faults": [{}]}, "faults[0].kind", None, "known are"),
    ({"faults": [{"kind": "latency", "seconds": "x"}]}, "faults[0].seconds", "x", DURATION),
    ({"faults": [SLOW, {"kind": "hang", "x": 1}]}, "faults[1].x", 1, "known are"),
    ({"latency": 1, "probability": 2}, "probability", 2, SHARE),
    ({"latency": 1, "probability": NAN}, "probability", NAN, SHARE),
    ({"failure_rate": 0.3, "probability": "x"}, "probability", "x", SHARE),
    ({"latency": 1, "probability": None}, "probability", None, SHARE),
    ({"latency": 1, "skip": -1}, "skip", -1, "from 0"),
    ({"latency": 1, "skip": True}, "skip", True, "whole number"),
    ({"latency": 1, "skip": 1.0}, "skip", 1.0, "whole number"),
    ({"latency": 1, "skip": 2**62 + 1}, "skip", 2**62 + 1, "2**62"),
    ({"latency": 1, "every": 0}, "every", 0, "from 1"),
    ({"latency": 1, "every": "2"}, "every", "2", "whole number"),
    ({"latency": 1, "times": 0}, "times", 0, "from 1"),
    ({"latency": 1, "times": 2**70}, "times", 2**70, "2**62"),
    ({"latency": 1, "seed": -1}, "seed", -1, "from 0"),
    ({"latency": 1, "seed": 2**63}, "seed", 2**63, "2**63 - 1"),
    ({"latency": 1, "seed": "x"}, "seed", "x", "whole number"),
    ({"latency": 1, "expires_after": 0}, "expires_after", 0, "10m"),
    ({"latency": 1, "expires_after": "soon"}, "expires_after", "soon", DURATION),
    ({"latancy": 1}, "latancy", 1, "did you mean 'latency'?"),
    ({"latancy" * 20: 1}, repr("latancy" * 20)[:79] + "…", 1, "known are point, "),
    ({"latency": 1, "max_active": 0}, "max_active", 0, "from 1"),
    ({"latency": 1, "max_active": True}, "max_active", True, "whole number"),
    ({"latency": 1, "when": "aftr"}, "when", "aftr", "did you mean 'after'?"),
    ({"latency": 1, "when": None}, "when", None, "write before or after"),
    ({"latency": 1, "scope": "thread"}, "scope", "thread", "write process or context"),
    ({"latency": 1, "scope": ["process"]}, "scope", ["process"], "write process or context"),
    ({"latency": 1, "where": {}}, "where", {}, "leave the key out"),
    ({"latency": 1, "where": "acme"}, "where", HIDDEN, "{tenant: acme}"),
    ({"latency": 1, "where": ["tenant"]}, "where", HIDDEN, "{tenant: acme}"),
    ({"latency": 1, "where": {"": 1}}, "where.", HIDDEN, "{tenant: acme}"),
    ({"latency": 1, "where": {1: 2}}, "where.1", HIDDEN, "{tenant: acme}"),
    ({"call": "print"}, "call", "print", "code"),
    ({"call": None}, "call", None, "leave "),
    ({"exception": []}, "exception", [], "at least one"),
    ({"exception": ["OSError", "Nope"]}, "exception[1]", "Nope", "dotted path"),
    ({"exception": [{"type": "OSError", "wait": 1}]}, "exception[0].wait", 1, "known are type"),
    ({"exception": [{"weight": -1}]}, "exception[0].weight", -1, "number from 0"),
    ({"exception": [{"weight": "3"}]}, "exception[0].weight", "3", "number from 0"),
    ({"exception": [{"weight": True}]}, "exception[0].weight", True, "number from 0"),
    ({"exception": [{"weight": NAN}]}, "exception[0].weight", NAN, "number from 0"),
    ({"exception": [{"weight": INF}]}, "exception[0].weight", INF, "number from 0"),
    ({"exception": [{"weight": 10**400}]}, "exception[0].weight", 10**400, "number from 0"),
    ({"exception": [{"weight": 0}]}, "exception", [{"weight": 0}], "give one of them a weight"),
    ({"exception": {"type": "OSError", "weight": 1}}, "exception.weight", 1, "known are type"),
    ({"faults": [{"kind": 16**5000}]}, "faults[0].kind", 16**5000, "known are"),
    ({"faults": [{"kind": "print", "message": 3}]}, "faults[0].message", 3, "in quotes"),
    ({"faults": [{"kind": "off", "x": 1}]}, "faults[0].x", 1, "the only key is 'kind'"),
    (
        {"latency": {"seconds": 0, "jitter": 1, "distribution": "lognormal"}},
        "latency.distribution",
        "lognormal",
        "write seconds above 0",
    ),
]


@pytest.mark.parametrize(("keys", "field", "value", "cure"), BAD, ids=[show(one[0]) for one in BAD])
def test_nonsense_is_refused_with_rule_field_value_and_cure(
    keys: dict[str, Any], field: str, value: object, cure: str
) -> None:
    for read in (
        lambda: Rule(point="payment.charge", **keys),
        lambda: parse_rules({"point": "payment.charge", **keys}),
    ):
        with pytest.raises(InvalidPlan) as caught:
            read()
        error, message = caught.value, str(caught.value)
        assert message.startswith(f"rule 'payment.charge': {field}=")
        assert (error.rule, error.field) == ("rule 'payment.charge'", field)
        assert error.value is value or error.value == value
        assert f"{field}={show(value)}: " in message
        assert cure in message
        assert error.cure is not None
        assert message.endswith(error.cure)


def test_a_message_reads_like_a_sentence() -> None:
    with pytest.raises(InvalidPlan) as caught:
        Rule(point="payment.charge", latency="fast")
    assert str(caught.value) == (
        "rule 'payment.charge': latency='fast': not a duration; "
        "write a number of seconds or a number with a unit: 200ms, 1.5s, 2m, 1h"
    )


@pytest.mark.parametrize(
    "keys",
    [
        {"exception": OSError, "returns": 1},
        {"exception": OSError, "failure_rate": 1.0, "returns": 1},
        {"exception": OSError, "hang": True},
        {"exception": OSError, "failure_rate": 0.5, "hang": True},
        {"failure_rate": 0.5, "hang": True},
        {"returns": 1, "hang": "1s"},
        {"faults": [Failure(rate=0.5), Failure()]},
        {"faults": [Return(), Return()]},
        {"faults": [Failure(rate=0.5), Return(), Hang()]},
    ],
)
def test_two_outcomes_in_one_rule_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(InvalidPlan, match=r"faults='.* \+ .*': .* one outcome.*write two rules"):
        Rule(point="a", **keys)


@pytest.mark.parametrize(
    "point", ["a", "payment.charge", "a-b_c.0", "*", "payment.*", "*.x", "a*b.c"]
)
def test_names_and_globs_are_taken_as_they_are(point: str) -> None:
    assert Rule(point=point, hang=True).point == point


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ("Payment.Charge", "uppercase letters are not allowed; write 'payment.charge'"),
        ("", "empty"),
        ("a b", "' ' is not allowed"),
        ("a.b\n", r"'\n' is not allowed"),
        ("a..b", "a dot has nothing before or after it"),
        (".a", "a dot has nothing"),
        ("a.", "a dot has nothing"),
        ("größe", "'ö' is not allowed"),
        ("a[bc]", "'[' is not allowed"),
        ("a?", "'?' is not allowed"),
        (None, "not the name of a point"),
        (3, "not the name of a point"),
        (["a"], "not the name of a point"),
    ],
)
def test_a_bad_point_is_refused(point: Any, words: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        Rule(point=point, hang=True)
    assert words in str(caught.value)
    assert f"point={point!r}" in str(caught.value)
    assert caught.value.field == "point"


def test_a_rule_without_a_point_is_refused() -> None:
    with pytest.raises(InvalidPlan, match="rule: point: missing; write the name of a point"):
        Rule(hang=True)  # type: ignore[call-arg]


def test_a_hostile_value_is_still_shown() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(InvalidPlan, match="latency=<Hostile>"):
        Rule(point="a", latency=Hostile())  # type: ignore[arg-type]
    with pytest.raises(InvalidPlan) as caught:
        Rule(point="a", latency="x\n" * 10_000)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_returns_is_the_value_itself_in_code_and_a_copy_from_data() -> None:
    value: dict[str, list[int]] = {"a": [1]}
    (itself,) = Rule(point="a", returns=value).faults
    (rule,) = parse_rules({"point": "a", "returns": value})
    (copy,) = rule.faults
    assert isinstance(itself, Return)
    assert isinstance(copy, Return)
    assert itself.value is value
    value["a"].append(2)
    assert copy.value == {"a": [1]}


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"returns": object()}, "returns"),
        ({"returns": (1, 2)}, "returns"),
        ({"returns": {1: 2}}, "returns"),
        ({"returns": [NAN]}, "returns"),
        ({"exception": {"args": [object()]}}, "exception.args"),
        ({"exception": {"kwargs": {"x": {1}}}}, "exception.kwargs"),
        ({"returns": "\ud800"}, "returns"),
        ({"returns": 10**600}, "returns"),
        ({"hang": True, "where": {"tenant": {1}}}, "where.tenant"),
    ],
)
def test_data_holds_nothing_but_data(keys: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidPlan, match=f"{field}=.*not plain data.*in code") as caught:
        parse_rules({"point": "a", **keys})
    assert caught.value.field == field


def test_data_that_nests_without_end_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidPlan, match="nested 50 deep"):
        parse_rules({"point": "a", "returns": deep})
    round_and_round: list[Any] = []
    round_and_round.append(round_and_round)
    with pytest.raises(InvalidPlan, match="nested 50 deep"):
        parse_rules({"point": "a", "returns": round_and_round})
    while deep:  # not left to the garbage collector's recursion
        deep = deep.pop()


@pytest.mark.parametrize(
    ("keys", "field", "words"),
    [
        ({"call": print}, "call", "only code can give a function; arm the rule in code"),
        ({"faults": [{"kind": "call", "call": print}]}, "call", "only code can give a function"),
        (
            {"exception": lambda: OSError()},
            "exception",
            "only code can give a function; arm the rule in code",
        ),
    ],
)
def test_data_holds_no_functions(keys: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidPlan, match=words) as caught:
        parse_rules({"point": "a", **keys})
    assert caught.value.field == field


def test_where_is_a_copy() -> None:
    where: dict[str, Any] = {"tenant": ["acme"]}
    (rule,) = parse_rules({"point": "a", "hang": True, "where": where})
    where["tenant"].append("other")
    assert rule.where == {"tenant": ["acme"]}


class TestParseRules:
    def test_takes_the_point_from_beside(self) -> None:
        rule = Rule(point="a.b", hang=True)
        assert parse_rules({"hang": True}, point="a.b") == (rule,)
        assert parse_rules({"hang": True, "point": "a.b"}, point="a.b") == (rule,)

    def test_returns_a_rule_as_it_is(self) -> None:
        rule = Rule(point="a", hang=True)
        assert parse_rules(rule)[0] is rule
        assert parse_rules(rule, point="a")[0] is rule

    def test_reads_text_with_the_keys_that_it_does_not_set(self) -> None:
        data = {"rule": "2*off -> raise(OSError)", "seed": 7, "expires_after": "1m"}
        off, failure = parse_rules(data, point="a")
        assert off == Rule(point="a", faults=[Off()], times=2, seed=7, expires_after=60)
        assert failure == Rule(point="a", exception=OSError, seed=7, expires_after=60)

    @pytest.mark.parametrize(
        ("beside", "field"),
        [
            ({"times": 3}, "times"),
            ({"probability": 0.5}, "probability"),
            ({"faults": []}, "faults"),
        ],
    )
    def test_refuses_keys_that_the_text_sets(self, beside: dict[str, Any], field: str) -> None:
        words = f"rule 'a': {field}=.*has this key already; keep it in the text only"
        with pytest.raises(InvalidPlan, match=words) as caught:
            parse_rules({"rule": "50%2*off", **beside}, point="a")
        assert caught.value.field == field

    @pytest.mark.parametrize(
        ("beside", "field"),
        [
            ({"latency": "1s"}, "latency"),
            ({"failure_rate": 0.5}, "failure_rate"),
            ({"call": print}, "call"),
        ],
    )
    def test_refuses_faults_beside_the_text(self, beside: dict[str, Any], field: str) -> None:
        words = f"rule 'a': {field}=.*already has the faults; write it in the text, after a '\\+'"
        with pytest.raises(InvalidPlan, match=words) as caught:
            parse_rules({"rule": "50%2*off", **beside}, point="a")
        assert caught.value.field == field

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ({"rule": 3}, 'rule=3: not text; write text in quotes, such as "off" or'),
            ({"rule": ""}, "rule='': column 1: expected a fault"),
            ({"rule": "off; b=off"}, "rule='off; b=off': column 4: expected '+', '[', '->' or the"),
            ({"rule": "off", "tims": 3}, "tims=3: unknown key; did you mean 'times'?"),
            ({"rule": "off", "every": 0}, "every=0: less than 1"),
            ({"rule": "off", "rules": []}, "rules=[]: unknown key"),
        ],
    )
    def test_refuses_what_stands_wrongly_beside_or_in_the_text(
        self, data: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(InvalidPlan) as caught:
            parse_rules(data, point="a")
        assert str(caught.value).startswith(f"rule 'a': {words}")

    def test_refuses_another_point(self) -> None:
        for data in ({"hang": True, "point": "b"}, Rule(point="b", hang=True)):
            with pytest.raises(
                InvalidPlan, match=r"point='b': not the point of this request; .*'a'"
            ):
                parse_rules(data, point="a")

    @pytest.mark.parametrize("data", [None, [], 3, True])
    def test_refuses_what_is_no_mapping(self, data: Any) -> None:
        with pytest.raises(InvalidPlan, match=r"not a rule; write \{point"):
            parse_rules(data)

    def test_refuses_keys_that_are_no_text(self) -> None:
        with pytest.raises(InvalidPlan, match="1=2: unknown key"):
            parse_rules({"point": "a", "hang": True, 1: 2})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("raises", "exception"),
        ("return_value", "returns"),
        ("count", "times"),
        ("delay", "latency"),
        ("rate", "probability"),
        ("ttl", "expires_after"),
        ("labels", "where"),
    ],
)
def test_what_others_call_a_key_leads_to_ours(key: str, meant: str) -> None:
    with pytest.raises(InvalidPlan, match=f"did you mean '{meant}'"):
        Rule(point="a", **{key: 1})  # type: ignore[misc]


def test_a_point_within_the_text_beside_a_point_is_refused_by_name() -> None:
    with pytest.raises(InvalidPlan, match="the text names a point; leave the name out"):
        parse_rules({"rule": "payment.charge=latency(20ms)"}, point="payment.charge")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "exception=TimeoutError",
            r"'exception' is a key, .*; write raise\(TimeoutError\), or --exc",
        ),
        ("every=3", r"'every' is a key, .*; write keys in brackets after the faults"),
    ],
)
def test_a_key_within_the_text_is_refused_as_a_key(text: str, said: str) -> None:
    with pytest.raises(InvalidPlan, match=said):
        parse_rules({"rule": text}, point="payment.charge")


@pytest.mark.parametrize("text", [None, 5, b"a=off", ["a=off"]])
def test_what_is_no_text_is_refused_by_name(text: Any) -> None:
    for parse in (Rule.parse, Plan.parse):
        with pytest.raises(InvalidPlan, match="not text; pass the text"):
            parse(text)
