"""Rules from outside cannot make any number of time series."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest
from helpers import PATIENCE, python
from prometheus_client import CollectorRegistry

from chaospoint import Registry
from chaospoint.arming import arm, armed
from chaospoint.observers.prometheus import MOST_VALUES, OTHER, Prometheus, _Values
from chaospoint.testing import FakeClock

POINT = "payment.charge"
GLOBS = [f"{POINT[:n]}*{POINT[n:m]}*{POINT[m:]}" for n in range(14) for m in range(n, 14)]
COMBINED = ["+".join(verbs) for verbs in product(["yield", "print", "delay(0)"], repeat=5)]


@pytest.fixture
def metrics(registry: Registry) -> Iterator[CollectorRegistry]:
    found = CollectorRegistry()
    observer = Prometheus(found)
    registry.add_observer(observer)
    yield found
    registry.remove_observer(observer)


def series(metrics: CollectorRegistry, name: str, label: str = "point") -> dict[str, float]:
    return {
        sample.labels[label]: sample.value
        for metric in metrics.collect()
        for sample in metric.samples
        if sample.name == f"chaospoint_{name}_total"
    }


def test_globs_share_a_series_beyond_a_number(
    registry: Registry, metrics: CollectorRegistry
) -> None:
    point = registry.point(POINT)
    assert len(GLOBS) > MOST_VALUES
    for glob in GLOBS:
        with armed(glob, latency=0, registry=registry):
            point.hit()
    found = series(metrics, "reaches")
    assert len(found) == MOST_VALUES + 1
    assert found[GLOBS[0]] == 1
    assert found[OTHER] == len(GLOBS) - MOST_VALUES
    with armed(GLOBS[0], latency=0, registry=registry):
        point.hit()
    assert series(metrics, "reaches")[GLOBS[0]] == 2


def test_names_of_points_keep_a_series_each(registry: Registry, metrics: CollectorRegistry) -> None:
    point = registry.point(POINT)
    for glob in GLOBS:
        with armed(glob, latency=0, registry=registry):
            point.hit()
    names = [f"shop.p{n}" for n in range(MOST_VALUES + 50)]
    for name in names:
        named = registry.point(name)
        with armed(name, latency=0, registry=registry):
            named.hit()
    found = series(metrics, "reaches")
    assert {found[name] for name in names} == {1}
    assert set(names) < {*series(metrics, "injections")}


@pytest.mark.filterwarnings("ignore::chaospoint.errors.ChaosWarning")
def test_rules_that_expire_unreached_share_one_too(
    registry: Registry, metrics: CollectorRegistry
) -> None:
    clock = registry.engine.clock = FakeClock()
    registry.point(POINT)
    names = [f"no.such{n}" for n in range(MOST_VALUES)]
    for name in [*names, *GLOBS, POINT]:
        arm(name, latency=0, expires_after=1, registry=registry)
    clock.advance(2)
    registry.engine.expire()
    assert not registry.rules()
    found = series(metrics, "expired")
    assert found[POINT] == 1
    assert len(found) == MOST_VALUES + 2
    assert sum(found.values()) == len(names) + len(GLOBS) + 1


@pytest.mark.filterwarnings("ignore::chaospoint.errors.ChaosWarning")
def test_overflow_of_globs_shares_one_too(registry: Registry, metrics: CollectorRegistry) -> None:
    point = registry.point(POINT)
    for glob in GLOBS:
        with armed(glob, call=lambda _: point.hit(), max_active=1, registry=registry):
            point.hit()
    found = series(metrics, "overflow")
    assert len(found) == MOST_VALUES + 1
    assert sum(found.values()) == len(GLOBS)


@pytest.mark.parametrize("multiprocess", [False, True])
def test_combinations_of_faults_share_a_series(
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    multiprocess: bool,
) -> None:
    if multiprocess:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/read/when/observing")
    found = CollectorRegistry()
    observer = Prometheus(found)
    registry.add_observer(observer)
    point = registry.point(POINT)
    assert len(COMBINED) > MOST_VALUES
    for verbs in COMBINED:
        with armed(POINT, faults=_faults(verbs), registry=registry):
            point.hit()
    arm(POINT, latency=0, exception=TimeoutError, registry=registry)
    with pytest.raises(TimeoutError):
        point.hit()
    registry.remove_observer(observer)
    counted = series(found, "injections", "fault")
    assert len(counted) == MOST_VALUES + 2
    assert counted["latency+exception"] == 1
    assert counted["yield+yield+yield+yield+yield"] == 1
    assert counted[OTHER] == len(COMBINED) - MOST_VALUES


class _Met(set[str]):
    """Values whose number two threads learn before either goes on."""

    def __init__(self, values: Iterable[str]) -> None:
        super().__init__(values)
        self._meeting = threading.Barrier(2)
        self._met = threading.local()

    def __len__(self) -> int:
        number = super().__len__()
        if not hasattr(self._met, "done"):
            self._met.done = True
            self._meeting.wait(PATIENCE)
        return number


def test_two_threads_do_not_take_the_last_place_twice() -> None:
    values = _Values()
    values._kept = _Met(map(str, range(MOST_VALUES - 1)))
    with ThreadPoolExecutor(2) as threads:
        found = {*threads.map(values.label, ["x", "y"])}
    assert found in ({"x", OTHER}, {"y", OTHER})


def _faults(verbs: str) -> list[dict[str, object]]:
    keys: dict[str, dict[str, object]] = {
        "yield": {"kind": "yield"},
        "print": {"kind": "print", "message": "here"},
        "delay(0)": {"kind": "delay", "seconds": 0},
    }
    return [keys[verb] for verb in verbs.split("+")]


def test_so_it_is_where_processes_share_their_metrics(tmp_path: Path) -> None:
    program = f"""
        import chaospoint
        from chaospoint.arming import armed
        from prometheus_client import CollectorRegistry, multiprocess

        point = chaospoint.point({POINT!r})
        for glob in {GLOBS!r}:
            with armed(glob, latency=0):
                point.hit()
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        for metric in registry.collect():
            if metric.name == "chaospoint_reaches":
                print(len(metric.samples), sum(sample.value for sample in metric.samples))
    """
    done = python(program, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    assert done.stdout.split() == [str(MOST_VALUES + 1), str(float(len(GLOBS)))]
