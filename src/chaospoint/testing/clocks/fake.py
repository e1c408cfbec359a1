"""A clock that stands still until it is told to advance, so that no test has to sleep.

Whoever waits on it, in a thread or in a task, is woken when its time has come, and what was asked
for is recorded: a test says ``clock.advance(30)`` and looks at ``clock.waits``.
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
    """One wait that is going on: how long, until when, and how to end it."""

    seconds: float | None
    until: float | None
    wake: Callable[[], object]


class FakeClock:
    """Time as a test tells it; give it to a `Registry` as its ``clock``.

    Safe from any thread. It moves in whole steps of 2**-30 s, rounded up: parts that add up to a
    wait end it, whatever floats make of the sum.
    """

    # An automatic mode, in which waiting itself moves the clock, joins here.

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = Lock()
        self._changed = Condition(self._lock)  # type: ignore[arg-type]  # any lock will do
        self._read = local()  # what each thread read last
        self._asked: list[float | None] = []
        self._waiting: list[_Wait] = []

    def monotonic(self) -> float:
        """Return the seconds that the clock was advanced by so far."""
        self._read.at = now = self._now
        return now

    def time_in(self, loop: AbstractEventLoop) -> float:
        """Return the same time in tasks."""
        del loop
        return self.monotonic()

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, and wake all whose time has come; does not wait for them."""
        if seconds < 0.0:
            raise ValueError(f"a clock never goes back, and {seconds!r} is below 0")
        with self._lock:
            self._now += ceil(seconds * _STEPS_PER_SECOND) / _STEPS_PER_SECOND
            self._read.at = self._now
            waiting = tuple(self._waiting)
        for one in waiting:
            if one.until is not None and one.until <= self._now:
                one.wake()

    @property
    def waits(self) -> tuple[float | None, ...]:
        """The seconds of every wait so far, in order; None for one without a bound."""
        return tuple(self._asked)

    @property
    def waiting(self) -> tuple[float | None, ...]:
        """The seconds of the waits that are going on, in order."""
        return tuple(one.seconds for one in self._waiting)

    def until_waiting(self, seconds: float | None, *, count: int = 1, timeout: float = 10) -> None:
        """Block until ``count`` waits of exactly ``seconds`` are going on.

        Advance the clock after that, or a sleeper that is late begins its wait at the later time.
        Raises `TimeoutError` that says what was seen, after ``timeout`` real seconds.
        """
        with self._lock:
            there = partial(self._counts, seconds, count)
            if not transparently(self._changed.wait_for, there, timeout):
                raise TimeoutError(f"waited for {count} waits of {seconds} s: {self.waiting}")

    def _counts(self, seconds: float | None, count: int) -> bool:
        return self.waiting.count(seconds) >= count

    def wait(self, woken: Bell, seconds: float | None) -> None:
        """Wait on this thread until ``woken`` is set or the clock was advanced by ``seconds``."""
        with self._entered(seconds, woken.set) as ahead:
            if ahead:
                woken.wait()

    async def await_(self, woken: TaskBell, seconds: float | None) -> None:
        """Wait in this task until ``woken`` is done or the clock was advanced by ``seconds``."""
        with self._entered(seconds, woken.set) as ahead:
            if ahead:
                await woken.future
            else:
                await asyncio.sleep(0)

    @contextmanager
    def _entered(self, seconds: float | None, wake: Callable[[], object]) -> Iterator[bool]:
        """Record a wait for as long as it goes on; say whether there is anything to wait for.

        It is counted from what this thread read last: were it from now, who looks at the clock
        and then waits for the rest would sleep through what passes in between.
        """
        with self._lock:
            began = getattr(self._read, "at", self._now)
            one = _Wait(seconds, None if seconds is None else began + seconds, wake)
            ahead = one.until is None or one.until > self._now
            self._asked.append(seconds)
            self._waiting.append(one)
            self._changed.notify_all()
        try:
            yield ahead
        finally:
            with self._lock:
                self._waiting.remove(one)
