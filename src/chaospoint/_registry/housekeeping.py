"""The two threads of the kernel, which run only while rules are armed.

One ends rules at their deadlines, and runs no code of the program: no observer, no handler of the
log, no lock but ours.  The other one does what may wait: it tells observers, writes reminders and
counts, and finishes what an interruption left.  Code of the program may block it for ever, and
rules expire all the same.  Each replaces the other where that has ended too early.

They start with the first armed rule, or with the first deadline, and end by themselves when a look
finds nothing to do.  A rule may thus expire late by what the machine's scheduler takes, and does
not act meanwhile, because each reach compares its deadline with the clock.
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
    "no thread can be started to end what is armed from outside: allow the process more threads "
    "(ulimit -u, pids.max, TasksMax)"
)
_DIED = "the thread %s had ended before its time; another one runs in its place"


class Household(Protocol):
    """What the threads look after."""

    @property
    def clock(self) -> Clock:
        """The time by which rules expire."""
        ...

    @property
    def timer(self) -> Clock:
        """The clock by which the threads wait."""
        ...

    @property
    def housekeeper(self) -> Housekeeper:
        """The threads."""
        ...

    def deadlines(self, every: bool) -> list[float]:
        """Return when the armed rules expire; infinity for ``every`` one that does not."""
        ...

    def end_due(self) -> bool:
        """Disarm the rules whose time has come, and run no code of the program."""
        ...

    def expire(self) -> None:
        """Disarm the rules whose time has come, and tell of it."""

    def remind(self) -> None:
        """Say which rules, armed before there were points, have found none after a while."""

    def flush(self) -> None:
        """Tell of the reaches since this was done last."""

    def disarm_unkept(self) -> None:
        """Disarm the rules from outside that no thread can end, and say so."""


class _Thread:
    """A thread that looks after an engine, again and again, until there is nothing to do.

    ``every``: it looks after rules without a deadline, too.  ``late``: how many seconds after the
    first deadline it looks again.
    """

    name: str
    every: bool
    late: float

    def __init__(self, engine: Household) -> None:
        self._engine = engine
        self._lock = Lock()
        self._look = Bell()
        self._thread: Thread | None = None
        self._starts: list[Start] = []  # an older one may be there for a moment longer
        self._stopping = False
        self._given_up = False  # it did not end in time, and is in the same round still
        self._fresh = False  # something was armed since the thread looked
        self._wakes_at = inf  # while the thread is awake, or there is none

    def start(self, deadline: float = inf) -> bool:
        """Look after what was armed just now, the first of which expires at ``deadline``.

        Return False if no thread could be started.
        """
        try:
            if (start := self.begin(deadline)) is not None:
                start.finish()
        except RuntimeError:
            return False
        return True

    def begin(self, deadline: float = inf) -> Start | None:
        """Have the thread look, or return the start of a new one, which may raise RuntimeError."""
        with self._lock:
            died, start = self._called(deadline)
        if died:
            log(logging.ERROR, _DIED, self.name)
        return start

    def _called(self, deadline: float) -> tuple[bool, Start | None]:
        self._fresh, died = True, False
        if self._thread is not None and (last := self._starts[-1]).over:
            self._thread, died = None, last.error is None
        if self._thread is None and not self._stopping:
            thread = OwnThread(self.name, self._run)
            start = Start(thread)
            self._starts = [*(older for older in self._starts if not older.over), start]
            start.begin()
            self._given_up = False
            self._thread = thread  # one whose start is interrupted before this ends at once
            return died, start
        if deadline < self._wakes_at:
            self._look.set()  # waking a thread costs more than arming does
        return died, None

    def tend(self) -> None:
        """Start another thread if this one has ended before its time."""
        if self._thread is not None:
            self.begin()

    def stop(self) -> None:
        """End the thread and wait until it is gone; `resume` lets it start again.

        One that an observer blocks is waited for once, and not at each fork.
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
        """Forget thread and locks, in a forked child; `resume` starts a thread again."""
        self._lock, self._look = Lock(), Bell()
        self._thread, self._starts = None, []

    def _run(self) -> None:
        own.tells_observers = self.every
        goes_on = True
        while goes_on:
            try:
                goes_on = self._round()
            except BaseException:  # whatever was thrown into this thread ends nothing
                Bell().wait(0.01)

    def _round(self) -> bool:
        with self._lock:
            if self._thread is not current_thread():
                return False  # starting it was interrupted, and another one runs or will
            self._look.clear()
            self._given_up = False
            self._fresh, self._wakes_at = False, inf
        for duty in self._duties():
            with suppress(BaseException):
                try:
                    duty()
                except BaseException:  # an observer may raise SystemExit
                    reporting.report_bug("looking after armed rules")
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
        """Return when to look again, or None if there is nothing to do."""
        first = min(self._engine.deadlines(self.every), default=None)
        if first is None:
            return None
        now = self._engine.clock.monotonic()
        return min(now + _SECONDS_BETWEEN_LOOKS, max(now, first) + self.late)


class _Expiry(_Thread):
    """Ends rules at their deadlines."""

    name, every, late = "chaospoint-expiry", False, 0.0

    def _duties(self) -> tuple[Callable[[], object], ...]:
        return (self._end_due,)

    def _end_due(self) -> None:
        housekeeper, ended = self._engine.housekeeper, self._engine.end_due()
        with arming_lock:  # so that another thread writes what is to be said in the log
            if ended:
                housekeeper.begin(-inf)
            else:
                housekeeper.tend()


class Housekeeper(_Thread):
    """Looks after one engine: tells what has happened, and has rules expire on another thread."""

    name, every, late = "chaospoint-keeper", True, 0.25

    def __init__(self, engine: Household) -> None:
        super().__init__(engine)
        self._expiry = _Expiry(engine)

    def start(self, deadline: float = inf) -> bool:
        """Look after what was armed just now, as the base class does."""
        return (deadline == inf or self._expiry.start(deadline)) and super().start(deadline)

    def stop(self) -> None:
        """End both threads."""
        self._expiry.stop()
        super().stop()

    def resume(self) -> bool:
        """Allow both threads again; disarm what came from outside if one cannot be started."""
        kept = all([self._expiry.resume(), super().resume()])
        if not kept:
            self._engine.disarm_unkept()
        return kept

    def renew(self) -> None:
        """Forget both threads, in a forked child."""
        self._expiry.renew()
        super().renew()

    def _duties(self) -> tuple[Callable[[], object], ...]:
        engine = self._engine
        tend = (self._expiry.tend, *restarters)
        return (engine.expire, *tend, arming_lock.carry_out, engine.remind, engine.flush)
