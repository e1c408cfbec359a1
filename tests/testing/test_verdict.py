"""The sentences about rules at the end of a test, one for each cause."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from helpers import Threads

from chaospoint import Armed, Plan, Registry, Rule
from chaospoint._kernel.armed_rule import ArmedRule
from chaospoint._kernel.chance import decide
from chaospoint.arming import arm_from
from chaospoint.errors import ChaosWarning
from chaospoint.testing import FakeClock
from chaospoint.testing.kit.verdict import fired, held, nearest_of, reached, unfired


def armed(registry: Registry, point: str = "a.b", **keys: Any) -> tuple[Armed, ArmedRule]:
    handle = arm_from("test", Plan(rules=[Rule(point=point, **keys)]), registry)
    return handle, handle.rules[0]


OFF = [{"kind": "off"}]
PAUSE = [{"kind": "pause"}]


@pytest.mark.parametrize(
    ("count", "said"), [(0, "never"), (1, "once"), (2, "twice"), (3, "3 times")]
)
def test_how_often_in_words(count: int, said: str) -> None:
    assert reached(count) == (f"reached {said}" if count else "never reached")


def test_the_nearest_are_named_if_there_are_any() -> None:
    assert nearest_of([]) == ""
    assert nearest_of(["a.b (reached once)", "a.c"]) == "; the nearest: a.b (reached once), a.c"


def test_no_point(registry: Registry) -> None:
    registry.point("a.c")
    with pytest.warns(ChaosWarning):
        _, rule = armed(registry, exception=OSError)
    assert unfired(rule, {}, ["a.c (reached once)"]) == (
        "a.b=raise(OSError) was armed but never fired: no point is named 'a.b'; "
        "the nearest: a.c (reached once)"
    )


@pytest.mark.parametrize(
    ("keys", "calls", "why"),
    [
        ({"latency": 0}, 0, "never reached in this test"),
        ({"latency": 0, "skip": 2}, 2, "too few times for its skip, every, times or probability"),
        (
            {"latency": 0, "where": {"n": 1}},
            1,
            "but none matched its `where`, which requires 'n' as int",
        ),
        ({"faults": OFF, "skip": 1}, 1, "too few times for its skip"),
    ],
)
def test_why(registry: Registry, keys: dict[str, object], calls: int, why: str) -> None:
    point = registry.point("a.b")
    _, rule = armed(registry, **keys)
    for _ in range(calls):
        point.hit()
    assert not fired(rule)
    assert why in unfired(rule, {"a.b": calls}, [])


def test_shadowed(registry: Registry) -> None:
    point = registry.point("a.b")
    _, below = armed(registry, exception=OSError)
    _, above = armed(registry, faults=OFF)
    point.hit()
    assert fired(above)
    assert not fired(below)
    assert "reached once in this test, but each time an earlier rule fired" in unfired(
        below, {"a.b": 1}, []
    )


def test_after_a_call_that_raised(registry: Registry) -> None:
    @registry.point("a.b")
    def fails() -> None:
        raise LookupError

    _, rule = armed(registry, exception=OSError, when="after")
    with suppress(LookupError):
        fails()
    assert "no call succeeded while this rule, which acts after it" in unfired(rule, {"a.b": 1}, [])


def test_all_that_came_while_others_were_held(registry: Registry, pool: Threads) -> None:
    point = registry.point("a.b")
    handle, rule = armed(registry, faults=PAUSE, max_active=1)
    first = pool.submit(point.hit)
    handle.wait_until_paused()
    point.hit()
    assert fired(rule)
    assert "max_active let the call pass once" in unfired(rule, {"a.b": 2}, [])
    handle.release()
    first.result()


@pytest.mark.parametrize("ending", ["disarmed", "expired", "disabled"])
def test_its_end_came_first(still: Registry, clock: FakeClock, ending: str) -> None:
    point = still.point("a.b")
    handle, rule = armed(still, exception=OSError, expires_after=60)
    if ending == "disarmed":
        handle.disarm()
    elif ending == "disabled":
        still.disable()
    else:
        clock.advance(61)
        with pytest.raises(TimeoutError):
            handle.wait_for()
    point.hit()
    handle.disarm()
    assert unfired(rule, {"a.b": 1}, []).endswith(
        f"reached once in this test, but never while this rule was armed ({ending})"
    )


def test_off_fires_where_it_is_due(registry: Registry) -> None:
    """It causes no injection, but it did what it was armed for."""
    point = registry.point("a.b")
    _, rule = armed(registry, faults=OFF, skip=1, probability=0.5, seed=3)
    calls = 0
    while not fired(rule):
        point.hit()
        calls += 1
        assert calls < 100
    first = next(decide(replace(rule.terms.schedule, seed=rule.seed)))
    assert rule.reaches == calls == first > 1
    assert rule.injections == 0


def test_calls_that_are_held(registry: Registry, pool: Threads) -> None:
    one, other = registry.point("a.b"), registry.point("a.c")
    handle, rule = armed(registry, "a.*", faults=PAUSE)
    assert held([rule]) == []
    calls = [pool.submit(one.hit)]
    handle.wait_until_paused(1)
    assert held([rule]) == [
        "a call of a.b is still paused by a.*=pause: release paused calls and wait for them "
        "before the test ends"
    ]
    calls += [pool.submit(point.hit) for point in (one, other)]
    handle.wait_until_paused(3)
    assert held([rule])[0].startswith("3 calls of a.b, a.c are still paused by a.*=pause")
    handle.release()
    for call in calls:
        call.result()
    assert held([rule]) == []
