"""Count the replies in flight, so that a fork or the end of the server can wait for them."""

from __future__ import annotations

from threading import Condition

from chaospoint._kernel.lock import Lock

__all__ = ["InFlight"]


class InFlight:
    """A gate that counts: use ``with replies:`` around computing and sending one reply.

    While the gate is shut, threads wait in front of it.  Once it is closed for good, they get a
    `ConnectionAbortedError`.  Safe from any thread.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._changed = Condition(self._lock)  # type: ignore[arg-type]  # any lock will do
        self._count = 0
        self._shut = False
        self._closed = False

    @property
    def count(self) -> int:
        """The number of replies in flight."""
        return self._count

    def __enter__(self) -> None:
        with self._lock:
            self._changed.wait_for(lambda: self._closed or not self._shut)
            if self._closed:
                raise ConnectionAbortedError("the admin endpoint has been stopped")
            self._count += 1

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._count -= 1
            self._changed.notify_all()

    def shut(self, timeout_seconds: float) -> bool:
        """Shut the gate and wait for the replies in flight; return whether all have ended."""
        with self._lock:
            self._shut = True
        return self.wait(timeout_seconds)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the replies in flight; return whether all have ended."""
        with self._lock:
            return self._changed.wait_for(lambda: not self._count, timeout_seconds)

    def open(self) -> None:
        """Open the gate again."""
        with self._lock:
            self._shut = False
            self._changed.notify_all()

    def close(self) -> None:
        """Close the gate for good, also to the threads that wait."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()
