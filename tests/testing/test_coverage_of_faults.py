"""Fault coverage shows which points were reached and which kinds of faults fired there."""

from __future__ import annotations

import json
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Any

import pytest
from helpers import PLACES, finish, place

import chaospoint
from chaospoint import Registry
from chaospoint.errors import ChaosError
from chaospoint.testing import FaultCoverage, fault_coverage


def fails(registry: Registry, name: str, **keys: Any) -> chaospoint.Armed:
    registry.point(name)
    return chaospoint.arm(name, registry=registry, **{"exception": TimeoutError, **keys})


@pytest.mark.parametrize("kind", PLACES)
def test_reaches_and_injections_are_counted_by_point_and_kind(
    registry: Registry, kind: str
) -> None:
    call = place(registry.point("a.hurt"), kind)
    registry.point("c.never")
    with fault_coverage(registry=registry) as coverage:
        registry.point("b.reached").hit()
        fails(registry, "a.hurt", latency=0.0, times=1)
        with pytest.raises(TimeoutError):
            finish(call())
        assert finish(call()) == 7
    finish(call())
    assert coverage.as_data()["points"] == {
        "a.hurt": {"reaches": 2, "fired": {"exception": 1, "latency": 1}},
        "b.reached": {"reaches": 1, "fired": {}},
        "c.never": {"reaches": 0, "fired": {}},
    }
    assert coverage.percent == pytest.approx(100 / 3)


def test_off_is_no_fault_that_fired(registry: Registry) -> None:
    registry.point("p")
    with fault_coverage(registry=registry) as coverage:
        chaospoint.arm("p", faults=[{"kind": "yield"}], registry=registry, times=1)
        chaospoint.arm(chaospoint.Rule.parse("p=1*off"), registry=registry)
        registry.point("p").hit()
        registry.point("p").hit()
    assert coverage.as_data()["points"] == {"p": {"reaches": 2, "fired": {"yield": 1}}}


def test_counts_are_exact_under_threads(registry: Registry, restless: None) -> None:
    point = registry.point("p")
    start = Barrier(8)

    def work(_: int) -> None:
        start.wait(10)
        for _ in range(250):
            try:
                point.hit()
            except TimeoutError:
                pass

    with fault_coverage(registry=registry) as coverage, ThreadPoolExecutor(8) as threads:
        fails(registry, "p", every=2)
        list(threads.map(work, range(8)))
    assert coverage.as_data()["points"]["p"] == {"reaches": 2000, "fired": {"exception": 1000}}


def test_only_points_of_the_glob_count(registry: Registry) -> None:
    for name in ("pay.charge", "stock.take"):
        registry.point(name)
    with fault_coverage("pay.*", registry=registry) as coverage:
        fails(registry, "stock.take")
        with pytest.raises(TimeoutError):
            registry.point("stock.take").hit()
    assert coverage.as_data()["points"] == {"pay.charge": {"reaches": 0, "fired": {}}}
    assert coverage.percent == 0.0


def test_after_the_block_nothing_changes_any_more(registry: Registry) -> None:
    point = registry.point("p")
    with fault_coverage(registry=registry) as coverage:
        point.hit()
    before = coverage.to_json()
    fails(registry, "p")
    with pytest.raises(TimeoutError):
        point.hit()
    registry.point("later")
    assert coverage.to_json() == before
    assert registry.engine.watches == ()
    assert coverage not in registry.observers


def test_it_can_be_entered_again_and_goes_on_but_not_twice_at_once(registry: Registry) -> None:
    coverage = FaultCoverage(registry=registry)
    for _ in range(2):
        with coverage:
            registry.point("p").hit()
            with pytest.raises(ChaosError, match="counting already"):
                coverage.start()
    assert coverage.as_data()["points"]["p"]["reaches"] == 2


def test_the_table_says_what_fired_what_did_not_and_what_was_never_reached(
    registry: Registry,
) -> None:
    with fault_coverage(registry=registry) as coverage:
        fails(registry, "a.hurt")
        with pytest.raises(TimeoutError):
            registry.point("a.hurt").hit()
        registry.point("b.reached").hit()
        registry.point("c.never")
    assert str(coverage).splitlines() == [
        "POINT      REACHES  EXCEPTION",
        "a.hurt           1          1",
        "b.reached        1          -  reached, no fault fired",
        "c.never          0          -  never reached",
        "a fault fired at 1 of 3 points: 33.3%",
    ]


def test_all_but_one_is_never_shown_as_all(registry: Registry) -> None:
    points = {f"p{nth}": {"reaches": 1, "fired": {"latency": 1}} for nth in range(2000)}
    points["last"] = {"reaches": 1, "fired": {}}
    coverage = FaultCoverage(registry=registry)
    coverage.merge({"version": 1, "pattern": "*", "points": points})
    assert str(coverage).endswith("2000 of 2001 points: 99.9%")


def test_without_points_nothing_is_covered_and_that_is_said(registry: Registry) -> None:
    registry.point("p")
    with fault_coverage("pay.*", registry=registry) as coverage:
        pass
    assert coverage.percent == 0.0
    assert str(coverage).startswith("no known point matches 'pay.*'")


def test_processes_add_up_through_json(registry: Registry) -> None:
    total = FaultCoverage(registry=registry)
    for keys, other in (({"latency": 0.0}, "b.one"), ({"exception": TimeoutError}, "b.two")):
        each = Registry()
        point = each.point("a")
        each.point(other)
        with fault_coverage(registry=each) as coverage:
            chaospoint.arm("a", registry=each, **keys)  # type: ignore[arg-type]
            with suppress(TimeoutError):
                point.hit()
        each.engine.housekeeper.stop()
        total.merge(json.loads(coverage.to_json()))
    assert total.as_data()["points"] == {
        "a": {"reaches": 2, "fired": {"exception": 1, "latency": 1}},
        "b.one": {"reaches": 0, "fired": {}},
        "b.two": {"reaches": 0, "fired": {}},
    }


def test_what_another_process_counted_is_added_to_what_this_one_did(registry: Registry) -> None:
    with fault_coverage(registry=registry) as coverage:
        fails(registry, "p")
        with pytest.raises(TimeoutError):
            registry.point("p").hit()
    coverage.merge(coverage.as_data())
    assert coverage.as_data()["points"] == {"p": {"reaches": 2, "fired": {"exception": 2}}}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"version": 1, "pattern": "*"},
        {"version": 1, "pattern": "*", "points": {"a": {"reaches": 1, "fired": {"x": "many"}}}},
        {"version": 1, "pattern": "*", "points": {"a": {"reaches": 1, "fired": {}}, "b": 3}},
        {"version": 2, "pattern": "*", "points": {"a": {"reaches": 1, "fired": {}}}},
        {"version": 1, "pattern": "pay.*", "points": {"a": {"reaches": 1, "fired": {}}}},
    ],
)
def test_what_is_no_coverage_of_these_points_is_refused_whole(wrong: Any) -> None:
    coverage = FaultCoverage()
    with pytest.raises(ChaosError, match="fault coverage"):
        coverage.merge(wrong)
    assert coverage.as_data()["points"] == {}


def test_it_works_around_unittest(registry: Registry) -> None:
    registry.point("p")

    class Case(unittest.TestCase):
        def test_timeout(self) -> None:
            with (
                chaospoint.armed("p", exception=TimeoutError, registry=registry),
                self.assertRaises(TimeoutError),  # noqa: PT027 - as such suites do
            ):
                registry.point("p").hit()

    with fault_coverage(registry=registry) as coverage:
        unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(unittest.TestResult())
    assert coverage.percent == 100.0


def test_only_the_table_needs_rich(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.point("p")
    with fault_coverage(registry=registry) as coverage:
        pass
    monkeypatch.setitem(sys.modules, "rich.table", None)
    assert coverage.to_json()
    with pytest.raises(ChaosError, match=r"pip install 'chaospoint\[testing\]'"):
        str(coverage)
