"""A change is written, and then every worker is waited for: never by sleeping, but by yielding the
seconds that the caller is to wait, so that threads and tasks wait each in their own way.
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
"""For how long workers are waited for, and a store that somebody else writes."""

STEP_SECONDS = 0.02

LANE_SECONDS = 0.2
"""For how long an order to disable waits for a store that somebody else writes."""

QUEUE_SECONDS = 30.0
"""For how long a writer waits at the most while others write one after another.

The command line waits longer for the answer to a change."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """How many workers there are, and which of them do not run the generation."""

    generation: int
    workers: int
    missing: tuple[Worker, ...] = ()

    @property
    def acknowledged(self) -> int:
        """How many run it."""
        return self.workers - len(self.missing)

    def as_data(self) -> dict[str, object]:
        """Return which generation was written, and which workers run it and which do not."""
        told: dict[str, object] = {
            "generation": self.generation,
            "workers": self.workers,
            "acknowledged": self.acknowledged,
        }
        if self.missing:
            told["missing"] = [
                {
                    "id": one.id,
                    "pid": one.pid,
                    "generation": one.generation,
                    "why": one.refusal
                    or f"still at generation {one.generation}, last report "
                    f"{one.seconds_silent:.1f} s ago",
                }
                for one in self.missing
            ]
        return told


class HasWorkers(Protocol):
    """A store, as far as its workers are concerned."""

    def workers(self) -> tuple[Worker, ...]:
        """Return the workers that are there."""
        ...


def run_blocking(steps: Generator[float, None, T]) -> T:
    """Return what the steps come to; sleep on this thread for as long as they say."""
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

    Where others write one after another this waits for its turn, and is refused as busy where
    nobody gets on: a process that has the lock may be stopped.
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
    """Turn the switch of the store off, whatever it holds and whoever is writing it."""
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
    """How long one writer waits for the others; ``generation`` tells whether they get on."""

    def __init__(self, generation: Callable[[], int], now: Callable[[], float]) -> None:
        self._generation = generation
        self._now = now
        self._began = now()
        self._until = self._began + ACK_TIMEOUT_SECONDS
        self._seen: int | None = None

    def is_over(self) -> bool:
        """Say, at a try that failed, whether to give up."""
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
    """Wait until every worker has brought ``generation`` into force, or refused; not for ever.

    Raises nothing: what is written is written, also where the workers cannot be read.
    """
    began, until = now(), now() + ACK_TIMEOUT_SECONDS
    while True:
        try:
            workers = store.workers()
        except StoreError as error:
            nobody = Worker("", 0, refusal=f"the workers cannot be read: {error}")
            return Acknowledged(generation, 1, (nobody,))
        behind = [one for one in workers if one.generation < generation]
        if not behind or now() >= until:
            missing = [one for one in workers if one.generation < generation or one.refusal]
            return Acknowledged(generation, len(workers), tuple(missing))
        # Looking at many workers takes time, so it is done less often the longer it takes.
        yield min(max(STEP_SECONDS, (now() - began) / 8), 4 * STEP_SECONDS)
