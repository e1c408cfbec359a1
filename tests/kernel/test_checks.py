"""Warnings when arming: rules that can never fire, and arguments that no function has."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from chaospoint import Registry
from chaospoint._registry.fits import fits
from chaospoint.arming import arm
from chaospoint.errors import ChaosWarning, UnsupportedFault

from .kit import Asks, answers, calls, off, pauses, raises, rule, run_coroutine, sleeps


def remarks(registry: Registry, *terms: Any) -> list[str]:
    """Arm these, and return what was said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        registry.install(terms, source="test")
    assert all(one.category is ChaosWarning for one in caught)
    return [str(one.message) for one in caught]


@pytest.fixture
def function(registry: Registry) -> Callable[..., None]:
    registry.point("a.q")

    @registry.point("a.p")
    def function(tenant: str = "") -> None: ...

    return function


# -- rules that can never fire -----------------------------------------------------------


def test_a_probability_of_0_can_never_fire(registry: Registry, function: object) -> None:
    (said,) = remarks(registry, rule("a.p", raises(), probability=0.0, text="the rule"))
    assert said == (
        "the rule can never fire, because its probability is 0: raise it, or leave the rule out"
    )


def test_a_rule_behind_one_that_always_fires(registry: Registry, function: object) -> None:
    terms = rule("a.p", raises(), text="first"), rule("a.p", sleeps(0), text="second")
    (said,) = remarks(registry, *terms)
    assert said == (
        "second cannot fire while first (armed by test) fires before it at every "
        "reach: disarm that rule, or give it a probability, times or where"
    )


def test_a_rule_behind_one_of_a_source_before_it(registry: Registry, function: object) -> None:
    assert remarks(registry, rule("a.*", raises(), text="first")) == []
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("chaospoint._registry.engine.warn", lambda text, source: said.append(text))
        registry.install([rule("a.p", sleeps(0), text="second")], source="http")
        registry.replace([rule("a.*", sleeps(0), text="third")], source="file")
    assert [one.partition(" (")[0] for one in said] == [
        "second cannot fire while first",
        "third cannot fire while first",
    ]


def test_a_rule_armed_later_comes_first_and_is_not_hidden(
    registry: Registry, function: object
) -> None:
    assert remarks(registry, rule("a.p", raises())) == []
    assert remarks(registry, rule("a.p", raises())) == []


def test_rules_that_were_armed_one_by_one_do_not_shadow_themselves(
    registry: Registry, function: object
) -> None:
    assert remarks(registry, rule("a.p", raises()), rule("a.q", raises())) == []


@pytest.mark.parametrize(
    "trigger",
    [
        {"skip": 1},
        {"every": 2},
        {"times": 1},
        {"probability": 0.5},
        {"max_active": 1},
        {"where": {"tenant": "acme"}},
        {"scoped": True},
        {"after": True},
        {"expires_after": 60},
    ],
    ids=str,
)
def test_a_rule_that_does_not_always_fire_hides_no_other(
    registry: Registry, function: object, trigger: dict[str, Any]
) -> None:
    assert remarks(registry, rule("a.p", raises(), **trigger), rule("a.p", sleeps(0))) == []


def test_a_rule_that_ends_no_later_is_hidden_for_good(registry: Registry, function: object) -> None:
    first = rule("a.p", raises(), expires_after=60, text="first")
    assert remarks(registry, first, rule("a.p", sleeps(0), expires_after=61)) == []
    registry.disarm()
    assert len(remarks(registry, first, rule("a.p", sleeps(0), expires_after=60))) == 1


def test_before_and_after_do_not_hide_each_other_but_their_own_kind(
    registry: Registry, function: object
) -> None:
    terms = [
        rule("a.p", raises(), after=True, text="first"),
        rule("a.p", sleeps(0), text="before"),
        rule("a.p", sleeps(0), after=True, text="second"),
    ]
    (said,) = remarks(registry, *terms)
    assert said.startswith("second cannot fire while first")


def test_a_glob_hides_the_patterns_that_it_covers_and_no_wider_ones(
    registry: Registry, function: object
) -> None:
    assert remarks(registry, rule("a.p", raises()), rule("a.*", sleeps(0))) == []
    registry.disarm()
    (said,) = remarks(registry, rule("a.*", raises(), text="glob"), rule("a.p*", sleeps(0)))
    assert "cannot fire while glob" in said


def test_a_point_excluded_from_a_glob_is_not_hidden_by_it(
    registry: Registry, function: object
) -> None:
    assert remarks(registry, rule("a.*", raises())) == []
    registry.disarm("a.p")
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("chaospoint._registry.engine.warn", lambda text, source: said.append(text))
        registry.install([rule("a.p", sleeps(0))], source="http")
    assert said == []


def test_a_fault_that_a_block_cannot_express_may_not_hide_others(
    registry: Registry, function: object
) -> None:
    assert remarks(registry, rule("a.p", answers(1)), rule("a.p", sleeps(0))) == []


def test_replacing_a_rule_does_not_shadow_it(
    registry: Registry, function: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("chaospoint._registry.engine.warn", lambda text, source: said.append(text))
    keys = map(str, count())
    for source in ("http", "store"):
        for _ in range(2):
            registry.replace([rule("a.p", raises())._replace(key=next(keys))], source=source)
            assert said == []
        registry.replace((), source=source)
    registry.disarm()
    terms = rule("a.p", raises(), text="first"), rule("a.p", sleeps(0), text="second")
    for _ in range(2):
        registry.replace(terms, source="file")
        assert len(said) == 1, "what is kept was said of before"


def test_off_and_hidden_rules_are_armed_all_the_same(
    registry: Registry, function: Callable[[], None]
) -> None:
    (said,) = remarks(registry, rule("a.p", off(), text="off"), rule("a.p", raises(), text="x"))
    assert said.startswith("x cannot fire while off")
    function()
    assert len(registry.rules()) == 2


# -- where -------------------------------------------------------------------------------


def test_a_name_that_no_function_of_the_point_has(registry: Registry, function: object) -> None:
    terms = rule("a.p", raises(), where={"tenent": "acme", "tenant": "acme"}, text="the rule")
    (said,) = remarks(registry, terms)
    assert said.startswith(
        "no function decorated with 'a.p' has the label or argument 'tenent', which `where` of "
        "the rule names"
    )


def test_a_label_or_a_second_function_may_have_it(registry: Registry, function: object) -> None:
    @registry.point("a.p", labels={"zone": 1})
    def labelled() -> None: ...

    @registry.point("a.p")
    def other(amount: int) -> None: ...

    for name in ("zone", "amount", "tenant"):
        assert remarks(registry, rule("a.p", raises(), where={name: 1})) == []
    (said,) = remarks(registry, rule("a.p", raises(), where={"more": 1}))
    assert "'a.p' has the label or argument 'more'" in said


def test_a_function_that_takes_any_name_may_have_the_argument(registry: Registry) -> None:
    @registry.point("rest")
    def rest(**more: object) -> None: ...

    registry.point("wrapped")(dict)
    registry.point("block")
    for name in ("rest", "block"):
        assert remarks(registry, rule(name, raises(), where={"any": 1})) == []


def test_a_function_without_arguments_has_none(registry: Registry) -> None:
    @registry.point("bare")
    def bare() -> None: ...

    (said,) = remarks(registry, rule("bare", raises(), where={"any": 1}))
    assert "'bare' has the label or argument 'any'" in said


def test_explanations_say_the_same_while_armed(registry: Registry, function: object) -> None:
    for _ in range(2):
        (said,) = remarks(registry, rule("a.p", raises(), where={"no": 1}, times=1))
        assert "'a.p' has the label or argument 'no'" in said


def test_a_function_that_is_gone_has_no_say(registry: Registry) -> None:
    def make() -> None:
        @registry.point("gone")
        def gone() -> None: ...

    make()
    assert remarks(registry, rule("gone", raises(), where={"any": 1})) == []


# -- what cannot be expressed ------------------------------------------------------------


def test_after_with_an_answer_at_a_stream_is_refused(registry: Registry) -> None:
    @registry.point("stream")
    def stream() -> Any:
        yield 1

    with pytest.raises(UnsupportedFault, match="'return' is left out at 'stream'"):
        registry.install([rule("stream", answers([]), after=True)], source="test")

    @registry.point("stream")
    def function() -> None: ...

    (said,) = remarks(registry, rule("stream", answers([]), after=True))
    assert "what a generator has yielded cannot be replaced" in said
    assert remarks(registry, rule("stream", pauses(), calls(print), sleeps(0), after=True)) == []


def test_a_fault_that_waits_for_its_import_is_not_asked_too_early(
    registry: Registry, function: object
) -> None:
    from chaospoint.errors import InvalidPlan

    def unknown(draws: object) -> Any:
        raise InvalidPlan("not looked up yet")

    assert remarks(registry, rule("a.p", Asks("exception", unknown), after=True)) == []


@pytest.mark.parametrize("wrapped", [False, True])
def test_faults_that_a_function_decorated_later_cannot_express_are_reported(
    registry: Registry, log: pytest.LogCaptureFixture, wrapped: bool
) -> None:
    assert len(remarks(registry, rule("late", answers(5)))) == 1

    class Stream:
        def __call__(self) -> Any:
            yield 1

    def stream() -> Any:
        yield 1

    registry.point("late")(Stream() if wrapped else stream)
    assert "'return' is left out at 'late': a generator needs an iterable" in log.text


@pytest.mark.parametrize("how", ["light point", "statement", "light statement"])
@pytest.mark.parametrize("asked", ["label", "value"])
def test_no_label_is_reported_as_unknown_if_a_block_or_statement_has_labels(
    registry: Registry, how: str, asked: str
) -> None:
    """What else such a block may bring is not known, so the remark could be false."""
    here = registry.point("a.p", labels={"to": "db"} if asked == "value" else {"other": "db"})

    @here
    def function() -> None: ...

    def reach() -> None:
        if how == "light point":
            with registry.point("a.p", labels={"to": "cache"}):
                pass
        elif how == "statement":
            registry.point("a.p").hit(to="cache")
        else:
            registry.point("a.p", labels={"to": "cache"}).hit()

    terms = rule("a.p", off(), where={"to": "cache"}, text="the rule")
    assert len(remarks(registry, terms)) == 1
    reach()
    assert remarks(registry, terms) == []
    told = registry.point("a.p").explain().rules
    assert [one.reaches for one in told] == [0, 1]
    assert not any("label" in one.why or "decorated" in one.why for one in told)
    assert fits(registry.rules()[0], registry.point("a.p"))


def test_an_async_block_with_labels_is_remembered_too(registry: Registry) -> None:
    @registry.point("a.p", labels={"to": "db"})
    def function() -> None: ...

    async def reach() -> None:
        async with registry.point("a.p", labels={"to": "cache"}):
            pass

    run_coroutine(reach())
    assert remarks(registry, rule("a.p", off(), where={"to": "cache"})) == []


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        ({"latency": 0, "exception": OSError, "failure_rate": 0}, 1),
        ({"latency": 0, "exception": "OSError", "failure_rate": 0}, 1),
        ({"returns": 1, "failure_rate": 0}, 1),
        ({"latency": 0, "failure_rate": 0.5}, 0),
        ({"latency": 0, "exception": OSError}, 0),
    ],
)
def test_an_exception_that_the_placement_never_raises_is_reported(
    registry: Registry, keys: Any, count: int
) -> None:
    @registry.point("a.rate")
    def function() -> None: ...

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        arm("a.rate", registry=registry, **keys)
    said = [str(one.message) for one in caught]
    assert len(said) == count
    assert all("never raises, because its failure_rate is 0: raise the rate" in one for one in said)
