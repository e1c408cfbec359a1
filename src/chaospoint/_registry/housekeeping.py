"""Two background threads that run only while rules are armed.

The expiry thread disarms rules at their deadlines.  It runs no code of the program: it calls no
observer and no log handler, and takes no lock except chaospoint's own.  The housekeeper does the
work that may wait: it notifies observers, logs reminders, flushes counts, and finishes changes that
an interruption cut short.  A blocking observer can hold up the housekeeper, but not the expiry.
Each thread restarts the other if it has died.

The threads start with the first armed rule, or with the first deadline, and end when they find
nothing to do.  A rule expires within the scheduling delay of its deadline.  It does not fire in
that time, because each reach compares the deadline with the clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from math import inf
from threading import Thread, current_thread
from typing import TYPE_CHECKING, Protocol

from chaospoint._kernel import reporting
from chaospoint._kernel.bell import Bell
from chaospoint._kernel.context import own
from chaospoint._kernel.lock import Lock, arming_lock
from chaospoint._kernel.reporting import log
from chaospoint._kernel.threads import OwnThread, Start, restarters

if TYPE_CHECKING:
    from chaospoint._kernel.clock import Clock

__all__ = ["NO_THREAD", "Housekeeper"]


_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_END = 0.5  # an observer may be waiting for what the forking thread holds
NO_THREAD = (
    "no thread can be started to expire rules from outside: allow the process more threads "
    "(ulimit -u, pids.max, TasksMax)"
)
_DIED = "the thread %s died; another one was started in its place"


class Household(Protocol):
    """The engine, as far as the threads use it."""

    @property
    def clock(self) -> Clock:
        """The clock by which rules expire."""
        ...

    @property
    def timer(self) -> Clock:
        """The clock by which the threads wait."""
        ...

    @property
    def housekeeper(self) -> Housekeeper:
        """The threads of this engine."""
        ...

    def deadlines(self, every: bool) -> list[float]:
        """Return the deadlines of the armed rules; ``every`` adds infinity for other rules."""
        ...

    def end_due(self) -> bool:
        """Disarm the rules that are due, without running code of the program."""
        ...

    def expire(self) -> None:
        """Disarm the rules that are due, and notify the observers."""

    def remind(self) -> None:
        """Warn about rules that were armed early and still match no point."""

    def flush(self) -> None:
        """Pass the reaches since the last flush to the observers."""

    def disarm_unkept(self) -> None:
        """Disarm the rules from outside that no thread can expire, and log it."""


class _Thread:
    """A thread that runs its duties in rounds until there is nothing left to do.

    ``every``: rules without a deadline keep it running, too.  ``late``: the seconds that it waits
    after a deadline before its next round.
    """

    name: str
    every: bool
    late: float

    def __init__(self, engine: Household) -> None:
        self._engine = engine
        self._lock = Lock()
        self._look = Bell()
        self._thread: Thread | None = None
        self._starts: list[Start] = []  # an older thread may still be ending
        self._stopping = False
        self._given_up = False  # `stop` did not wait for its end; it is still in the same round
        self._fresh = False  # something was armed since the last round began
        self._wakes_at = inf  # the time of the next round; infinity while the thread is awake

    def start(self, deadline: float = inf) -> bool:
        """Make sure that the thread runs by ``deadline``, the first one of newly armed rules.

        Return False if no thread could be started.
        """
        try:
            if (start := self.begin(deadline)) is not None:
                start.finish()
        except RuntimeError:
            return False
        return True

    def begin(self, deadline: float = inf) -> Start | None:
        """Wake the thread, or return the start of a new one; may raise RuntimeError."""
        with self._lock:
            died, start = self._woken(deadline)
        if died:
            log(logging.ERROR, _DIED, self.name)
        return start

    def _woken(self, deadline: float) -> tuple[bool, Start | None]:
        self._fresh, died = True, False
        if self._thread is not None and (last := self._starts[-1]).over:
            self._thread, died = None, last.error is None
        if self._thread is None and not self._stopping:
            thread = OwnThread(self.name, self._run)
            start = Start(thread)
            self._starts = [*(older for older in self._starts if not older.over), start]
            start.begin()
            self._given_up = False
            self._thread = thread  # a thread that starts before this line ends at once
            return died, start
        if deadline < self._wakes_at:
            self._look.set()  # waking a thread costs more than arming does
        return died, None

    def restart_dead(self) -> None:
        """Start another thread if this one has died."""
        if self._thread is not None:
            self.begin()

    def stop(self) -> None:
        """End the thread and wait for it, for at most half a second; `resume` allows it again.

        If an observer blocks the thread, only the first call waits, and not each fork.
        """
        with self._lock:
            self._stopping = True
            self._look.set()
        for start in self._starts:
            if start.thread is not current_thread():
                start.join(0.0 if self._given_up else _SECONDS_TO_END)
        with self._lock:
            self._given_up = self._thread is not None

    def resume(self) -> bool:
        """Allow the thread again after `stop`, and start it if there is anything to do.

        Return False if no thread could be started.
        """
        with self._lock:
            self._stopping = False
        return self._due_at() is None or self.start()

    def renew(self) -> None:
        """Replace the locks and forget the thread, in a forked child; `resume` starts a new one."""
        self._lock, self._look = Lock(), Bell()
        self._thread, self._starts = None, []

    def _run(self) -> None:
        own.tells_observers = self.every
        goes_on = True
        while goes_on:
            try:
                goes_on = self._round()
            except BaseException:  # an exception that was thrown into this thread must not end it
                Bell().wait(0.01)

    def _round(self) -> bool:
        with self._lock:
            if self._thread is not current_thread():
                return False  # its start was interrupted: another thread runs, or will
            self._look.clear()
            self._given_up = False
            self._fresh, self._wakes_at = False, inf
        for duty in self._duties():
            with suppress(BaseException):
                try:
                    duty()
                except BaseException:  # an observer may raise SystemExit
                    reporting.report_bug("housekeeping of armed rules")
        until = self._due_at()
        with self._lock:
            if self._stopping or (until is None and not self._fresh):
                self._thread = None
                return False
            now = self._engine.clock.monotonic()
            self._wakes_at = until = now if until is None else until
        self._engine.timer.wait(self._look, max(0.0, until - now))
        return True

    def _duties(self) -> tuple[Callable[[], object], ...]:
        raise NotImplementedError

    def _due_at(self) -> float | None:
        """Return the time of the next round, or None if there is nothing to do."""
        first = min(self._engine.deadlines(self.every), default=None)
        if first is None:
            return None
        now = self._engine.clock.monotonic()
        return min(now + _SECONDS_BETWEEN_LOOKS, max(now, first) + self.late)


class _Expiry(_Thread):
    """Disarms rules at their deadlines."""

    name, every, late = "chaospoint-expiry", False, 0.0

    def _duties(self) -> tuple[Callable[[], object], ...]:
        return (self._end_due,)

    def _end_due(self) -> None:
        housekeeper, ended = self._engine.housekeeper, self._engine.end_due()
        with arming_lock:  # the housekeeper writes the log: handlers are code of the program
            if ended:
                housekeeper.begin(-inf)
            else:
                housekeeper.restart_dead()


class Housekeeper(_Thread):
    """The threads of one engine: notifies observers itself, and owns the expiry thread."""

    name, every, late = "chaospoint-keeper", True, 0.25

    def __init__(self, engine: Household) -> None:
        super().__init__(engine)
        self._expiry = _Expiry(engine)

    def start(self, deadline: float = inf) -> bool:
        """Make sure that both threads run, as far as newly armed rules need them."""
        return (deadline == inf or self._expiry.start(deadline)) and super().start(deadline)

    def stop(self) -> None:
        """End both threads."""
        self._expiry.stop()
        super().stop()

    def resume(self) -> bool:
        """Allow both threads again; disarm what came from outside if one cannot be started."""
        resumed = all([self._expiry.resume(), super().resume()])
        if not resumed:
            self._engine.disarm_unkept()
        return resumed

    def renew(self) -> None:
        """Forget both threads, in a forked child."""
        self._expiry.renew()
        super().renew()

    def _duties(self) -> tuple[Callable[[], object], ...]:
        engine = self._engine
        restarts = (self._expiry.restart_dead, *restarters)
        return (engine.expire, *restarts, arming_lock.carry_out, engine.remind, engine.flush)
