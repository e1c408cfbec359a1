"""Ordinary code of users, for type checkers alone: nothing runs it.

mypy and pyright have to accept it. They have to catch each mistake that is marked ``type: ignore``
as well, since an unused ``type: ignore`` is an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import pytest

import chaospoint
from chaospoint.config import Settings
from chaospoint.errors import InvalidPlan
from chaospoint.testing import Chaos

# -- a decorated callable keeps its type ---------------------------------------------------------


@chaospoint.point("payment.charge", labels={"to": "bank"}, raises=TimeoutError)
def charge(order: str, cents: int = 0) -> str:
    return f"paid {cents} for {order}"


@chaospoint.point("payment.refund")
async def refund(order: str) -> int:
    return len(order)


@chaospoint.point("orders.all")
def orders() -> Iterator[str]:
    yield "A-1"


@chaospoint.point("orders.stream")
async def stream() -> AsyncIterator[str]:
    yield "A-1"


class Catalogue:
    @chaospoint.point("catalogue.price")
    def price(self, sku: str) -> int:
        return len(sku)

    @classmethod
    @chaospoint.point("catalogue.make")
    def make(cls) -> Catalogue:
        return cls()

    @staticmethod
    @chaospoint.point("catalogue.key")
    def key(sku: str) -> str:
        return sku.upper()


async def use() -> None:
    assert_type(charge("A-1", cents=5), str)
    assert_type(await refund("A-1"), int)
    assert_type(list(orders()), list[str])
    assert_type([order async for order in stream()], list[str])
    assert_type(Catalogue.make().price("x"), int)
    assert_type(Catalogue.key("x"), str)
    charge(1)  # type: ignore[arg-type]
    charge("A-1", dollars=5)  # type: ignore[call-arg]
    refund("A-1") + 1  # type: ignore[operator]


# -- blocks and statements -----------------------------------------------------------------------


async def statements() -> None:
    query = chaospoint.point("db.query")
    assert_type(query, chaospoint.Point)
    with query:
        query.hit(tenant="acme")
    async with query:
        await query.ahit(tenant="acme")
    chaospoint.point(7)  # type: ignore[arg-type]


# -- arming --------------------------------------------------------------------------------------


def arming() -> None:
    handle = chaospoint.arm(
        "payment.*",
        latency="20ms",
        exception=[TimeoutError, "httpx.ConnectError"],
        failure_rate=0.3,
        when="after",
        where={"order": "A-*"},
        seed=7,
        expires_after="5m",
    )
    assert_type(handle, chaospoint.Armed)
    assert_type(handle.injections, int)
    handle.disarm()
    with chaospoint.armed("payment.charge", hang=True) as armed:
        assert_type(armed, chaospoint.Armed)
    chaospoint.arm("payment.charge", latncy="20ms")  # type: ignore[call-arg]
    chaospoint.arm("payment.charge", times="3")  # type: ignore[arg-type]
    chaospoint.arm("payment.charge", when="befor")  # type: ignore[arg-type]


def plans() -> None:
    plan = chaospoint.Plan.parse("payment.charge=2*raise(TimeoutError)")
    assert_type(plan, chaospoint.Plan)
    rule = chaospoint.Rule(point="payment.charge", latency="1s")
    with chaospoint.armed(plan), chaospoint.armed(rule):
        pass
    try:
        chaospoint.arm("payment.charge", latency="fast")
    except InvalidPlan as error:
        assert_type(error.cure, str | None)
    chaospoint.start(Settings(enabled=True, environment="ci"))


# -- observing -----------------------------------------------------------------------------------


class Tally:
    def __init__(self) -> None:
        self.latencies: list[float] = []

    def observe(self, injection: chaospoint.Injection) -> None:
        self.latencies.append(injection.latency or 0.0)


def observing() -> None:
    chaospoint.Registry.default().add_observer(Tally())
    try:
        charge("A-1")
    except TimeoutError as error:
        assert_type(chaospoint.injection_of(error), chaospoint.Injection | None)


# -- testing -------------------------------------------------------------------------------------


@pytest.mark.chaos("payment.charge", exception=TimeoutError, times=2)
def test_it(chaos: Chaos) -> None:
    assert_type(chaos.arm("payment.charge", returns="x"), chaospoint.Armed)
    assert_type(chaos.injections("payment.charge"), int)
    with chaos.fake_clock():
        pass
    chaos.arm("payment.charge", everry=2)  # type: ignore[call-arg]
