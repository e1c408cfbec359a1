"""A clock that stands still until a test advances it, so that no test has to sleep.

``clock.advance(30)`` wakes the threads and tasks whose wait has ended; ``clock.waits`` lists all
waits so far.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from threading import Condition, local

from chaospoint._kernel.bell import Bell, TaskBell
from chaospoint._kernel.context import transparently
from chaospoint._kernel.lock import Lock

__all__ = ["FakeClock"]

_STEPS_PER_SECOND = 2**30


@dataclass(frozen=True, slots=True, eq=False)
class _Wait:
    """A current wait: its length, its end, and a function that ends it."""

    seconds: float | None
    until: float | None
    wake: Callable[[], object]


class FakeClock:
    """A clock that a test advances; pass it to a `Registry` as ``clock``.

    Safe from any thread. It advances in steps of 2**-30 s, rounded up, so that several advances
    that add up to a wait end it in spite of rounding errors.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = Lock()
        self._changed = Condition(self._lock)  # type: ignore[arg-type]  # any lock works
        self._read = local()  # the time that each thread read last
        self._asked: list[float | None] = []
        self._waiting: list[_Wait] = []

    def monotonic(self) -> float:
        """Return the sum of all advances, in seconds."""
        self._read.at = now = self._now
        return now

    def time_in(self, loop: AbstractEventLoop) -> float:
        """Return the same time in tasks."""
        del loop
        return self.monotonic()

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass and wake the waits that have ended, without waiting for them to run.

        Raises `ValueError` for a negative number.
        """
        if seconds < 0.0:
            raise ValueError(
                f"a clock cannot go back: advance it by 0 or more seconds, not by {seconds!r}"
            )
        with self._lock:
            self._now += ceil(seconds * _STEPS_PER_SECOND) / _STEPS_PER_SECOND
            self._read.at = self._now
            waiting = tuple(self._waiting)
        for wait in waiting:
            if wait.until is not None and wait.until <= self._now:
                wait.wake()

    @property
    def waits(self) -> tuple[float | None, ...]:
        """The seconds of every wait so far, in order; None for a wait without a limit."""
        return tuple(self._asked)

    @property
    def waiting(self) -> tuple[float | None, ...]:
        """The seconds of the current waits, in order."""
        return tuple(wait.seconds for wait in self._waiting)

    def until_waiting(self, seconds: float | None, *, count: int = 1, timeout: float = 10) -> None:
        """Block until at least ``count`` current waits are exactly ``seconds`` long.

        Advance the clock after this: a wait that begins later counts from the later time. Raises
        `TimeoutError`, with the current waits, after ``timeout`` real seconds.
        """
        with self._lock:
            enough = partial(self._counts, seconds, count)
            if not transparently(self._changed.wait_for, enough, timeout):
                raise TimeoutError(
                    f"no {count} waits of {seconds} s within {timeout:g} s; current waits: "
                    f"{self.waiting}"
                )

    def _counts(self, seconds: float | None, count: int) -> bool:
        return self.waiting.count(seconds) >= count

    def wait(self, woken: Bell, seconds: float | None) -> None:
        """Block this thread until ``woken`` is set or the clock has advanced by ``seconds``."""
        with self._entered(seconds, woken.set) as ahead:
            if ahead:
                woken.wait()

    async def await_(self, woken: TaskBell, seconds: float | None) -> None:
        """Wait in this task until ``woken`` is set or the clock has advanced by ``seconds``."""
        with self._entered(seconds, woken.set) as ahead:
            if ahead:
                await woken.future
            else:
                await asyncio.sleep(0)

    @contextmanager
    def _entered(self, seconds: float | None, wake: Callable[[], object]) -> Iterator[bool]:
        """Record a wait while the block runs; yield whether its end is still ahead.

        The wait counts from the time this thread read last, because callers read the clock and
        then wait for the rest: an advance between the two must shorten the wait.
        """
        with self._lock:
            began = getattr(self._read, "at", self._now)
            wait = _Wait(seconds, None if seconds is None else began + seconds, wake)
            ahead = wait.until is None or wait.until > self._now
            self._asked.append(seconds)
            self._waiting.append(wait)
            self._changed.notify_all()
        try:
            yield ahead
        finally:
            with self._lock:
                self._waiting.remove(wait)
