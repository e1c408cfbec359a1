"""The store of one process, which keeps everything in memory."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic

from chaospoint._kernel.lock import Lock
from chaospoint.stores.desired import Desired
from chaospoint.stores.store import Edit, Worker

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps the document in this process; safe from any thread."""

    url = "memory:"
    shared = False

    def __init__(self) -> None:
        self._guard = Lock()
        self._desired = Desired()
        self._workers: dict[str, tuple[Worker, float]] = {}

    def read(self) -> Desired:
        """Return the document."""
        return self._desired

    def update(self, edit: Edit, *, at_least: int = 0, ignore_unreadable: bool = False) -> Desired:
        """Replace the document by the result of ``edit``."""
        del ignore_unreadable  # this document is always readable
        with self._guard:
            self._desired = desired = edit(self._desired.no_older_than(at_least))
        return desired

    def halt(self, *, by: str, now: float, reason: str = "", at_least: int = 0) -> Desired:
        """Turn the switch off."""
        return self.update(
            lambda desired: desired.disable(by=by, now=now, reason=reason), at_least=at_least
        )

    def report(self, worker: Worker) -> None:
        """Record a worker."""
        with self._guard:
            self._workers[worker.id] = worker, monotonic()

    def leave(self, worker_id: str) -> None:
        """Remove a worker."""
        with self._guard:
            self._workers.pop(worker_id, None)

    def workers(self) -> tuple[Worker, ...]:
        """Return the workers: usually one."""
        now = monotonic()
        with self._guard:
            known = list(self._workers.values())
        silent = [replace(one, seconds_silent=now - heard) for one, heard in known]
        return tuple(sorted(silent, key=lambda one: one.started_at))

    def renew(self) -> None:
        """Reset in a forked child, whose memory holds no other worker."""
        self._guard = Lock()
        self._workers = {}
