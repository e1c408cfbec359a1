"""Tests that toggle faults: copy this file and put your own service in the place of `Checkout`.

pytest examples/integration_test.py

The fixture `chaos` and the marker of the same name come with chaospoint. What they arm is disarmed
when the test ends, and a fault that never fired fails the test: it would have proved nothing.
"""

import pytest

import chaospoint
from chaospoint.testing import Chaos


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


@pytest.mark.chaos("checkout.charge", exception=TimeoutError, times=2)
def test_two_timeouts_are_not_seen_by_the_customer(checkout: Checkout) -> None:
    assert checkout.order(42) == "charged 42"


@pytest.mark.chaos("checkout.charge", exception=TimeoutError, times=3)
def test_three_timeouts_keep_the_order(checkout: Checkout) -> None:
    assert checkout.order(42) == "kept for later"
    assert checkout.kept == [42]


@pytest.mark.chaos("checkout.charge", exception=TimeoutError, times=1)
@pytest.mark.chaos("checkout.*", returns="charged nothing")
def test_two_rules_at_once(checkout: Checkout) -> None:
    """Rules are tried from the top, the first that fires acts: the second call gets the second."""
    assert checkout.order(42) == "charged nothing"


def test_the_bank_is_asked_once_where_all_is_well(checkout: Checkout, chaos: Chaos) -> None:
    """Calls are counted where nothing is armed, too."""
    checkout.order(42)
    assert chaos.reaches("checkout.charge") == 1


def test_another_error_is_not_hidden(checkout: Checkout, chaos: Chaos) -> None:
    chaos.arm("checkout.charge", exception=PermissionError)
    with pytest.raises(PermissionError) as caught:
        checkout.order(42)
    injection = chaospoint.injection_of(caught.value)
    assert injection is not None
    assert chaos.history == (injection,)


def test_the_retry_ends_with_the_timeouts(checkout: Checkout, chaos: Chaos) -> None:
    with chaos.armed("checkout.charge", exception=TimeoutError) as outage:
        assert checkout.order(42) == "kept for later"
    assert outage.injections == 3
    assert checkout.order(43) == "charged 43"
