"""Registries: apart from each other, light until armed, and safe to fork."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from chaospoint import Registry
from chaospoint._registry import registry as _registry
from chaospoint._registry.registry import default_registry
from chaospoint.testing import FakeClock

from .kit import Boom, raises, rule


def test_a_registry_has_no_board_until_something_is_armed() -> None:
    made = Registry()
    point = made.point("p")
    point.hit()
    point.__class__.__call__(point, lambda: 1)()
    assert made.rules() == ()
    assert made.enabled
    assert made.disarm() == 0
    made.flush()
    assert made._engine is None


def test_many_threads_make_one_board(pool: ThreadPoolExecutor) -> None:
    for _ in range(20):
        made = Registry()
        engines = list(pool.map(lambda _, made=made: made.engine, range(16)))
        assert len(set(map(id, engines))) == 1


def test_registries_are_apart(registry: Registry, clock: FakeClock) -> None:
    other = Registry(clock=clock)
    registry.point("p")
    registry.install([rule("p", raises())], source="test")
    other.point("p").hit()
    with pytest.raises(Boom):
        registry.point("p").hit()
    other.disable()
    with pytest.raises(Boom):
        registry.point("p").hit()
    assert registry.enabled


def test_repr_counts_points(registry: Registry) -> None:
    registry.point("p")
    assert repr(registry) == "<Registry of 1 point>"


def test_there_is_one_default() -> None:
    import chaospoint

    assert default_registry() is default_registry()
    name = "kernel.test-registry"
    assert chaospoint.point(name) is default_registry().point(name)


def test_the_call_before_the_first_point_happens_once_for_all_threads(
    monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    made = Registry()
    monkeypatch.setattr(_registry, "_default", made)
    monkeypatch.setattr(_registry, "_before_first_point", [])
    started, go, seen = threading.Event(), threading.Event(), []

    def start() -> None:
        started.set()
        assert go.wait(10)
        made.point("made.while-starting")  # comes back here, and is not held up
        seen.append(len(made.points()))

    _registry.before_first_point(start)
    jobs = [pool.submit(made.point, f"p{n}") for n in range(4)]
    assert started.wait(10)
    assert not any(job.done() for job in jobs)
    go.set()
    for job in jobs:
        job.result(10)
    assert seen == [1]


def test_a_registry_of_ones_own_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_registry, "_before_first_point", [lambda: 1 / 0])
    Registry().point("p")


def test_nearest_names(registry: Registry) -> None:
    for name in ("payment.charge", "payment.refund", "inventory.take"):
        registry.point(name)
    assert registry.nearest("payment.chrge")[0] == "payment.charge"
    assert registry.nearest("zzz") == ()
