"""What holds for an order whatever fails: as they stand quick tests, and made to be explored.

    pytest examples/shop/test_explored.py --chaos-explore

fails every call that reaches a chaos point on the way of these orders, once each, in every way
that its placement declares, and after it succeeded, and ten minutes late. What the tests look at
themselves, they look at through nothing that has a chaos point.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import bank
import httpx
import pytest
from shop import Shop, api
from store import Store


class Town:
    """A shop, its bank and a customer; every message is a real one, through no socket."""

    def __init__(self, directory: Path) -> None:
        bank.charged.clear()
        self.path = directory / "shop.db"
        self.store = Store(f"sqlite:///{self.path}")

    def buy(self, *items: str) -> list[httpx.Response]:
        """Order these one after another; every answer is one that the shop meant to give."""
        return asyncio.run(self._buy(items))

    async def _buy(self, items: tuple[str, ...]) -> list[httpx.Response]:
        to_bank = httpx.ASGITransport(bank.app)
        async with httpx.AsyncClient(transport=to_bank, base_url="http://bank") as line:
            # An error that the shop does not answer would come out of here.
            to_shop = httpx.ASGITransport(api(Shop(line, self.store, patience=30, pause=0)))
            async with httpx.AsyncClient(transport=to_shop, base_url="http://shop") as customer:
                return [
                    await customer.post("/orders", json={"item": item, "cents": 4200})
                    for item in items
                ]

    def settled(self, answer: httpx.Response) -> None:
        """Assert that what the customer was told is what happened."""
        if answer.status_code == 503:
            return  # nobody was charged: that is counted
        order = answer.json()
        kept = self.kept(order["id"])
        if answer.status_code == 201:
            assert kept == order["status"] == "paid"
            assert bank.charged[order["id"]] == 4200
        else:
            assert answer.status_code == 202
            assert order["status"] == "pending"
            assert kept is not None

    def kept(self, order_id: str) -> str | None:
        """The status of an order in the database."""
        with closing(sqlite3.connect(self.path)) as database:
            rows = database.execute("SELECT status FROM orders WHERE id = ?", [order_id])
            return next((status for (status,) in rows), None)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path)
    yield town
    town.store.close()


def test_an_order_is_answered_truly(town: Town) -> None:
    (answer,) = town.buy("lamp")
    town.settled(answer)
    assert len(bank.charged) <= (answer.status_code != 503)


def test_what_befalls_one_order_leaves_the_next_alone(town: Town) -> None:
    answers = town.buy("lamp", "lamp")
    for answer in answers:
        town.settled(answer)
    assert len(bank.charged) <= sum(answer.status_code != 503 for answer in answers)
