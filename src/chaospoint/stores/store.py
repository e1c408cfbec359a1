"""What a store has to do, whatever carries it: keep one document, and know who is there.

`tests/stores` holds every store to this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from chaospoint.stores.desired import Desired

__all__ = ["Edit", "Store", "Worker"]


Edit = Callable[["Desired"], "Desired"]
"""A pure change of the document; it may be called more than once, and may refuse by raising."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that reconciles to the store, as it last told of itself.

    ``id`` is random, ``parent`` the id of the worker it was forked from. ``generation`` is the
    latest that it has brought into force; with a ``refusal``, the reason why not all of it.
    ``points`` are the names it knows, so many as there is room for. ``admin`` is where it serves
    the admin endpoint, or empty. ``started_at``: seconds since 1970. ``seconds_silent``: since it
    was heard of last, as the store sees it.
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
    """Keeps the document and the workers. Safe from any thread; never waits for long.

    Every method raises `StoreError` if the store cannot be used, and then nothing was changed.
    """

    @property
    def url(self) -> str:
        """Where it is, for messages."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other processes can see it."""
        ...

    def read(self) -> Desired:
        """Return the document; that of generation 0 if none was ever written. Cheap if nothing
        has changed since it was read last."""
        ...

    def update(self, edit: Edit, *, at_least: int = 0, ignore_unreadable: bool = False) -> Desired:
        """Replace the document by what ``edit`` makes of it, at once and whole; return that.

        Two updates never overlap. ``at_least``: the generation of the new document is higher than
        this one, too. ``whatever``: a document that cannot be read counts as an empty one. Raises
        what ``edit`` raises; `StoreBusy` if another update is going on: try again.
        """
        ...

    def halt(self, *, by: str, now: float, reason: str = "", at_least: int = 0) -> Desired:
        """Turn the switch off while another update is going on, and may never end; return the
        document as it counts from now on.

        The order stays in force whatever that update writes. ``at_least``: as in `update`.
        """
        ...

    def report(self, worker: Worker) -> None:
        """Tell of a worker, for the first time, after a change, and as its heartbeat."""

    def leave(self, worker_id: str) -> None:
        """Forget a worker that ends; no error if it is not known."""

    def workers(self) -> tuple[Worker, ...]:
        """Return the workers that are there, in the order of their start; not those that died."""
        ...

    def renew(self) -> None:
        """Begin anew in a forked child: make locks anew, close what was inherited."""
