"""Integration tests of the shop: real HTTP messages, a real database, faults toggled by tests.

The bank runs in this process too; httpx speaks to both applications without a socket.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bank
import httpx
import pytest
from shop import Shop, api
from store import Store

import chaospoint

FAR_AWAY = {"type": httpx.ConnectTimeout, "args": ["the bank is far away"]}
LOCKED = {"type": sqlite3.OperationalError, "args": ["database is locked"]}


class Town:
    """A shop, its bank and a customer, on an event loop of their own."""

    def __init__(self, directory: Path, patience: float) -> None:
        bank.charged.clear()
        self._loop = asyncio.Runner()
        self._store = Store(f"sqlite:///{directory / 'shop.db'}")
        to_bank = httpx.ASGITransport(bank.app)
        shop = Shop(
            httpx.AsyncClient(transport=to_bank, base_url="http://bank"),
            self._store,
            patience=patience,
            pause=0,
        )
        to_shop = httpx.ASGITransport(api(shop))
        self._customer = httpx.AsyncClient(transport=to_shop, base_url="http://shop")

    def order(self) -> httpx.Response:
        return self._loop.run(self._customer.post("/orders", json={"item": "lamp", "cents": 4200}))

    def kept(self, answer: httpx.Response) -> str | None:
        """The status of the order in the database."""
        return self._store.status(answer.json()["id"])

    def close(self) -> None:
        self._loop.close()
        self._store.close()


@contextmanager
def opened(directory: Path, patience: float = 30.0) -> Iterator[Town]:
    town = Town(directory, patience)
    try:
        yield town
    finally:
        town.close()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with opened(tmp_path) as town:
        yield town


def test_an_order_is_paid(town: Town) -> None:
    answer = town.order()
    assert answer.status_code == 201
    assert answer.json()["stock"] == "checked"
    assert town.kept(answer) == "paid"
    assert bank.charged == {answer.json()["id"]: 4200}


def test_the_retry_hides_two_bank_timeouts(town: Town) -> None:
    with chaospoint.armed("payment.charge", exception=FAR_AWAY, times=2) as armed:
        answer = town.order()
    assert armed.injections == 2
    assert answer.status_code == 201
    assert town.kept(answer) == "paid"


def test_when_the_bank_is_down_the_order_is_kept_as_pending(town: Town) -> None:
    with chaospoint.armed("payment.charge", exception=FAR_AWAY) as armed:
        answer = town.order()
    assert armed.injections == 3
    assert answer.status_code == 202
    assert town.kept(answer) == "pending"
    assert bank.charged == {}


def test_when_the_bank_hangs_the_customer_is_answered_all_the_same(tmp_path: Path) -> None:
    """The point is inside the timeout, so the timeout is put to the test too."""
    with (
        opened(tmp_path, patience=0.02) as town,
        chaospoint.armed("payment.charge", hang=True) as armed,
    ):
        answer = town.order()
        assert answer.status_code == 202
        assert town.kept(answer) == "pending"
    assert armed.injections == 3


def test_without_the_inventory_the_shop_sells_on_trust(town: Town) -> None:
    down = chaospoint.Rule(point="inventory.check", exception="sqlalchemy.exc.TimeoutError")
    with chaospoint.armed(down):
        answer = town.order()
    assert answer.status_code == 201
    assert answer.json()["stock"] == "assumed"


def test_a_locked_database_is_asked_again(town: Town) -> None:
    with chaospoint.armed("db.query", exception=LOCKED, skip=1, times=3) as armed:
        answer = town.order()
    assert armed.injections == 3
    assert armed.reaches == 1 + 3 + 2  # the stock; three failures; the order, and that it is paid
    assert town.kept(answer) == "paid"


def test_nobody_pays_for_an_order_that_could_not_be_kept(town: Town) -> None:
    with chaospoint.armed("db.query", exception=LOCKED):
        answer = town.order()
    assert answer.status_code == 503
    assert bank.charged == {}


def test_a_payment_that_cannot_be_noted_leaves_the_order_pending(town: Town) -> None:
    with chaospoint.armed("db.query", exception=LOCKED, skip=2):
        answer = town.order()
    assert answer.status_code == 202
    assert town.kept(answer) == "pending"
    assert bank.charged == {answer.json()["id"]: 4200}


def test_the_transaction_is_not_begun_when_its_block_fails(town: Town) -> None:
    with chaospoint.armed("orders.save", exception="sqlalchemy.exc.TimeoutError", times=1) as armed:
        answer = town.order()
    assert armed.injections == 1
    assert town.kept(answer) == "paid"


def test_an_attempt_is_logged_with_what_was_injected(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLAlchemy wraps the injected error in its own; it is recognised through its cause."""
    caplog.set_level("INFO", "shop.attempts")
    with chaospoint.armed("db.query", exception=LOCKED, skip=1, times=1):
        town.order()
    assert '"error": "OperationalError", "injected": "db.query exception"' in caplog.text
