"""Rules that other code leaves armed, and the tests that fail for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from threading import Thread

import pytest
from shop import charge, read

import chaospoint
from chaospoint import Plan
from chaospoint.arming import Origin, install_plan
from chaospoint.testing import Chaos

expected = pytest.mark.expected


def test_before() -> None:
    assert charge(1) == 1


@expected("error", "payment.charge=raise(TimeoutError), armed by code", "was left armed")
def test_code_in_the_test() -> None:
    chaospoint.arm("payment.charge", exception=TimeoutError)


@expected("error", "payment.charge", "was left armed")
def test_code_in_the_test_beside_the_fixture(chaos: Chaos) -> None:
    chaos.arm("payment.charge", returns=2)
    assert charge() == 2
    chaospoint.arm("payment.charge", exception=TimeoutError)


@pytest.fixture
def forgetful() -> None:
    chaospoint.arm("stock.read", latency=0)


@expected("error", "stock.read", "was left armed")
def test_fixture_that_forgets(forgetful: None) -> None:
    read()


@pytest.fixture
def tidy() -> Iterator[None]:
    with chaospoint.armed("stock.read", returns=9):
        yield


def test_fixture_that_disarms(tidy: None) -> None:
    assert read() == 9


@expected("error", "the test left chaospoint disabled")
def test_disabled() -> None:
    chaospoint.disable()


@expected("error", "stock.*=latency", "armed by http (ann)")
def test_armed_over_http() -> None:
    install_plan(
        Plan.parse("stock.*=latency(0)"),
        origin=Origin("http", by="ann"),
        registry=chaospoint.Registry.default(),
    )


def test_env_rules_of_start_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSPOINT_ENABLED", "true")
    monkeypatch.setenv("CHAOSPOINT_POINTS", "stock.read=return(8)")
    chaospoint.start()
    try:
        assert read() == 8
    finally:
        chaospoint.stop()


@expected("error", "stock.read", "was left armed")
def test_left_by_a_thread() -> None:
    thread = Thread(target=lambda: chaospoint.arm("stock.read", latency=0))
    thread.start()
    thread.join()


@pytest.fixture(scope="class")
def classwide() -> Iterator[None]:
    with chaospoint.armed("stock.read", returns=9):
        yield


@pytest.mark.unclean
class TestArmedForItsLife:
    def test_one(self, classwide: None) -> None:
        assert read() == 9

    def test_two(self, classwide: None) -> None:
        assert read() == 9

    def test_with_the_fixture(self, classwide: None, chaos: Chaos) -> None:
        chaos.arm("stock.read", returns=3)
        assert read() == 3
        assert [one.source for one in chaos.history] == ["test"]


@pytest.fixture(scope="class")
def broken() -> None:
    chaospoint.arm("stock.read", latency=0)
    raise OSError("no stock")


class TestFixtureThatBreaks:
    @expected("error", "no stock")
    def test_one(self, broken: None) -> None:
        pass

    def test_other(self) -> None:
        assert read(4) == 4


@pytest.fixture
async def awaited() -> AsyncIterator[None]:
    with chaospoint.armed("stock.read", returns=9):
        yield


@pytest.fixture
async def awaited_forgetful() -> None:
    chaospoint.arm("stock.read", returns=9)


@pytest.mark.anyio
async def test_async_fixture(awaited: None) -> None:
    assert read() == 9


@expected("error", "stock.read", "was left armed")
@pytest.mark.anyio
async def test_async_fixture_that_forgets(awaited_forgetful: None) -> None:
    assert read() == 9


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@expected("error", "OSError: late", "told: payment.charge", "told: was left armed")
def test_leak_is_told_beside_a_broken_teardown(request: pytest.FixtureRequest) -> None:
    def late() -> None:
        raise OSError("late")

    request.addfinalizer(late)
    chaospoint.arm("payment.charge", exception=TimeoutError)


@pytest.fixture
def armed_before_the_call(chaos: Chaos) -> None:
    chaos.arm("payment.charge", returns=2)


@pytest.fixture
def hungry(armed_before_the_call: None) -> None:
    raise OSError("no more")


@expected("error", "no more")
def test_setup_that_fails_with_something_armed(hungry: None) -> None:
    pass


def test_after() -> None:
    assert charge(1) == 1
