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
    "PATIENCE_SECONDS",
    "STEP_SECONDS",
    "Acknowledged",
    "HasWorkers",
    "acknowledged",
    "updated",
    "waited_for",
]

T = TypeVar("T")

PATIENCE_SECONDS = 2.0
"""For how long workers are waited for, and a store that somebody else writes."""

STEP_SECONDS = 0.02


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
                    or f"it runs generation {one.generation}, and was heard of "
                    f"{one.seconds_silent:.1f} s ago",
                }
                for one in self.missing
            ]
        return told


class HasWorkers(Protocol):
    """A store, as far as its workers are concerned."""

    def workers(self) -> tuple[Worker, ...]:
        """Return the workers that are there."""


def waited_for(steps: Generator[float, None, T]) -> T:
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
    whatever: bool = False,
    now: Callable[[], float] = monotonic,
) -> Generator[float, None, Desired]:
    """Update the store, and try again while it is busy; raises what `Store.update` raises."""
    until = now() + PATIENCE_SECONDS
    while True:
        try:
            return store.update(edit, at_least=at_least, whatever=whatever)
        except StoreBusy:
            if now() >= until:
                raise
        yield STEP_SECONDS


def acknowledged(
    store: HasWorkers, generation: int, *, now: Callable[[], float] = monotonic
) -> Generator[float, None, Acknowledged]:
    """Wait until every worker has brought ``generation`` into force, or refused; not for ever.

    Raises nothing: what is written is written, also where the workers cannot be read.
    """
    began, until = now(), now() + PATIENCE_SECONDS
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
