"""Steady real orders: a fixed rate, whether or not the shop keeps up, as customers come."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

ORDER = {"item": "lamp", "cents": 4_200}
AT_MOST = 64  # orders under way at once


@dataclass(frozen=True, slots=True)
class Answer:
    """How one order went: when it was due, how long it took from then, the status (0: none)."""

    due: float
    seconds: float
    status: int


@dataclass(frozen=True, slots=True)
class Load:
    """How a number of orders went. Times are in seconds, from when an order was due."""

    seconds: float
    answers: tuple[Answer, ...]
    statuses: Counter[int]
    p50: float
    p95: float
    p99: float

    @property
    def orders(self) -> int:
        return self.statuses.total()

    @property
    def per_second(self) -> float:
        return self.orders / self.seconds

    @property
    def success(self) -> float:
        """The share of orders that the shop took and the bank was charged for."""
        return self.statuses[201] / self.orders


async def send(
    shop: httpx.AsyncClient, *, rate: float, count: int, each: Callable[[], None] = lambda: None
) -> Load:
    """Send `count` orders, `rate` a second, and return when the last one is answered.

    An order's time runs from the moment it was due. Counted from when it was really sent, a slow
    shop would hold up the very orders that would show how slow it is.
    """
    begun = time.perf_counter()
    free = asyncio.Semaphore(AT_MOST)

    async def order(due: float) -> Answer:
        try:
            status = (await shop.post("/orders", json=ORDER)).status_code
        except httpx.TransportError:
            status = 0  # no answer
        finally:
            free.release()
            each()
        return Answer(due, time.perf_counter() - due, status)

    async with asyncio.TaskGroup() as group:
        orders = []
        for number in range(count):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await free.acquire()
            orders.append(group.create_task(order(due)))
    seconds = time.perf_counter() - begun
    answers = tuple(order.result() for order in orders)
    statuses = Counter(answer.status for answer in answers)
    return Load(seconds, answers, statuses, *percentiles([answer.seconds for answer in answers]))


def percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """The 50th, 95th and 99th percentile; of a single value, that value."""
    if len(seconds) == 1:
        return seconds[0], seconds[0], seconds[0]
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98]
