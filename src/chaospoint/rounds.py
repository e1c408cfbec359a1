"""A daemon thread that does something again and again, and ends where it has to: before a fork."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread, current_thread

from chaospoint._bell import Bell
from chaospoint._inside import transparent
from chaospoint._lock import Lock
from chaospoint._start import start

__all__ = ["Rounds"]


class Rounds:
    """Calls ``act`` on a thread, each time after waiting for ``interval()`` seconds.

    ``act`` raises nothing. No point acts in it. `start` and `stop` may be called again and from
    any thread.
    """

    def __init__(self, name: str, interval: Callable[[], float], act: Callable[[], object]) -> None:
        self._name = name
        self._interval = interval
        self._act = act
        self._thread: Thread | None = None
        self.renew()

    def start(self) -> None:
        """Start the thread, unless it runs."""
        with transparent(), self._guard:
            if self._thread is None:
                # A thread that was abandoned, or lost in a fork, keeps the bell it was given.
                self._stop = stop = Bell()
                thread = Thread(target=self._run, args=(stop,), name=self._name, daemon=True)
                start(thread)
                self._thread = thread

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Wake and end the thread; wait for it, but not for ever."""
        with self._guard:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None and thread is not current_thread():
            with transparent():
                thread.join(timeout_seconds)

    def renew(self) -> None:
        """Forget the thread and make the lock anew, in a forked child."""
        self._guard = Lock()
        self._stop = Bell()
        self._thread = None

    def _run(self, stop: Bell) -> None:
        with transparent():
            while not stop.wait(self._interval()):
                self._act()
