"""A daemon thread that calls a function again and again, and can end before a fork."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from threading import Thread, current_thread

from chaospoint._kernel import reporting
from chaospoint._kernel.bell import Bell
from chaospoint._kernel.context import own, transparently
from chaospoint._kernel.lock import Lock
from chaospoint._kernel.logger import LOGGER
from chaospoint._kernel.threads import OwnThread, restarters, start

__all__ = ["Rounds"]

_REST_SECONDS = 0.1
_running: set[Rounds] = set()


class Rounds:
    """Calls ``act`` in a thread, each time after waiting for ``interval()`` seconds.

    Points are transparent in the thread, and it informs no observers. An exception of ``act`` is
    logged and does not end the thread. Each of these threads replaces others that have ended
    unexpectedly. `start` and `stop` are thread-safe and may be called repeatedly.
    """

    def __init__(self, name: str, interval: Callable[[], float], act: Callable[[], object]) -> None:
        self._name = name
        self._interval = interval
        self._act = act
        self._thread: Thread | None = None
        self.renew()

    def start(self) -> None:
        """Start the thread unless it is running."""
        with self._guard:
            if self._thread is None:
                transparently(self._begin)

    def _begin(self) -> None:
        # A new bell, because a thread that did not end in time keeps waiting for the old one.
        self._stop = stop = Bell()
        thread = OwnThread(self._name, partial(self._run, stop))
        start(thread)
        self._thread = thread
        _running.add(self)

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End the thread; wait up to ``timeout_seconds`` for that."""
        with self._guard:
            thread, self._thread = self._thread, None
            _running.discard(self)
            self._stop.set()
        if thread is not None and thread is not current_thread():
            transparently(thread.join, timeout_seconds)

    def restart_if_dead(self) -> None:
        """Start another thread if this one has ended unexpectedly."""
        thread = self._thread
        if thread is None or thread.is_alive():
            return
        with self._guard:
            if self._thread is not thread:
                return  # stopped or replaced meanwhile
            transparently(self._begin)
        LOGGER.log(
            logging.ERROR,
            "the thread %s died; another one was started in its place",
            self._name,
        )

    def renew(self) -> None:
        """Discard the thread and create a new lock, in a forked child."""
        self._guard = Lock()
        self._stop = Bell()
        self._thread = None
        _running.discard(self)

    def _run(self, stop: Bell) -> None:
        own.tells_observers = False
        while self._round(stop):
            pass

    def _round(self, stop: Bell) -> bool:
        try:
            if stop.wait(self._interval()):
                return False
            self._act()
            _restart_dead()
        except BaseException:  # a log handler may raise SystemExit
            _report(self._name)
            return not stop.wait(_REST_SECONDS)
        return True


def _report(name: str) -> None:
    try:
        reporting.report_bug(f"a round of {name}", "it is repeated", foreign=True)
    except BaseException:  # an exception of a log handler does not end the thread, either
        return


def _restart_dead() -> None:
    for rounds in _running.copy():  # an atomic copy, because other threads change the set
        rounds.restart_if_dead()


restarters.append(_restart_dead)
