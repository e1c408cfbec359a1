"""Armed rules, bindings and the search: what one reach does."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import closing
from functools import partial

import pytest
from helpers import PLACES, finish, place

from chaospoint import Point, Registry
from chaospoint._kernel.armed_rule import ArmedRule
from chaospoint._kernel.binding import Binding, bind
from chaospoint._kernel.chance import Draws
from chaospoint._kernel.compiled_rule import CompiledRule
from chaospoint._kernel.context import transparently
from chaospoint._kernel.effects import Effect, Raise, Return, Sleep
from chaospoint._kernel.placement import Kind, why_not_expressible
from chaospoint._kernel.search import search
from chaospoint.errors import ChaosError, InvalidPlan
from chaospoint.testing import FakeClock

from .kit import Asks, Boom, Does, answers, raises, rule, sleeps

P = Registry().point("p")


def armed(registry: Registry, terms: CompiledRule) -> ArmedRule:
    (one,) = registry.install([terms], source="test").rules
    return one


def lone(registry: Registry, terms: CompiledRule) -> ArmedRule:
    """Return a rule that is armed on nothing."""
    return ArmedRule(terms, "test", (1, 0, 0), registry.engine)


@pytest.fixture(autouse=True)
def point(registry: Registry) -> Point:
    return registry.point("p")


def test_an_injection_says_what_acts(registry: Registry) -> None:
    one = armed(registry, rule("p", sleeps(0.2), sleeps(0.1), raises(), text="the rule"))
    act = Binding(one, P, "function").act(4)
    assert act.fault == "latency+latency+exception"
    assert act.latency == pytest.approx(0.3)
    assert act.exception == "Boom"
    assert [type(effect) for effect in (*act.steps, act.outcome)] == [Sleep, Sleep, Raise]


def test_what_stands_behind_an_outcome_never_acts(registry: Registry) -> None:
    one = lone(registry, rule("p", raises(), answers(1), sleeps(9)))
    act = Binding(one, P, "function").act(1)
    assert (act.fault, act.latency, act.steps) == ("exception", None, ())
    assert type(act.outcome) is Raise


def test_a_fault_that_draws_nothing_is_asked_once(registry: Registry) -> None:
    asked: list[object] = []

    def ask(draws: object) -> tuple[Effect, ...]:
        asked.append(draws)
        return (Sleep(1.0),)

    one = armed(registry, rule("p", Asks("latency", ask)))
    binding = Binding(one, P, "function")
    binding.act(1)
    asked.clear()
    assert [binding.act(n).steps for n in (2, 3)] == [(Sleep(1.0),)] * 2
    assert asked == []


def test_a_fault_that_draws_is_asked_anew_with_seed_and_ordinal(registry: Registry) -> None:
    def ask(draws: Draws) -> tuple[Effect, ...]:
        return (Sleep(draws.uniform("jitter")),)

    binding = Binding(armed(registry, rule("p", Asks("latency", ask), seed=5)), P, "function")
    for ordinal in (1, 2, 3):
        expected = Draws(5, ordinal).uniform("jitter")
        act = binding.act(ordinal)
        assert act.steps == (Sleep(expected),)
        assert act.latency == expected


def test_a_firing_in_which_nothing_acts_is_no_injection(registry: Registry) -> None:
    binding = Binding(armed(registry, rule("p", Does("off", ()))), P, "function")
    assert [binding.act(n) for n in (1, 2)] == [("", None, None, (), None)] * 2


@pytest.mark.parametrize(
    ("value", "kind", "fits"),
    [
        (1, "function", True),
        (1, "coroutine", True),
        (1, "block", False),
        ([1], "block", False),
        (1, "generator", False),
        ([1], "generator", True),
        (1, "async generator", False),
        ((), "async generator", True),
        ({}, "generator", True),
        (iter([]), "generator", False),
        (iter([]), "function", True),
    ],
)
def test_which_placements_can_express_an_answer(value: object, kind: Kind, fits: bool) -> None:
    assert (why_not_expressible(answers(value), kind) is None) is fits
    assert why_not_expressible(raises(), kind) is None
    assert why_not_expressible(sleeps(1), kind) is None


def test_a_fault_that_is_not_looked_up_yet_fits_everywhere() -> None:
    def unresolved(_: object) -> tuple[Effect, ...]:
        raise InvalidPlan("not looked up")

    assert why_not_expressible(Asks("exception", unresolved), "block") is None


def test_faults_that_a_placement_cannot_express_are_left_out_there(registry: Registry) -> None:
    one = lone(registry, rule("p", sleeps(1), answers(2)))
    block, function = Binding(one, P, "block"), Binding(one, P, "function")
    assert not block.empty
    assert block.act(1)[3:] == ((Sleep(1),), None)
    assert function.act(1)[3:] == ((Sleep(1),), Return(2))


def test_a_rule_with_nothing_left_is_not_tried(registry: Registry) -> None:
    first = lone(registry, rule("p", answers(2)))
    second = armed(registry, rule("p", raises()))
    assert [binding.rule for binding in bind((first, second), P, "block")] == [second]
    assert [binding.rule for binding in bind((first, second), P, "function")] == [first, second]


def test_the_first_that_fires_acts_alone_and_shades_the_rest(registry: Registry) -> None:
    rules = tuple(
        armed(registry, terms)
        for terms in (
            rule("p", raises(), text="1", skip=1, times=1),
            rule("p", raises(), text="2", times=1),
            rule("p", raises(), text="3"),
        )
    )
    reach = search(bind(rules, P, "function"))
    fired = [reach() for _ in range(3)]
    assert [(firing[0].rule.text, firing[1]) for firing in fired if firing] == [
        ("2", 1),  # the first skips
        ("1", 2),
        ("3", 1),  # both before it are spent, and go on counting
    ]
    assert [one.reaches for one in rules] == [3, 2, 1]
    assert [one.shadowed for one in rules] == [0, 1, 2]
    assert [one.state for one in rules] == ["spent", "spent", "armed"]


def test_a_transparent_reach_counts_nothing(registry: Registry) -> None:
    one = armed(registry, rule("p", raises()))
    reach = search(bind((one,), P, "function"))
    assert transparently(reach) is None
    assert one.reaches == 0
    assert reach() is not None


def test_a_disarmed_rule_fires_no_more_for_those_that_still_hold_it(registry: Registry) -> None:
    one = armed(registry, rule("p", raises()))
    reach = search(bind((one,), P, "function"))
    registry.disarm("p")
    assert reach() is None
    assert one.injections == 0


def test_what_waits_for_an_import_is_looked_up_at_the_first_reach(registry: Registry) -> None:
    calls = []

    def resolve() -> tuple[Does, ...]:
        calls.append(1)
        return (raises(Boom),)

    def unresolved(_: object) -> tuple[Effect, ...]:
        raise InvalidPlan("not looked up")

    one = armed(registry, rule("p", Asks("exception", unresolved), resolve=resolve))
    assert one.state == "waiting for an import"
    assert calls == []
    reach = search(bind((one,), P, "function"))
    first, second = reach(), reach()
    assert first is not None
    assert second is not None
    act = first[0].act(first[1])
    assert act.exception == "Boom"
    assert isinstance(act.outcome, Raise)
    assert calls == [1]
    assert one.state == "armed"


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("there", [True, False])
def test_the_first_reach_looks_up_whether_it_fires_or_not(
    registry: Registry, point: Point, kind: str, there: bool
) -> None:
    calls = []

    def resolve() -> tuple[Does, ...]:
        calls.append(1)
        if not there:
            raise InvalidPlan("there is no such class")
        return (raises(Boom),)

    call = place(point, kind)
    (one,) = registry.replace([rule("p", raises(), resolve=resolve, skip=3)], source="file").rules
    assert (one.state, calls) == ("waiting for an import", [])
    assert finish(call()) == 7
    assert (one.state, calls) == ("armed" if there else "failed", [1])
    assert [finish(call()) for _ in range(2)] == [7, 7]
    if there:
        with pytest.raises(Boom):
            finish(call())
    else:
        assert finish(call()) == 7
    assert calls == [1]


def test_looking_up_is_transparent(registry: Registry) -> None:
    point = registry.point("p")

    def resolve() -> tuple[Does, ...]:
        point.hit()  # the imported module reaches the point
        return (raises(Boom),)

    one = armed(registry, rule("p", raises(Boom), resolve=resolve, skip=1))
    point.hit()
    assert one.reaches == 1


def test_what_cannot_be_looked_up_is_disarmed_with_the_reason(
    registry: Registry, log: pytest.LogCaptureFixture
) -> None:
    from chaospoint.observers.log import Log

    registry.add_observer(Log())

    def resolve() -> tuple[Does, ...]:
        raise InvalidPlan("there is no such class; write another")

    one = armed(registry, rule("p", raises(), resolve=resolve))
    registry.point("p").hit()
    assert one.state == "failed"
    assert not registry.point("p").armed
    (error,) = [record for record in log.records if record.levelname == "ERROR"]
    assert "there is no such class; write another" in error.getMessage()


def test_a_bug_while_deciding_lets_the_call_through(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, bugs: deque[BaseException]
) -> None:
    one = armed(registry, rule("p", raises()))
    monkeypatch.setattr(one.tally.__class__, "take", lambda *_: 1 / 0)
    reach = search(bind((one,), P, "function"))
    assert reach() is None
    assert [type(bug) for bug in bugs] == [ZeroDivisionError]
    bugs.clear()


def test_a_bug_while_disarming_a_failed_rule_lets_the_call_through(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, bugs: deque[BaseException]
) -> None:
    def resolve() -> tuple[Does, ...]:
        raise InvalidPlan("no such class")

    armed(registry, rule("p", raises(), resolve=resolve))
    monkeypatch.setattr(registry.engine, "remove", lambda *_, **__: 1 / 0)
    registry.point("p").hit()
    monkeypatch.undo()
    assert [type(bug) for bug in bugs] == [ZeroDivisionError]
    bugs.clear()


def test_identity_is_source_text_and_the_seed_that_was_given(registry: Registry) -> None:
    def identity(**keys: object) -> tuple[object, ...]:
        return armed(registry, rule("p", raises(), text="t", **keys)).identity

    assert identity(seed=1) == identity(seed=1)
    assert identity(seed=1) != identity(seed=2)
    assert identity(seed=1, drawn=True) == identity(seed=2, drawn=True)


def test_restart_begins_anew_with_a_drawn_seed_drawn_again(
    registry: Registry, clock: FakeClock
) -> None:
    point = registry.point("p")
    given_ = armed(registry, rule("p", Does("off", ()), seed=1, expires_after=60))
    drawn = armed(registry, rule("p", Does("off", ()), seed=2, drawn=True, text="drawn"))
    point.hit()
    clock.advance(10)
    for one in (given_, drawn):
        one.restart()
        assert (one.reaches, one.injections, one.shadowed, one.flushed) == (0, 0, 0, 0)
    assert given_.seed == 1
    assert drawn.seed != 2
    assert given_.seconds_left == 50  # deadlines go on


def test_who_sleeps_on_a_rule_does_not_sleep_on_its_successor(registry: Registry) -> None:
    one = armed(registry, rule("p", raises()))
    one.sleepers.add(print)
    one.watchers.add(print)
    heir = one.successor()
    assert heir.sleepers == heir.watchers == set()
    assert one.sleepers == one.watchers == {print}
    assert heir.tally is one.tally
    one.sleepers.clear()
    one.watchers.clear()


def test_waking_goes_on_behind_a_closed_event_loop(registry: Registry) -> None:
    one = armed(registry, rule("p", raises()))
    woken: list[int] = []
    with closing(asyncio.new_event_loop()) as loop:
        pass
    waits = partial(woken.append, 1)
    one.sleepers |= {lambda: loop.call_soon_threadsafe(print), waits}
    one.sleepers.add(lambda: loop.call_soon_threadsafe(print))
    one.wake()
    assert woken == [1]
    assert one.sleepers == {waits}  # it leaves when it has woken up


def test_chaos_errors_are_no_injected_faults() -> None:
    from chaospoint.errors import InjectedFault

    assert not issubclass(InjectedFault, ChaosError)
