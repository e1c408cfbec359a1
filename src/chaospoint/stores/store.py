"""The interface of a store, which keeps one document and a list of workers.

`tests/stores` checks every store against this interface.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from chaospoint.stores.desired import Desired

__all__ = ["Edit", "Store", "Worker"]


Edit = Callable[["Desired"], "Desired"]
"""A pure change of the document; a store may call it more than once. It refuses by raising."""


@dataclass(frozen=True, slots=True)
class Worker:
    """The latest report of a process that reconciles to the store.

    ``id`` is random; ``parent`` is the id of the worker from which it was forked. ``generation``
    is the latest generation that it applied, and ``refusal`` the reason why a part of that was
    refused, or empty. ``points`` are the names of its points, up to a limit. ``admin`` is the
    address of its admin endpoint, or empty. ``started_at`` is in seconds since 1970, and
    ``seconds_silent`` are the seconds since its latest report, on the clock of the store.
    """

    id: str
    pid: int
    parent: str = ""
    generation: int = 0
    enabled: bool = True
    refusal: str = ""
    admin: str = ""
    points: tuple[str, ...] = ()
    version: str = ""
    started_at: float = 0.0
    seconds_silent: float = 0.0


class Store(Protocol):
    """Keeps the document and the workers. Safe from any thread; never blocks for long.

    Every method raises `StoreError` if the store is unusable, and then has changed nothing.
    """

    @property
    def url(self) -> str:
        """The URL of the store, for messages."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other processes can use the same store."""
        ...

    def read(self) -> Desired:
        """Return the document, or one of generation 0 if the store is empty. Cheap if the
        document has not changed since the latest read."""
        ...

    def update(self, edit: Edit, *, at_least: int = 0, ignore_unreadable: bool = False) -> Desired:
        """Replace the document atomically by the result of ``edit``; return the new document.

        Two updates never overlap. The new generation is higher than ``at_least``. With
        ``ignore_unreadable``, a document that cannot be read counts as an empty one. Raises
        what ``edit`` raises, and `StoreBusy` during another update: try again.
        """
        ...

    def halt(self, *, by: str, now: float, reason: str = "", at_least: int = 0) -> Desired:
        """Disable the store during another update, which may never end; return the document
        that is now in force.

        The other update cannot undo the order. ``at_least`` is as in `update`.
        """
        ...

    def report(self, worker: Worker) -> None:
        """Record a worker: when it starts, after a change, and as its heartbeat."""

    def leave(self, worker_id: str) -> None:
        """Remove a worker that ends; an unknown id is not an error."""

    def workers(self) -> tuple[Worker, ...]:
        """Return the live workers, in the order of their start."""
        ...

    def renew(self) -> None:
        """Reset the store in a forked child: make new locks, and close inherited files."""
