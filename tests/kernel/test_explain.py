"""Explanations of why a rule fires or does not."""

from __future__ import annotations

import asyncio
import dataclasses
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import Threads

from chaospoint import Armed, Registry, _environ
from chaospoint.errors import ChaosError, NotPermitted
from chaospoint.observers.log import Log
from chaospoint.testing import FakeClock

from .kit import PATIENCE, Boom, answers, off, pauses, raises, rule, sleeps


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What is said when arming is tested elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def arm(registry: Registry, *terms: Any, source: Any = "test") -> Any:
    return registry.install(terms, source=source)


def states(registry: Registry, name: str = "p") -> list[str]:
    return [rule.state for rule in registry.point(name).explain().rules]


def quiet(function: Callable[[], object]) -> None:
    try:
        function()
    except Boom:
        pass


# -- states ------------------------------------------------------------------------------


def test_nothing_is_armed(registry: Registry, function: Callable[[], str]) -> None:
    told = registry.point("p").explain()
    assert (told.point, told.enabled, told.rules) == ("p", True, ())
    assert str(told).splitlines()[1:] == ["nothing is armed here"]
    assert "function (function)" in str(told)
    assert str(registry.point("q").explain()).startswith("q: no function is decorated with it\n")


def test_armed_then_spent(registry: Registry, function: Callable[[], str]) -> None:
    arm(registry, rule("p", raises(), skip=1, times=1))
    assert states(registry) == ["armed"]
    (one,) = registry.point("p").explain().rules
    assert (one.ordinal, one.next_ordinal, one.why) == (None, 2, "")
    quiet(function)
    quiet(function)
    assert states(registry) == ["spent"]
    (one,) = registry.point("p").explain().rules
    assert (one.reaches, one.ordinal, one.injections, one.next_ordinal) == (2, 2, 1, None)


def test_spent_with_a_bound(registry: Registry, function: Callable[[], str]) -> None:
    arm(registry, rule("p", raises(), times=1, max_active=1))
    assert states(registry) == ["armed"]
    quiet(function)
    assert states(registry) == ["spent"]


def test_expired_and_failed_stay_to_be_seen_and_disarmed_do_not(
    registry: Registry, function: Callable[[], str], clock: FakeClock
) -> None:
    def resolve() -> Any:
        raise ChaosError("there is no such class")

    arm(registry, rule("p", raises(), expires_after=60, text="expires"))
    arm(registry, rule("p", raises(), resolve=resolve, text="fails"))
    assert states(registry) == ["waiting for an import", "shadowed"]
    quiet(function)
    clock.advance(60)
    registry.engine.expire()
    arm(registry, rule("p", raises())).disarm()
    told = registry.point("p").explain().rules
    assert [(one.text, one.state, one.next_ordinal) for one in told] == [
        ("fails", "failed", None),
        ("expires", "expired", None),
    ]
    assert told[0].why == "there is no such class"


def test_masked_by_off_and_shadowed_by_another(
    registry: Registry, function: Callable[[], str]
) -> None:
    arm(registry, rule("p", sleeps(0), text="below"), source="file")
    arm(registry, rule("p", raises(), text="middle"), source="http")
    assert states(registry) == ["armed", "shadowed"]
    arm(registry, rule("p", off(), text="mask"), source="code")
    told = registry.point("p").explain().rules
    assert [one.state for one in told] == ["armed", "masked", "masked"]
    assert told[1].why == "mask, armed by code, fires at every reach before it"
    assert function() == "own"
    assert [one.shadowed for one in registry.point("p").explain().rules] == [0, 1, 1]
    registry.rules()[0].runtime.remove([registry.rules()[0]], "disarmed")
    assert states(registry) == ["armed", "shadowed"]


def test_a_spent_rule_is_spent_though_something_stands_before_it(
    registry: Registry, function: Callable[[], str]
) -> None:
    arm(registry, rule("p", raises(), times=1))
    quiet(function)
    arm(registry, rule("p", sleeps(0)))
    assert states(registry) == ["armed", "spent"]


@pytest.mark.parametrize(
    "trigger",
    [{"times": 5}, {"every": 2}, {"probability": 0.9}, {"max_active": 1}, {"where": {"a": 1}}],
    ids=str,
)
def test_a_rule_that_does_not_always_fire_shadows_no_other(
    registry: Registry, trigger: dict[str, Any]
) -> None:
    registry.point("p")
    arm(registry, rule("p", off(), **trigger), rule("p", raises()))
    assert states(registry) == ["armed", "armed"]


def test_before_does_not_shadow_after(registry: Registry, function: Callable[[], str]) -> None:
    arm(registry, rule("p", sleeps(0)), rule("p", sleeps(0), after=True))
    assert states(registry) == ["armed", "armed"]


def test_a_rule_of_several_points_is_hidden_where_it_is_and_as_a_whole_if_everywhere(
    registry: Registry,
) -> None:
    registry.point("a.one"), registry.point("a.two")
    arm(registry, rule("a.*", raises()))
    arm(registry, rule("a.one", off()))
    assert states(registry, "a.one") == ["armed", "masked"]
    assert states(registry, "a.two") == ["armed"]
    from chaospoint._registry.explain import states as of_all

    def whole() -> list[str]:
        return [one.state for one in of_all(registry.engine, registry.rules("a.two"))]

    assert whole() == ["armed"]
    arm(registry, rule("a.two", off()))
    assert whole() == ["armed", "masked"]


@pytest.mark.parametrize("masked", ["a.one", "a.two"])
def test_a_glob_that_different_rules_hide_is_shadowed_and_names_them_all(
    registry: Registry, masked: str
) -> None:
    registry.point("a.one"), registry.point("a.two")
    hidden = arm(registry, rule("a.*", raises(), text="hidden"))
    arm(registry, rule(masked, off(), text="masking"))
    arm(registry, rule("a.one" if masked == "a.two" else "a.two", sleeps(0), text="sleeping"))
    from chaospoint._registry.explain import states as of_all

    (state,) = of_all(registry.engine, hidden.rules)
    assert state.state == "shadowed"
    assert "masking, armed by test," in state.why
    assert "sleeping, armed by test," in state.why


def test_a_fault_that_is_left_out_at_a_point_shadows_no_rule_there(registry: Registry) -> None:
    @registry.point("a.function")
    def function() -> None: ...

    point = registry.point("a.block")

    @registry.point("a.stream")
    def stream() -> Any:
        yield 1

    arm(registry, rule("a.*", raises()))
    arm(registry, rule("a.*", answers(1)))
    assert states(registry, "a.function") == ["armed", "shadowed"]
    assert states(registry, "a.block") == ["armed", "armed"]
    assert states(registry, "a.stream") == ["armed", "armed"]
    with pytest.raises(Boom):
        point.hit()
    with pytest.raises(Boom):
        list(stream())
    assert function() == 1


def test_a_point_that_was_taken_out_of_a_glob(registry: Registry) -> None:
    registry.point("a.one"), registry.point("a.two")
    arm(registry, rule("a.*", raises()))
    registry.disarm("a.one")
    (one,) = registry.point("a.one").explain().rules
    assert (one.state, one.why) == ("disarmed", "this point was disarmed")
    assert states(registry, "a.two") == ["armed"]


def test_a_name_in_where_that_nothing_here_has(
    registry: Registry, function: Callable[[], str]
) -> None:
    arm(registry, rule("p", raises(), where={"tenant": "acme"}))
    (one,) = registry.point("p").explain().rules
    assert one.state == "armed"
    assert "'tenant' that `where` names" in one.why


def test_explanations_of_rules_that_do_not_fire(registry: Registry) -> None:
    registry.point("p")
    arm(registry, rule("p", raises(), probability=0.0))
    (one,) = registry.point("p").explain().rules
    assert (one.state, one.why, one.next_ordinal) == ("armed", "its probability is 0", None)
    from chaospoint._registry.explain import states as of_all

    arm(registry, rule("later", raises()))
    (one,) = of_all(registry.engine, [r for r in registry.rules() if r.pattern == "later"])
    assert (one.state, one.why) == (
        "armed",
        "no point is named 'later' yet: the rule waits for one",
    )


# -- numbers -----------------------------------------------------------------------------


def test_the_counts_and_the_source(
    registry: Registry, function: Callable[[], str], clock: FakeClock, pool: Threads
) -> None:
    terms = rule("p", pauses(), seed=7, max_active=1, expires_after=60, text="the rule")
    registry.engine.install([terms], "http", by="http 127.0.0.1")
    job = pool.submit(function)
    Armed(registry.engine, registry.rules()).wait_until_paused()
    function()
    clock.advance(10)
    (one,) = registry.point("p").explain().rules
    assert dataclasses.asdict(one) == {
        "point": "p",
        "source": "http",
        "by": "http 127.0.0.1",
        "state": "armed",
        "why": "",
        "text": "the rule",
        "seed": 7,
        "reaches": 2,
        "ordinal": 1,
        "next_ordinal": 3,
        "injections": 1,
        "interrupted": 0,
        "shadowed": 0,
        "missed": 0,
        "overflow": 1,
        "paused": 1,
        "seconds_left": 50.0,
    }
    assert str(one) == (
        "armed: the rule\n"
        "  armed by http (http 127.0.0.1), seed 7, 50.0 s left\n"
        "  2 reaches, 1 injection, the latest at 1, next firing at reach 3, 1 overflow, 1 paused"
    )
    registry.disarm()
    job.result(PATIENCE)


def test_the_next_ordinal_is_the_one_that_fires(
    registry: Registry, function: Callable[[], str]
) -> None:
    arm(registry, rule("p", raises(), probability=0.2, every=3, skip=2, times=40))
    for ordinal in range(1, 300):
        (before,) = registry.point("p").explain().rules
        quiet(function)
        (after,) = registry.point("p").explain().rules
        assert (after.injections > before.injections) == (before.next_ordinal == ordinal)


def test_the_effective_seed_gives_the_same_firings(
    registry: Registry, function: Callable[[], str]
) -> None:
    def fired() -> list[bool]:
        seen = []
        for _ in range(50):
            before = registry.rules()[0].injections
            quiet(function)
            seen.append(registry.rules()[0].injections > before)
        return seen

    arm(registry, rule("p", raises(), probability=0.5, seed=99, drawn=True))
    (one,) = registry.point("p").explain().rules
    first = fired()
    registry.disarm()
    arm(registry, rule("p", raises(), probability=0.5, seed=one.seed))
    assert fired() == first


def test_an_explicit_false_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSPOINT_ENABLED", "no")
    said = str(Registry().point("p").explain())
    assert "CHAOSPOINT_ENABLED is false in this process: nothing can be armed" in said
    overridden = object()
    _environ.overrides.add(overridden)
    try:
        assert "CHAOSPOINT_ENABLED" not in str(Registry().point("p").explain())
    finally:
        _environ.overrides.discard(overridden)


def test_disabling_without_a_name_is_explained(registry: Registry) -> None:
    registry.disable(by="")
    told = str(registry.point("p").explain())
    assert "disabled by somebody: nothing can be armed until it is enabled again" in told
    with pytest.raises(NotPermitted, match=r"is disabled \(by somebody\)\. To allow arming"):
        registry.install([rule("p", raises())], source="code")


def test_disabling_is_explained(registry: Registry) -> None:
    registry.point("p")
    registry.replace([rule("p", raises(), text="kept")], source="env")
    registry.disable()
    told = registry.point("p").explain()
    assert not told.enabled
    assert "disabled by code: nothing can be armed until it is enabled again" in str(told)
    assert [one.state for one in told.rules] == ["disabled"]
    registry.enable()
    assert states(registry) == ["armed"]


def test_looking_changes_nothing(registry: Registry, function: Callable[[], str]) -> None:
    arm(registry, rule("p", raises(), times=2))
    for _ in range(5):
        str(registry.point("p").explain())
    (one,) = registry.point("p").explain().rules
    assert (one.reaches, one.injections, one.next_ordinal) == (0, 0, 1)


def test_looking_from_many_threads_while_it_fires(
    registry: Registry, function: Callable[[], str], pool: Threads, restless: None
) -> None:
    handle = arm(registry, rule("p", raises(), every=2, times=200, max_active=8))

    def work(number: int) -> None:
        for _ in range(100):
            if number % 2:
                quiet(function)
            else:
                registry.point("p").explain()

    pool.map(work, range(8))
    assert (handle.reaches, handle.injections + handle.overflow) == (400, 200)


def test_calls_that_do_not_match_are_counted(registry: Registry) -> None:
    point = registry.point("p")
    arm(registry, rule("p", raises(), where={"tenant": "acme"}))
    point.hit(tenant="other")
    point.hit()
    (one,) = point.explain().rules
    assert (one.reaches, one.missed) == (0, 2)
    assert "2 calls did not match where or scope" in str(one)


def test_disarming_says_that_calls_came_and_did_not_match(
    registry: Registry, log: pytest.LogCaptureFixture
) -> None:
    registry.add_observer(Log())
    handle = arm(registry, rule("p", raises(), where={"tenant": "acme"}))
    registry.point("p").hit(tenant="other")
    handle.disarm()
    assert (
        "; 1 call arrived, and none matched its `where`, which requires 'tenant' as str" in log.text
    )
    assert "never reached" not in log.text


def test_a_name_that_no_point_has_is_reported_again_at_disarm(
    registry: Registry, log: pytest.LogCaptureFixture
) -> None:
    registry.add_observer(Log())
    registry.point("payment.charge")
    handle = arm(registry, rule("payment.chrage", raises()))
    handle.disarm()
    assert "never reached: no point is named 'payment.chrage' yet" in log.text
    assert "nearest: payment.charge" in log.text


def test_names_like_one_that_nothing_is_decorated_with(registry: Registry) -> None:
    registry.point("payment.charge")
    told = registry.point("payment.chrage").explain()
    assert told.near == ("payment.charge",)
    assert "points with names like it: payment.charge" in str(told)


def test_faults_that_no_placement_can_express(registry: Registry) -> None:
    arm(registry, rule("p", answers(5)))

    @registry.point("p")
    def stream() -> Any:
        yield 1

    (one,) = registry.point("p").explain().rules
    assert (one.state, one.why) == ("armed", "no placement here can express it")


def test_many_rules_are_explained_quickly(registry: Registry) -> None:
    """What would look at every pair of them takes minutes."""
    point = registry.point("p")
    arm(registry, *(rule("p", raises(), text=str(n)) for n in range(3_000)))
    arm(registry, *(rule(f"*{n}*", raises(), text=str(n)) for n in range(1_500)))
    assert len(point.explain().rules) == 3_000


def test_each_rule_ends_for_a_reason_of_its_own(
    registry: Registry, log: pytest.LogCaptureFixture
) -> None:
    registry.add_observer(Log())
    registry.point("there")
    arm(registry, rule("nowhere", raises(), text="one"), rule("there", raises(), text="two"))
    registry.disarm()
    one, two = (line for line in log.messages if line.startswith("disarmed"))
    assert "no point is named 'nowhere'" in one
    assert "nowhere" not in two
    assert "do the calls go through this point?" in two


def test_disarming_reports_that_where_names_an_unknown_argument(
    registry: Registry, function: Callable[[], str], log: pytest.LogCaptureFixture
) -> None:
    registry.add_observer(Log())
    handle = arm(registry, rule("p", raises(), where={"tenent": "acme"}))
    function()
    handle.disarm()
    said = "no decorated function here has the argument or label 'tenent' that `where` names"
    assert said in log.text


def test_reaches_of_an_earlier_rule_are_reported_while_armed_and_at_disarm(
    registry: Registry, log: pytest.LogCaptureFixture
) -> None:
    registry.add_observer(Log())
    point = registry.point("p")
    low = arm(registry, rule("p", raises(), text="low"))
    arm(registry, rule("p", raises(), text="high", times=2))
    for _ in range(2):
        quiet(point.hit)
    said = "2 calls arrived, and each time an earlier rule fired"
    assert [(one.text, one.why) for one in point.explain().rules] == [
        ("high", "its times are used up"),
        ("low", said),
    ]
    low.disarm()
    (line,) = (line for line in log.messages if line.startswith("disarmed"))
    assert line.endswith(f"; {said}")


def test_an_expired_rule_reports_that_others_took_its_calls(
    still: Registry, clock: FakeClock, log: pytest.LogCaptureFixture
) -> None:
    still.add_observer(Log())
    point = still.point("p")
    arm(still, rule("p", raises(), text="low", expires_after=5))
    arm(still, rule("p", raises(), text="high", times=1))
    quiet(point.hit)
    clock.advance(6)
    still.engine.expire()
    (line,) = (line for line in log.messages if line.startswith("expired"))
    assert line.endswith("; 1 call arrived, and each time an earlier rule fired")
    low = next(one for one in point.explain().rules if one.text == "low")
    assert (low.state, low.why) == (
        "expired",
        "1 call arrived, and each time an earlier rule fired",
    )


def test_calls_of_both_kinds_are_distinguished(registry: Registry) -> None:
    point = registry.point("p")
    arm(registry, rule("p", raises(), text="low", where={"tenant": "acme"}))
    arm(registry, rule("p", raises(), text="high", times=1))
    quiet(lambda: point.hit(tenant="acme"))
    point.hit(tenant="other")
    low = next(one for one in point.explain().rules if one.text == "low")
    assert low.why == (
        "2 calls arrived, and at 1 an earlier rule fired, and 1 did not match its `where`, which "
        "requires 'tenant' as str"
    )


@pytest.mark.parametrize("placed", ["block", "async block", "statement", "light point", "function"])
def test_a_label_that_no_call_has_is_explained_after_some_calls(
    registry: Registry, placed: str
) -> None:
    """Of a block nothing is known before a call comes."""
    point = registry.point("p")
    arm(registry, rule("p", raises(), where={"expires": "5m"}))

    async def block() -> None:
        async with point:
            pass

    @registry.point("q")
    def function(**others: int) -> None:
        return

    if placed == "function":
        point = registry.point("q")
        arm(registry, rule("q", raises(), where={"expires": "5m"}))
    assert [one.why for one in point.explain().rules] == [""]
    for _ in range(3):
        match placed:
            case "async block":
                asyncio.run(block())
            case "statement":
                point.hit(to="db")
            case "function":
                function(to=1)
            case _:
                with registry.point("p", labels={"t": "1"} if placed == "light point" else None):
                    pass
    (one,) = point.explain().rules
    assert (
        one.why == "3 calls arrived, and none matched its `where`, which requires 'expires' as str"
    )


def test_a_label_that_did_not_match_at_first_is_not_reported_after_a_reach(
    registry: Registry,
) -> None:
    point = registry.point("p")
    arm(registry, rule("p", raises(), where={"tenant": "acme"}))
    point.hit(tenant="other")
    quiet(lambda: point.hit(tenant="acme"))
    (one,) = point.explain().rules
    assert (one.why, one.missed) == ("", 1)
