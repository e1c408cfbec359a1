"""Skip time to the next event while a fault makes a call wait and nothing else is ready to run.

One pacer serves all skipping clocks of the process, because all of them share one time. Its thread
starts with the first wait and ends with the last clock. If it cannot run, waits take real time.
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

_SLICES, _SLICE = 4, 0.0005  # each lets threads that wait for the GIL run
GRAIN = 1e-6  # seconds; so that rounding errors leave no event slightly in the future


class Paced(Protocol):
    """The methods of a clock that the pacer uses."""

    @property
    def engine(self) -> Engine:
        """The engine whose faults and deadlines use the clock."""
        ...

    def makes_wait(self) -> bool:
        """Return whether a fault makes a call wait now, so that time should be skipped."""
        ...

    def awaited(self, blocked: Collection[object]) -> bool:
        """Return whether a woken wait can continue but has not yet."""
        ...

    def blocked(self) -> Collection[object]:
        """Return the threads that wait, and the event loops that run on them."""
        ...

    def left(self) -> float:
        """Return the seconds to the next event; 0 or less if it is due."""
        ...

    def come(self) -> None:
        """Wake the waits that are due, and end the rules that have expired."""

    def renew(self) -> None:
        """Forget all waits in a forked child."""


class Pacer:
    """Skips time for all clocks in use."""

    def __init__(self) -> None:
        self.lock = Lock()
        self._clocks: tuple[Paced, ...] = ()
        self._thread: Thread | None = None
        self._changed = Bell()  # one for each thread: an older thread must not clear it

    @property
    def skipped(self) -> float:
        """All seconds skipped in this process so far."""
        return loop_time.skipped

    def paces(self, engine: Engine) -> bool:
        """Return whether this engine has a clock in use."""
        return any(clock.engine is engine for clock in self._clocks)

    def enter(self, clock: Paced) -> float:
        """Add a clock; return the seconds skipped before."""
        with self.lock:
            loop_time.start()
            self._clocks = (*self._clocks, clock)
            return loop_time.skipped

    def leave(self, clock: Paced) -> float:
        """Remove a clock; return the seconds skipped up to now."""
        with self.lock:
            self._clocks = tuple(other for other in self._clocks if other is not clock)
            if self._clocks:
                return loop_time.skipped
            thread, self._thread = self._thread, None
            self._changed.set()
            loop_time.stop()
            skipped = loop_time.skipped
        if thread is not None:
            # After the lock, because the thread may be in an observer that needs the lock to arm.
            arming_lock.after_release(partial(_join, thread))
        return skipped

    def changed(self) -> None:
        """Let the thread know that a wait began or ended."""
        if self._thread is None:
            self._start()
        self._changed.set()

    def skip(self, seconds: float, *, thread: Thread | None = None) -> None:
        """Let ``seconds`` pass for all clocks and loops.

        ``thread``: skip only if this is still the thread of the pacer.
        """
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
                self._thread = None  # no thread can start, so waits take real time
            except BaseException:
                self._thread = None  # if it runs already, it ends by itself
                raise

    def _run(self, changed: Bell) -> None:
        me, patience = current_thread(), Patience()  # for waits that were woken
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
            reporting.report_bug("skipping time", "waits take real time from now on")

    def _blocked(self) -> set[object]:
        return {what for clock in self._clocks for what in clock.blocked()}

    # -- around a fork --------------------------------------------------------------------

    def renew(self) -> None:
        """Replace lock and thread in a forked child; the next wait starts a new thread."""
        self.lock, self._thread, self._changed = Lock(), None, Bell()
        loop_time.renew()
        for clock in self._clocks:
            clock.renew()


def _join(thread: Thread) -> None:
    # Any thread may run what was deferred until the lock is free, including this one.
    if thread is not current_thread():
        thread.join(1.0)


pacer = Pacer()
guards.append(pacer)
