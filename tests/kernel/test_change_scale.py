"""How much work a change makes, counted: only points whose rules differ are touched."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import pytest

import chaospoint
from chaospoint import Plan, Registry
from chaospoint._kernel.binding import Binding
from chaospoint._kernel.placement import Kind
from chaospoint._patching.site import Site
from chaospoint._registry.explain import states
from chaospoint._registry.points import Points
from chaospoint.errors import ChaosWarning

_POINTS = 60
_GLOBS = 40


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def calls(registry: Registry) -> list[Callable[[], int]]:
    return [registry.point(f"svc{n % 6}.op{n}")(_function()) for n in range(_POINTS)]


@pytest.fixture
def rebuilt(monkeypatch: pytest.MonkeyPatch) -> list[Site]:
    found: list[Site] = []
    rebuild = Site.rebuild

    def counting(site: Site) -> None:
        found.append(site)
        rebuild(site)

    monkeypatch.setattr(Site, "rebuild", counting)
    return found


@pytest.fixture
def aimed(monkeypatch: pytest.MonkeyPatch) -> list[Binding]:
    found: list[Binding] = []
    begin = Binding.__init__

    def counting(binding: Binding, *args: object, **keys: object) -> None:
        found.append(binding)
        begin(binding, *args, **keys)  # type: ignore[arg-type]

    monkeypatch.setattr(Binding, "__init__", counting)
    return found


def _function() -> Callable[[], int]:
    def it() -> int:
        return 7

    return it


def _plan(globs: int = _GLOBS) -> Plan:
    rules = [f"svc{n % 6}.*={n + 1}%latency(0ms)" for n in range(globs - 10)]
    return Plan(rules=[*rules, *(f"*={n + 1}%latency(0ms)" for n in range(10))], seed=3)


def test_a_change_rebuilds_each_point_once_whatever_the_number_of_globs(
    registry: Registry, calls: list[Callable[[], int]], rebuilt: list[Site]
) -> None:
    handle = chaospoint.arm(_plan(), registry=registry)
    assert len(rebuilt) == len(set(rebuilt)) == len(calls)
    rebuilt.clear()
    handle.disarm()
    assert len(rebuilt) == len(set(rebuilt)) == len(calls)


def test_a_change_leaves_the_points_alone_whose_rules_stay(
    registry: Registry, calls: list[Callable[[], int]], rebuilt: list[Site]
) -> None:
    chaospoint.arm(_plan(), registry=registry)
    rebuilt.clear()
    with chaospoint.armed("svc2.*", latency=0, registry=registry):
        assert len(rebuilt) == _POINTS // 6
        rebuilt.clear()
    assert len(rebuilt) == _POINTS // 6
    rebuilt.clear()
    with chaospoint.armed("svc2.op2", latency=0, registry=registry):
        assert len(rebuilt) == 1
    assert len(rebuilt) == 2


def test_points_with_the_same_rules_share_them(
    registry: Registry, calls: list[Callable[[], int]]
) -> None:
    chaospoint.arm(_plan(), registry=registry)
    shared = {id(point.core.rules) for point in registry.points()}
    assert len(shared) == 6
    with chaospoint.armed("*", latency=0, registry=registry):
        assert len({id(point.core.rules) for point in registry.points()}) == 6


def test_rules_of_many_globs_are_made_ready_where_a_call_comes(
    registry: Registry, calls: list[Callable[[], int]], aimed: list[Binding]
) -> None:
    chaospoint.arm(_plan(), registry=registry)
    assert not aimed
    assert calls[0]() == 7
    assert calls[0]() == 7
    assert {binding.point for binding in aimed} == {"svc0.op0"}
    assert len(aimed) == len(registry.point("svc0.op0").core.rules)


def test_the_order_of_many_rules_is_that_of_their_plan(
    registry: Registry, calls: list[Callable[[], int]]
) -> None:
    plan = Plan(rules=[f"{'svc1.*' if n % 2 else '*'}=1*return({n})" for n in range(20)])
    chaospoint.arm(plan, registry=registry)
    assert [calls[1]() for _ in range(21)] == [*range(20), 7]
    assert [calls[2]() for _ in range(3)] == [7, 7, 7]


def test_states_look_only_once_at_points_with_the_same_rules(
    registry: Registry, calls: list[Callable[[], int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    kinds = Points.kinds

    def counting(points: Points, name: str) -> Sequence[Kind]:
        looked.append(name)
        return kinds(points, name)

    for _ in range(30):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ChaosWarning)  # each hides those before it
            chaospoint.arm("*", latency=0, registry=registry)
    chaospoint.arm("svc1.*", latency=0, probability=0.5, registry=registry)
    monkeypatch.setattr(Points, "kinds", counting)
    told = states(registry.engine, registry.rules())
    assert len(looked) <= 2 * len(calls)
    assert [one.state for one in told] == ["armed", "armed", *["shadowed"] * 29]
