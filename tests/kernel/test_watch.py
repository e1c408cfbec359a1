"""A watch counts every call at every point, and changes nothing that a rule does."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import FUNCTIONS, PLACES, Threads, finish, place

from chaospoint import Point, Registry
from chaospoint._kernel.context import transparently
from chaospoint._kernel.placement import Kind
from chaospoint.testing.kit.watch import Watch

from .kit import Boom, raises, rule


@pytest.mark.parametrize("kind", PLACES)
def test_every_call_is_counted_where_nothing_is_armed(registry: Registry, kind: str) -> None:
    call = place(registry.point("p"), kind)
    with Watch(registry) as watch:
        assert [finish(call()) for _ in range(3)] == [7, 7, 7]
    finish(call())
    assert watch.counts() == {"p": 3}


@pytest.mark.parametrize("kind", PLACES)
def test_clean_ends_are_counted_apart(registry: Registry, kind: str) -> None:
    """A statement has no end."""
    call = place(registry.point("p"), kind)
    registry.install([rule("p", raises(), times=1)], source="test")
    with Watch(registry) as begun, Watch(registry, after=True) as ended:
        with pytest.raises(Boom):
            finish(call())
        finish(call())
    assert begun.reaches("p") == 2
    assert ended.reaches("p") == (0 if "statement" in kind else 1)


def test_points_that_are_made_later_are_watched(registry: Registry) -> None:
    with Watch(registry) as watch:
        registry.point("a.late").hit()
        place(registry.point("b.late"), "function")()
    assert watch.counts("a.*") == {"a.late": 1}
    assert watch.reaches("*.late") == 2


def test_a_watch_is_not_a_rule(registry: Registry) -> None:
    """It is not listed or told of, arms nothing, and what disarms and disables leaves it on."""
    point = registry.point("p")
    call = place(point, "function")
    with Watch(registry) as watch:
        assert not point.armed
        assert registry.rules() == ()
        assert point.explain().rules == ()
        assert registry.disarm() == 0
        call()
        registry.disable()
        registry.enable()
        call()
    assert watch.reaches("p") == 2


@pytest.mark.parametrize("kind", PLACES)
def test_a_rule_is_reached_and_fires_as_without_it(registry: Registry, kind: str) -> None:
    call = place(registry.point("p"), kind)
    with Watch(registry) as watch:
        armed = registry.install([rule("p", raises(), skip=1, times=1)], source="test")
        assert finish(call()) == 7
        with pytest.raises(Boom):
            finish(call())
        assert finish(call()) == 7
    assert (armed.reaches, armed.injections, watch.reaches("p")) == (3, 1, 3)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_the_functions_own_code_runs_again_when_the_last_watch_stops(
    registry: Registry, kind: str
) -> None:
    call: Any = place(registry.point("p"), kind)
    function = getattr(call, "__func__", call)
    code = function.__code__
    first, second = Watch(registry), Watch(registry)
    first.start()
    second.start()
    first.stop()
    first.stop()
    finish(call())
    assert function.__code__ is not code
    second.stop()
    assert function.__code__ is code
    assert (first.reaches("p"), second.reaches("p")) == (0, 1)


def test_who_asks_is_told_of_each_call_and_of_its_placement(registry: Registry) -> None:
    seen: list[tuple[str, Kind, tuple[type[BaseException], ...]]] = []

    def told(point: Point, kind: Kind) -> None:
        seen.append((point.name, kind, point.raises))

    call = place(registry.point("a", raises=OSError), "coroutine")
    with Watch(registry, on_reach=told) as watch:
        finish(call())
        registry.point("b").hit()
    assert seen == [("a", "coroutine", (OSError,)), ("b", "statement", ())]
    assert watch.counts() == {"a": 1, "b": 1}


def test_what_it_tells_reaches_no_point(registry: Registry) -> None:
    other = registry.point("other")
    with Watch(registry, on_reach=lambda _, __: other.hit()) as watch:
        registry.point("p").hit()
    assert watch.counts() == {"p": 1}


def test_exceptions_of_observers_of_notices_reach_no_caller(
    registry: Registry, expected_bugs: list[BaseException]
) -> None:
    def told(point: Point, kind: Kind) -> None:
        raise Boom

    with Watch(registry, on_reach=told) as watch:
        registry.point("p").hit()
    assert watch.reaches("p") == 1


def test_transparent_calls_are_not_counted(registry: Registry) -> None:
    point = registry.point("p")
    with Watch(registry) as watch:
        transparently(point.hit)
    assert watch.reaches("p") == 0


@pytest.mark.parametrize("told", [None, lambda _, __: None])
def test_the_count_is_exact_under_threads(
    registry: Registry, pool: Threads, restless: None, told: Any
) -> None:
    call = place(registry.point("p"), "function")
    with Watch(registry, on_reach=told) as watch:
        pool.map(lambda _: [call() for _ in range(500)], range(8))
    assert watch.reaches("p") == 4000


def test_a_point_knows_what_its_placements_raise(registry: Registry) -> None:
    point = registry.point("p", raises=OSError)
    registry.point("p", raises=(OSError, KeyError))
    assert point.core.raises == (OSError, KeyError)
