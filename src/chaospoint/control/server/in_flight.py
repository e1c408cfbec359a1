"""Replies under way are counted, so that what ends a server, or forks, lets them out first."""

from __future__ import annotations

from threading import Condition

from chaospoint._kernel.lock import Lock

__all__ = ["Replies"]


class Replies:
    """A gate with a count: ``with replies:`` around making and sending one reply.

    While it is shut, those who come wait in front of it; when it is closed for good they get a
    `ConnectionAbortedError`. Safe from any thread.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._changed = Condition(self._lock)  # type: ignore[arg-type]  # any lock will do
        self._under_way = 0
        self._shut = False
        self._closed = False

    @property
    def under_way(self) -> int:
        """How many are under way."""
        return self._under_way

    def __enter__(self) -> None:
        with self._lock:
            self._changed.wait_for(lambda: self._closed or not self._shut)
            if self._closed:
                raise ConnectionAbortedError("the admin endpoint has been stopped")
            self._under_way += 1

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._under_way -= 1
            self._changed.notify_all()

    def shut(self, timeout_seconds: float) -> bool:
        """Let no more begin, and wait for those under way; say whether all of them are out."""
        with self._lock:
            self._shut = True
        return self.wait(timeout_seconds)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for those under way; say whether all of them are out."""
        with self._lock:
            return self._changed.wait_for(lambda: not self._under_way, timeout_seconds)

    def open(self) -> None:
        """Let them begin again."""
        with self._lock:
            self._shut = False
            self._changed.notify_all()

    def close(self) -> None:
        """Let none begin any more, nor those who wait."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()
