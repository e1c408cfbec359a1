"""Tests that toggle faults: copy this file and put your own service in the place of `Checkout`.

pytest examples/integration_test.py
"""

from collections.abc import Iterator

import pytest

import chaospoint


@pytest.fixture(autouse=True)
def _no_chaos_is_left() -> Iterator[None]:
    """Put this into your conftest.py: what a test arms and forgets does not reach the next one."""
    yield
    chaospoint.disarm()


class Checkout:
    """What is under test: it tries three times and then keeps the order for later."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    @chaospoint.point("checkout.charge")
    def charge(self, cents: int) -> str:
        return f"charged {cents}"

    def order(self, cents: int) -> str:
        for _ in range(3):
            try:
                return self.charge(cents)
            except TimeoutError:
                continue
        self.kept.append(cents)
        return "kept for later"


@pytest.fixture
def checkout() -> Checkout:
    return Checkout()


def test_two_timeouts_are_not_seen_by_the_customer(checkout: Checkout) -> None:
    with chaospoint.armed("checkout.charge", exception=TimeoutError, times=2) as armed:
        assert checkout.order(42) == "charged 42"
    assert armed.injections == 2  # the test is worth nothing if the point was never reached


def test_three_timeouts_keep_the_order(checkout: Checkout) -> None:
    with chaospoint.armed("checkout.charge", exception=TimeoutError, times=3):
        assert checkout.order(42) == "kept for later"
    assert checkout.kept == [42]


def test_another_error_is_not_hidden(checkout: Checkout) -> None:
    with (
        chaospoint.armed("checkout.charge", exception=PermissionError),
        pytest.raises(PermissionError) as caught,
    ):
        checkout.order(42)
    injection = chaospoint.injection_of(caught.value)
    assert injection is not None
    assert (injection.point, injection.ordinal) == ("checkout.charge", 1)


def test_two_rules_at_once(checkout: Checkout) -> None:
    """Rules are tried in order, the first that fires acts: the second call gets the second."""
    plan = chaospoint.Plan(
        rules=[
            chaospoint.Rule(point="checkout.charge", exception="TimeoutError", times=1),
            chaospoint.Rule(point="checkout.*", returns="charged nothing"),
        ]
    )
    with chaospoint.armed(plan) as armed:
        assert checkout.order(42) == "charged nothing"
    assert armed.injections == 2
