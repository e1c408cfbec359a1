"""What waits by one skipping clock: how long, until when, and what of it the pacer has to know."""

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

DIGITS = 6  # floats cannot tell less apart on a machine that runs for months


@dataclass(slots=True, eq=False)
class _Wait:
    """One wait that is going on: how long, until when, how to end it, and where."""

    seconds: float | None
    until: float | None
    woken: Bell | TaskBell
    loop: AbstractEventLoop | None
    thread: Thread | None  # the one that waits, and the loop with it; a task lets it go on
    held: bool  # by a pause, and so by the test and not by time
    ended: bool = False

    @property
    def over(self) -> bool:
        """Whether who waits was woken, though he may not have gone on yet."""
        return self.ended or self.woken.is_set()

    def end(self) -> None:
        """Wake who waits."""
        self.ended = True
        try:
            self.woken.set()
        except RuntimeError:
            pass  # the loop is closed, and with it whoever waited there


class Waits:
    """What waits by one clock, which stands before the one that the engine has.

    Its collections are changed in single steps, so without a lock.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.base = engine.clock
        self.asked: list[float | None] = []
        self.going: dict[_Wait, None] = {}
        self.entered = False
        self._before = 0.0  # what was skipped in the process before this clock came in
        self._kept = 0.0  # what was skipped in all, once it is out
        self._ahead = 0.0  # what ended the last waits then
        self._reads = local()  # what each thread read since its last wait, the latest two

    # -- in and out -----------------------------------------------------------------------

    def enter(self, clock: Clock) -> None:
        """Have the engine go by ``clock``, which asks here; `ChaosError` if it goes by such a one.

        Call `leave` after it in any case.
        """
        with arming_lock:
            if pacer.paces(self.engine):
                raise ChaosError(
                    "a skipping clock is in use in this registry already: use that one, or put "
                    "the second block behind the first"
                )
            # First, so that `leave` puts right what Ctrl-C leaves half done.
            self.base, self._before, self.entered = self.engine.clock, pacer.skipped, True
            self._before = pacer.enter(self)
            self.engine.clock = clock

    def leave(self) -> None:
        """Give the engine its clock back, and end the waits that have an end."""
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
        for rule in (*self.engine.rules(), *self.engine.ended()):  # some ended may come back
            if rule.deadline is not None:
                rule.deadline -= self._kept

    # -- time -----------------------------------------------------------------------------

    @property
    def skipped(self) -> float:
        """The seconds that were skipped while the clock was in use."""
        return pacer.skipped - self._before if self.entered else self._kept

    def now(self) -> float:
        """Return the time of the clock."""
        return self.base.monotonic() + self.skipped + self._ahead

    def read(self) -> float:
        """Return it to somebody on this thread who may be about to wait."""
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
        """Record a wait for as long as it goes on.

        Whoever begins one has read the clock twice, for its end and for what is ``left``, and
        between the two time has gone on: what was asked for is what is left and that. Who was
        woken early and waits for the rest has read it once since.
        """
        reads = getattr(self._reads, "latest", ())
        self._reads.latest = ()
        seconds, until = left, None
        if left is not None:
            until = (reads[-1] if reads else self.now()) + left
            seconds = round(left + (reads[-1] - reads[0] if reads else 0.0), DIGITS)
        if left == 0.0:  # the turn is given up once, and no time passes with that
            self.asked.append(0.0)
            yield
            return
        if left is None or len(reads) != 1:
            self.asked.append(seconds)
        thread = current_thread() if isinstance(woken, Bell) else None
        one = _Wait(seconds, until, woken, loop, thread, self._held(woken))
        try:
            self.going[one] = None
            if self.entered:
                pacer.changed()
            yield
        finally:
            self.going.pop(one, None)
            self._reads.latest = ()
            if self.entered:
                pacer.changed()

    # -- as the pacer sees it -------------------------------------------------------------

    def makes_wait(self) -> bool:
        """Return whether anybody waits for time to pass: not for a test that holds him."""
        return any(not one.held for one in self._waiting())

    def awaited(self, blocked: Collection[object]) -> bool:
        """Return whether anybody was woken who can go on, and has not yet."""
        able = [one for one in self._live() if one.thread or one.loop not in blocked]
        return any(one.over for one in able)

    def blocked(self) -> set[object]:
        """Return the threads that wait, and the loops on them."""
        waiting = [one for one in list(self.going) if one.thread is not None]
        return {what for one in waiting for what in (one.thread, one.loop)}

    def left(self) -> float:
        """Return the seconds to the next end of a wait or deadline of a rule."""
        ends = [one.until for one in self._waiting() if one.until is not None]
        ends += [rule.deadline for rule in self.engine.rules() if rule.deadline is not None]
        return min(ends, default=inf) - self.now()

    def come(self) -> None:
        """Wake what is due, and end the rules that have expired."""
        self._end_due()
        self.engine.expire()

    def renew(self) -> None:
        """Forget who waited, in a forked child."""
        self.going.clear()

    def _live(self) -> list[_Wait]:
        # A task that was left behind by a loop which runs no more waits for nothing.
        return [one for one in list(self.going) if one.loop is None or one.loop.is_running()]

    def _waiting(self) -> list[_Wait]:
        return [one for one in self._live() if not one.over]

    def _held(self, woken: Bell | TaskBell) -> bool:
        return any(
            getattr(pause.wake, "__self__", None) is woken
            for rule in self.engine.rules()
            for pause in rule.paused.copy()
        )

    def _end_due(self) -> None:
        now = self.now()
        due = [(one.until, one) for one in list(self.going) if one.until is not None]
        for until, one in sorted(due, key=itemgetter(0)):
            if until <= now:
                one.end()
