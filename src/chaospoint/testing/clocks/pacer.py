"""Skips to what comes next while a fault makes a call wait, once all that is ready has run.

There is one pacer for all skipping clocks of the process, as there is one time. Its thread starts
with the first wait, and ends with the last clock. Without it every wait ends in real time.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from math import inf
from threading import Thread, current_thread
from typing import TYPE_CHECKING, Protocol

from chaospoint._kernel import reporting
from chaospoint._kernel.bell import Bell
from chaospoint._kernel.fork import guards
from chaospoint._kernel.lock import Lock, arming_lock
from chaospoint._kernel.threads import OwnThread, start
from chaospoint.testing.clocks.loop_time import loop_time
from chaospoint.testing.clocks.patience import Patience

if TYPE_CHECKING:
    from chaospoint._registry.engine import Engine

__all__ = ["GRAIN", "Paced", "Pacer", "pacer"]

_SLICES, _SLICE = 4, 0.0005  # each lets threads that wait for the GIL come to it
GRAIN = 1e-6  # so that no rounding of floats leaves anything just before its time


class Paced(Protocol):
    """One clock, as the pacer sees it."""

    @property
    def engine(self) -> Engine:
        """Whose faults and deadlines go by the clock."""
        ...

    def makes_wait(self) -> bool:
        """Return whether a fault makes a call wait now, and time is to be skipped."""
        ...

    def awaited(self, blocked: Collection[object]) -> bool:
        """Return whether somebody was woken who can go on, and has not yet."""
        ...

    def blocked(self) -> Collection[object]:
        """Return the threads that wait, and the loops on them."""
        ...

    def left(self) -> float:
        """Return the seconds to what comes next; 0 or less for what is due."""
        ...

    def come(self) -> None:
        """Wake what is due, and end what has expired."""

    def renew(self) -> None:
        """Forget who waited, in a forked child."""


class Pacer:
    """Makes time pass for all the clocks that are in use."""

    def __init__(self) -> None:
        self.lock = Lock()
        self._clocks: tuple[Paced, ...] = ()
        self._thread: Thread | None = None
        self._changed = Bell()  # of this thread: an older one must not clear it

    @property
    def skipped(self) -> float:
        """The seconds that were ever skipped in this process."""
        return loop_time.skipped

    def paces(self, engine: Engine) -> bool:
        """Return whether a clock of this board is in use."""
        return any(clock.engine is engine for clock in self._clocks)

    def enter(self, clock: Paced) -> float:
        """Let time be skipped for this clock, too; return what was skipped before."""
        with self.lock:
            loop_time.start()
            self._clocks = (*self._clocks, clock)
            return loop_time.skipped

    def leave(self, clock: Paced) -> float:
        """Skip no more for this clock; return what was skipped when it left."""
        with self.lock:
            self._clocks = tuple(other for other in self._clocks if other is not clock)
            if self._clocks:
                return loop_time.skipped
            thread, self._thread = self._thread, None
            self._changed.set()
            loop_time.stop()
            skipped = loop_time.skipped
        if thread is not None:
            # An observer that it tells something may take its time, or be about to arm.
            arming_lock.after_release(partial(_join, thread))
        return skipped

    def changed(self) -> None:
        """Take notice that a wait began or ended."""
        if self._thread is None:
            self._start()
        self._changed.set()

    def skip(self, seconds: float, *, thread: Thread | None = None) -> None:
        """Let ``seconds`` pass for all clocks and loops; ``thread``: only if that is still ours."""
        with self.lock:
            if thread is not None and thread is not self._thread:
                return
            loop_time.skipped += seconds
            clocks = self._clocks
        for clock in clocks:
            clock.come()
        loop_time.wake()

    def _start(self) -> None:
        with self.lock:
            if self._thread is not None or not self._clocks:
                return
            self._changed = changed = Bell()
            self._thread = OwnThread("chaospoint-pacer", partial(self._run, changed))
            try:
                start(self._thread)
            except RuntimeError:
                self._thread = None  # no thread can be had, and time is not skipped
            except BaseException:
                self._thread = None  # it may run already, and ends by itself then
                raise

    def _run(self, changed: Bell) -> None:
        me, patience = current_thread(), Patience()  # with those that were woken
        try:
            while self._thread is me:
                changed.clear()
                clocks = self._clocks
                if not any(clock.makes_wait() for clock in clocks):
                    changed.wait()
                    continue
                if any(changed.wait(_SLICE) for _ in range(_SLICES)):
                    continue
                left = loop_time.next_timer(self._blocked, changed.is_set)
                if left is None or changed.is_set():
                    continue
                blocked = self._blocked()
                if patience.lasts() and any(clock.awaited(blocked) for clock in clocks):
                    continue
                left = min([left, *(clock.left() for clock in clocks)])
                if left < inf:
                    self.skip(max(left, 0.0) + GRAIN, thread=me)
                    patience.begin()
        except Exception:
            reporting.report_bug("skipping time", "what waits goes on waiting in real time")

    def _blocked(self) -> set[object]:
        return {what for clock in self._clocks for what in clock.blocked()}

    # -- around a fork --------------------------------------------------------------------

    def renew(self) -> None:
        """Forget lock and thread, in a forked child; a wait starts a thread again."""
        self.lock, self._thread, self._changed = Lock(), None, Bell()
        loop_time.renew()
        for clock in self._clocks:
            clock.renew()


def _join(thread: Thread) -> None:
    # What is left for later may be carried out by any thread, and so by this one.
    if thread is not current_thread():
        thread.join(1.0)


pacer = Pacer()
guards.append(pacer)
