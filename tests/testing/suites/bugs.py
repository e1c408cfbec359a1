"""Errors of chaospoint, or of code that it calls, fail the test in which they happen."""

from __future__ import annotations

import unittest
from collections.abc import Iterator

import pytest
from shop import charge, read

from chaospoint import Registry
from chaospoint._kernel import reporting
from chaospoint.testing import Chaos

expected = pytest.mark.expected


class Bad:
    def observe(self, injection: object) -> None:
        raise RuntimeError("bad observer")


def break_it() -> None:
    try:
        raise RuntimeError("bad driver")
    except RuntimeError:
        reporting.report_bug("driving")


@pytest.fixture
def observer() -> Iterator[None]:
    bad = Bad()
    Registry.default().add_observer(bad)
    yield
    Registry.default().remove_observer(bad)


@expected("failed", "that it called, failed", "bad observer")
def test_observer(observer: None, chaos: Chaos) -> None:
    chaos.arm("payment.charge", latency=0)
    charge()


@expected("failed", "that it called, failed", "bad draw")
def test_driver(chaos: Chaos, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(*args: object) -> None:
        raise RuntimeError("bad draw")

    chaos.arm("payment.charge", latency={"seconds": 0.001, "jitter": 0.001}, must_fire=False)
    monkeypatch.setattr("chaospoint._kernel.chance.Draws.uniform", bad)
    charge()


@expected("failed", "that it called, failed", "bad driver")
def test_without_the_fixture() -> None:
    break_it()


@expected("failed", "that it called, failed", "bad driver")
def test_that_skips_hides_no_bug() -> None:
    break_it()
    pytest.skip("not today")


@expected("skipped")
def test_that_skips(chaos: Chaos) -> None:
    chaos.arm("payment.charge", latency=0)
    pytest.skip("not today")


class TestOfUnittest(unittest.TestCase):
    @expected("failed", "that it called, failed", "bad driver")
    def test_that_skips_hides_no_bug(self) -> None:
        break_it()
        self.skipTest("not today")


@pytest.fixture
def breaks_before() -> None:
    break_it()


@expected("failed", "bad driver")
def test_in_a_setup(breaks_before: None) -> None:
    pass


@pytest.fixture
def breaks_after() -> Iterator[None]:
    yield
    break_it()


@expected("error", "bad driver")
def test_in_a_teardown(breaks_after: None) -> None:
    pass


@expected("failed", "assert 1 == 2", "told: bad driver")
def test_that_fails_by_itself() -> None:
    break_it()
    assert 1 == 2


@pytest.fixture
def fails_before() -> None:
    break_it()
    raise OSError("no setup")


@expected("error", "no setup", "told: bad driver")
def test_setup_that_fails_by_itself(fails_before: None) -> None:
    pass


@expected("failed", "bad driver")
def test_that_uses_a_chaos_of_its_own() -> None:
    break_it()
    with Chaos(registry=Registry()):
        pass


def test_neighbour() -> None:
    assert read() == 1
