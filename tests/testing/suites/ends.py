"""Fixtures with a wider scope than a test; these tests run in their order in the file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shop import charge, read

import chaospoint
from chaospoint.arming import Origin, install_plan

expected = pytest.mark.expected
unclean = pytest.mark.unclean


@pytest.fixture(scope="class")
def forgetful() -> None:
    chaospoint.arm("stock.read", returns=9)


class TestForgetful:
    def test_first(self, forgetful: None) -> None:
        assert read() == 9

    @unclean
    def test_between(self) -> None:
        assert read() == 9

    @unclean
    @expected("error", "stock.read=return(9), armed by the fixture 'forgetful'", "was left armed")
    def test_last(self) -> None:
        assert read() == 9


def test_after_the_forgetful() -> None:
    assert read() == 1


@pytest.fixture(scope="class")
def out_of_order() -> Iterator[None]:
    chaospoint.disable()
    yield
    chaospoint.enable()


@pytest.mark.usefixtures("out_of_order")
class TestDisabledForItsLife:
    def test_first(self) -> None:
        assert not chaospoint.Registry.default().enabled

    @unclean
    def test_last(self) -> None:
        assert not chaospoint.Registry.default().enabled


@pytest.fixture(scope="class")
def left_out_of_order() -> None:
    chaospoint.disable()


@pytest.mark.usefixtures("left_out_of_order")
class TestLeftDisabled:
    @expected("error", "the fixture 'left_out_of_order' left chaospoint disabled")
    def test_one(self) -> None:
        assert not chaospoint.Registry.default().enabled


@pytest.fixture(scope="class")
def stored() -> Iterator[None]:
    registry = chaospoint.Registry.default()
    plan = chaospoint.Plan(rules=[{"point": "stock.read", "returns": 4}])

    def store(plan: chaospoint.Plan) -> None:
        install_plan(plan, origin=Origin("store"), registry=registry, replace=True)

    store(plan)
    yield
    store(chaospoint.Plan(rules=[]))


@pytest.mark.usefixtures("stored")
class TestStored:
    def test_what_comes_back_is_what_was_there(self) -> None:
        chaospoint.disable()
        assert read() == 1
        chaospoint.enable()
        assert read() == 4

    @unclean
    def test_the_next_has_it(self) -> None:
        assert read() == 4


@pytest.fixture(scope="class")
def shared() -> Iterator[None]:
    with chaospoint.armed("stock.read", returns=4):
        yield


@pytest.mark.usefixtures("shared")
class TestShared:
    @expected("error", "stock.read=return(4) was disarmed", "the fixture 'shared'")
    def test_takes_it_from_the_others(self) -> None:
        chaospoint.disarm("stock.read")

    def test_is_told_once(self) -> None:
        assert read() == 1


@pytest.fixture(scope="class", params=["a", "b"])
def renewed(request: pytest.FixtureRequest) -> Iterator[str]:
    handle = chaospoint.arm("stock.read", returns=request.param)
    yield request.param
    if request.param == "b":
        handle.disarm()


class TestRenewed:
    """The fixture of ``a`` ends, and is reported, when the one of ``b`` replaces it."""

    @unclean
    @expected("passed or error")
    def test_it(self, renewed: str) -> None:
        assert read() == renewed


@pytest.fixture(scope="class")
def wider() -> Iterator[None]:
    with chaospoint.armed("payment.charge", returns=8):
        yield


@pytest.fixture(scope="class")
def asks_for_another(request: pytest.FixtureRequest) -> Iterator[None]:
    handle = chaospoint.arm("stock.read", returns=9)
    request.getfixturevalue("wider")
    yield
    handle.disarm()


class TestNested:
    def test_first(self, asks_for_another: None) -> None:
        assert (read(), charge()) == (9, 8)

    @unclean
    def test_last(self) -> None:
        assert (read(), charge()) == (9, 8)


class TestXunit:
    @classmethod
    def setup_class(cls) -> None:
        chaospoint.arm("stock.read", returns=9)

    def test_first(self) -> None:
        assert read() == 9

    @unclean
    @expected("error", "stock.read=return(9)", "was left armed")
    def test_last(self) -> None:
        assert read() == 9


@pytest.fixture(scope="session")
def sessionwide() -> None:
    chaospoint.arm("payment.charge", returns=7)


def test_first_of_the_session(sessionwide: None) -> None:
    assert charge() == 7


@unclean
@expected("error", "payment.charge=return(7)", "was left armed")
def test_last_of_the_session() -> None:
    assert charge() == 7
