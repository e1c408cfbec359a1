"""The waits of one skipping clock, as the clock and the pacer see them."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from operator import itemgetter
from threading import Thread, current_thread, local
from typing import TYPE_CHECKING

from chaospoint._kernel.bell import Bell, TaskBell
from chaospoint._kernel.lock import arming_lock
from chaospoint.errors import ChaosError
from chaospoint.testing.clocks.pacer import GRAIN, pacer

if TYPE_CHECKING:
    from chaospoint._kernel.clock import Clock
    from chaospoint._registry.engine import Engine

__all__ = ["DIGITS", "Waits"]

DIGITS = 6  # the precision of floats after months of uptime


@dataclass(slots=True, eq=False)
class _Wait:
    """A current wait: its length, its end, and the thread or loop that waits."""

    seconds: float | None
    until: float | None
    woken: Bell | TaskBell
    loop: AbstractEventLoop | None
    thread: Thread | None  # the blocked thread; None for a task, which does not block its thread
    held: bool  # by a pause: the test ends the wait, not time
    ended: bool = False

    @property
    def over(self) -> bool:
        """Whether the wait was woken; its thread or task may not have continued yet."""
        return self.ended or self.woken.is_set()

    def end(self) -> None:
        """Wake the thread or task."""
        self.ended = True
        try:
            self.woken.set()
        except RuntimeError:
            pass  # the loop is closed, and its tasks with it


class Waits:
    """The waits of a skipping clock, which replaces the clock of ``engine`` while it is in use.

    It needs no lock, because each change of a collection is one atomic operation.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.base = engine.clock
        self.asked: list[float | None] = []
        self.going: dict[_Wait, None] = {}
        self.entered = False
        self._before = 0.0  # seconds skipped in the process before this clock
        self._kept = 0.0  # seconds skipped in all, after `leave`
        self._ahead = 0.0  # additional seconds that ended the last waits, after `leave`
        self._reads = local()  # the last two times that each thread read since its last wait

    # -- enter and leave ------------------------------------------------------------------

    def enter(self, clock: Clock) -> None:
        """Let the engine use ``clock``; `ChaosError` if it already uses a skipping clock.

        Call `leave` afterwards in any case.
        """
        with arming_lock:
            if pacer.paces(self.engine):
                raise ChaosError(
                    "this registry already uses a skipping clock: use that one, or enter the "
                    "second block after the first has ended"
                )
            # First, so that `leave` can undo the rest if Ctrl-C interrupts it.
            self.base, self._before, self.entered = self.engine.clock, pacer.skipped, True
            self._before = pacer.enter(self)
            self.engine.clock = clock

    def leave(self) -> None:
        """Restore the engine's clock, and end the waits that have a limit."""
        if not self.entered:
            return
        with arming_lock:
            self.engine.clock = self.base
            self._kept, self.entered = pacer.leave(self) - self._before, False
            self._put_back_deadlines()
        last = max((one.until for one in list(self.going) if one.until is not None), default=0.0)
        self._ahead = max(0.0, last - self.now() + GRAIN)
        self._end_due()

    def _put_back_deadlines(self) -> None:
        for rule in (
            *self.engine.rules(),
            *self.engine.ended(),
        ):  # ended ones too, because some may be armed again
            if rule.deadline is not None:
                rule.deadline -= self._kept

    # -- time -----------------------------------------------------------------------------

    @property
    def skipped(self) -> float:
        """The seconds skipped while the clock was in use."""
        return pacer.skipped - self._before if self.entered else self._kept

    def now(self) -> float:
        """Return the time of the clock."""
        return self.base.monotonic() + self.skipped + self._ahead

    def read(self) -> float:
        """Return the time, and record that this thread read it, because a wait may follow."""
        now = self.now()
        self._reads.latest = (*getattr(self._reads, "latest", ())[-1:], now)
        return now

    @contextmanager
    def going_on(
        self,
        left: float | None,
        woken: Bell | TaskBell,
        loop: AbstractEventLoop | None,
    ) -> Iterator[None]:
        """Record a wait while the block runs.

        A caller that begins a wait reads the clock twice: for the end of the wait, and for the
        seconds that are ``left``. Time passes between the two, so the requested length is ``left``
        plus that time. A caller that was woken early and waits for the rest reads it only once;
        that is not a new wait.
        """
        reads = getattr(self._reads, "latest", ())
        self._reads.latest = ()
        seconds, until = left, None
        if left is not None:
            until = (reads[-1] if reads else self.now()) + left
            seconds = round(left + (reads[-1] - reads[0] if reads else 0.0), DIGITS)
        if left == 0.0:  # this only yields to other threads or tasks, and no time passes
            self.asked.append(0.0)
            yield
            return
        if left is None or len(reads) != 1:
            self.asked.append(seconds)
        thread = current_thread() if isinstance(woken, Bell) else None
        wait = _Wait(seconds, until, woken, loop, thread, self._held(woken))
        try:
            self.going[wait] = None
            if self.entered:
                pacer.changed()
            yield
        finally:
            self.going.pop(wait, None)
            self._reads.latest = ()
            if self.entered:
                pacer.changed()

    # -- for the pacer --------------------------------------------------------------------

    def makes_wait(self) -> bool:
        """Return whether a call waits for time to pass; a paused call waits for the test."""
        return any(not wait.held for wait in self._waiting())

    def awaited(self, blocked: Collection[object]) -> bool:
        """Return whether a woken wait can continue but has not yet."""
        able = [wait for wait in self._live() if wait.thread or wait.loop not in blocked]
        return any(wait.over for wait in able)

    def blocked(self) -> set[object]:
        """Return the threads that wait, and the event loops that run on them."""
        blocking = [wait for wait in list(self.going) if wait.thread is not None]
        return {blocked for wait in blocking for blocked in (wait.thread, wait.loop)}

    def left(self) -> float:
        """Return the seconds to the next end of a wait or deadline of a rule."""
        ends = [wait.until for wait in self._waiting() if wait.until is not None]
        ends += [rule.deadline for rule in self.engine.rules() if rule.deadline is not None]
        return min(ends, default=inf) - self.now()

    def come(self) -> None:
        """Wake the waits that are due, and end the rules that have expired."""
        self._end_due()
        self.engine.expire()

    def renew(self) -> None:
        """Forget all waits in a forked child."""
        self.going.clear()

    def _live(self) -> list[_Wait]:
        # Without tasks of loops that no longer run: they never continue.
        waits = list(self.going)
        return [wait for wait in waits if wait.loop is None or wait.loop.is_running()]

    def _waiting(self) -> list[_Wait]:
        return [wait for wait in self._live() if not wait.over]

    def _held(self, woken: Bell | TaskBell) -> bool:
        return any(
            getattr(pause.wake, "__self__", None) is woken
            for rule in self.engine.rules()
            for pause in rule.paused.copy()
        )

    def _end_due(self) -> None:
        now = self.now()
        ends = [(wait.until, wait) for wait in list(self.going) if wait.until is not None]
        for until, wait in sorted(ends, key=itemgetter(0)):
            if until <= now:
                wait.end()
