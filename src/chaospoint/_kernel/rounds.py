"""A daemon thread that does something again and again, and ends where it has to: before a fork."""

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
from chaospoint._kernel.threads import OwnThread, start, tended

__all__ = ["Rounds"]

_REST_SECONDS = 0.1
_running: set[Rounds] = set()


class Rounds:
    """Calls ``act`` on a thread, each time after waiting for ``interval()`` seconds.

    No point acts in it, and observers are told on another thread. What ``act`` raises is logged
    and ends nothing. Each such thread replaces the others that have ended before their time.
    `start` and `stop` may be called again and from any thread.
    """

    def __init__(self, name: str, interval: Callable[[], float], act: Callable[[], object]) -> None:
        self._name = name
        self._interval = interval
        self._act = act
        self._thread: Thread | None = None
        self.renew()

    def start(self) -> None:
        """Start the thread, unless it runs."""
        with self._guard:
            if self._thread is None:
                transparently(self._begin)

    def _begin(self) -> None:
        # A thread that was abandoned, or lost in a fork, keeps the bell it was given.
        self._stop = stop = Bell()
        thread = OwnThread(self._name, partial(self._run, stop))
        start(thread)
        self._thread = thread
        _running.add(self)

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Wake and end the thread; wait for it, but not for ever."""
        with self._guard:
            thread, self._thread = self._thread, None
            _running.discard(self)
            self._stop.set()
        if thread is not None and thread is not current_thread():
            transparently(thread.join, timeout_seconds)

    def tend(self) -> None:
        """Start another thread if this one has ended before its time."""
        thread = self._thread
        if thread is None or thread.is_alive():
            return
        with self._guard:
            if self._thread is not thread:
                return  # it was stopped, or replaced
            transparently(self._begin)
        LOGGER.log(
            logging.ERROR,
            "the thread %s had ended before its time; another one runs in its place",
            self._name,
        )

    def renew(self) -> None:
        """Forget the thread and make the lock anew, in a forked child."""
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
            _tend_all()
        except BaseException:  # an observer or a handler of the log may raise SystemExit
            _report(self._name)
            return not stop.wait(_REST_SECONDS)
        return True


def _report(name: str) -> None:
    try:
        reporting.report_bug(f"a round of {name}", "it is made again", foreign=True)
    except BaseException:  # what a handler of the log raises ends nothing, either
        return


def _tend_all() -> None:
    for rounds in _running.copy():  # in one step, because other threads start and stop some
        rounds.tend()


tended.append(_tend_all)
