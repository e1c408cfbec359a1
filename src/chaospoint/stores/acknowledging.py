"""Write a change to a store, and wait until every worker has applied it.

The generators here never sleep. They yield the number of seconds to wait, so that threads and
asyncio tasks can both run them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Protocol, TypeVar

from chaospoint.errors import StoreBusy, StoreError
from chaospoint.stores.store import Edit, Store, Worker

if TYPE_CHECKING:
    from chaospoint.stores.desired import Desired

__all__ = [
    "ACK_TIMEOUT_SECONDS",
    "LANE_SECONDS",
    "QUEUE_SECONDS",
    "STEP_SECONDS",
    "Acknowledged",
    "HasWorkers",
    "Queue",
    "acknowledged",
    "disabled",
    "run_blocking",
    "updated",
]

T = TypeVar("T")

ACK_TIMEOUT_SECONDS = 2.0
"""How long to wait for the workers, or for a store that another process is writing."""

STEP_SECONDS = 0.02

LANE_SECONDS = 0.2
"""How long an order to disable waits for a store that another process is writing."""

QUEUE_SECONDS = 30.0
"""How long a writer waits at most while other processes write one after another.

The command line waits longer than this for the response to a change."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The number of workers, and the workers that do not run the generation."""

    generation: int
    workers: int
    missing: tuple[Worker, ...] = ()

    @property
    def acknowledged(self) -> int:
        """The number of workers that run the generation."""
        return self.workers - len(self.missing)

    def as_data(self) -> dict[str, object]:
        """Return the generation and its workers as JSON data."""
        data: dict[str, object] = {
            "generation": self.generation,
            "workers": self.workers,
            "acknowledged": self.acknowledged,
        }
        if self.missing:
            data["missing"] = [
                {
                    "id": worker.id,
                    "pid": worker.pid,
                    "generation": worker.generation,
                    "why": worker.refusal
                    or f"still at generation {worker.generation}, last report "
                    f"{worker.seconds_silent:.1f} s ago",
                }
                for worker in self.missing
            ]
        return data


class HasWorkers(Protocol):
    """The part of a store that lists its workers."""

    def workers(self) -> tuple[Worker, ...]:
        """Return the live workers."""
        ...


def run_blocking(steps: Generator[float, None, T]) -> T:
    """Run the generator to its end and return its result; sleep between its steps."""
    with closing(steps):
        try:
            while True:
                sleep(next(steps))
        except StopIteration as end:
            result: T = end.value
            return result


def updated(
    store: Store,
    edit: Edit,
    *,
    at_least: int = 0,
    ignore_unreadable: bool = False,
    now: Callable[[], float] = monotonic,
) -> Generator[float, None, Desired]:
    """Update the store, and try again while it is busy; raises what `Store.update` raises.

    While other processes write one after another, this waits for its turn. It raises `StoreBusy`
    if the generation stops rising, because the process that holds the lock may be suspended.
    """
    queue = Queue(lambda: store.read().generation, now)
    while True:
        try:
            return store.update(edit, at_least=at_least, ignore_unreadable=ignore_unreadable)
        except StoreBusy:
            if queue.is_over():
                raise
        yield STEP_SECONDS


def disabled(
    store: Store,
    *,
    by: str,
    wall: Callable[[], float],
    reason: str = "",
    at_least: int = 0,
    now: Callable[[], float] = monotonic,
) -> Generator[float, None, Desired]:
    """Disable the store, even if its document is unreadable or another process is writing it."""
    until = now() + LANE_SECONDS
    while True:
        try:
            return store.update(
                lambda desired: desired.disable(by=by, now=wall(), reason=reason),
                at_least=at_least,
                ignore_unreadable=True,
            )
        except StoreBusy:
            if now() >= until:
                return store.halt(by=by, now=wall(), reason=reason, at_least=at_least)
        yield STEP_SECONDS


class Queue:
    """Decides how long one writer waits for others; a rising ``generation`` shows progress."""

    def __init__(self, generation: Callable[[], int], now: Callable[[], float]) -> None:
        self._generation = generation
        self._now = now
        self._began = now()
        self._until = self._began + ACK_TIMEOUT_SECONDS
        self._seen: int | None = None

    def is_over(self) -> bool:
        """Return, after a failed attempt, whether to give up."""
        try:
            if self._seen is None:
                self._seen = self._generation()
            if self._now() < self._until:
                return False
            before, self._seen = self._seen, self._generation()
        except StoreError:
            return self._now() >= self._until
        last = self._began + QUEUE_SECONDS
        self._until = min(self._now() + ACK_TIMEOUT_SECONDS, last)
        return self._seen == before or self._now() >= last


def acknowledged(
    store: HasWorkers, generation: int, *, now: Callable[[], float] = monotonic
) -> Generator[float, None, Acknowledged]:
    """Wait until every worker has applied or refused ``generation``; at most ACK_TIMEOUT_SECONDS.

    Raises nothing, because the change is already written. If the workers cannot be read, the
    result names one missing worker with the error.
    """
    began, until = now(), now() + ACK_TIMEOUT_SECONDS
    while True:
        try:
            workers = store.workers()
        except StoreError as error:
            unreadable = Worker("", 0, refusal=f"the workers cannot be read: {error}")
            return Acknowledged(generation, 1, (unreadable,))
        behind = [worker for worker in workers if worker.generation < generation]
        if not behind or now() >= until:
            missing = [each for each in workers if each.generation < generation or each.refusal]
            return Acknowledged(generation, len(workers), tuple(missing))
        # Reading many workers takes time, so poll less often as the wait grows.
        yield min(max(STEP_SECONDS, (now() - began) / 8), 4 * STEP_SECONDS)
