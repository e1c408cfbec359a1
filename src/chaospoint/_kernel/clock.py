"""Time as an input: all code that waits or reads the time uses a `Clock`."""

from __future__ import annotations

import _thread
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from chaospoint._kernel.bell import SLICE, Bell, TaskBell, settle
from chaospoint._kernel.context import transparently
from chaospoint._kernel.ending import executor_of_a_loop

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["Clock", "SystemClock", "monotonic"]


class Clock(Protocol):
    """A monotonic clock, with one method for waiting in a thread and one in a task.

    Both waits may end early; the caller reads the clock and waits again. A wait of 0 seconds lets
    other threads or tasks run once.
    """

    def monotonic(self) -> float:
        """Return the time in seconds from an arbitrary origin; it never goes backwards."""
        ...

    def time_in(self, loop: AbstractEventLoop) -> float:
        """Return the time of ``loop`` in seconds, from an arbitrary origin."""
        ...

    def wait(self, woken: Bell, seconds: float | None) -> None:
        """Wait on this thread until ``woken`` is set or ``seconds`` have passed."""

    async def await_(self, woken: TaskBell, seconds: float | None) -> None:
        """Wait in this task until ``woken`` is set or ``seconds`` have passed."""


def _machine_time() -> partial[float]:
    """Return a function that reads the clock of `time.monotonic`.

    Test libraries that freeze time replace `time.monotonic` in every module that refers to it, but
    not `time.clock_gettime` with a monotonic clock.
    """
    if not hasattr(time, "clock_gettime"):  # Windows
        return partial(time.monotonic)
    which: int = getattr(time, "CLOCK_UPTIME_RAW", time.CLOCK_MONOTONIC)  # the first on macOS
    return partial(time.clock_gettime, which)


monotonic = _machine_time()
"""Return the machine's monotonic time in seconds, also while a test library freezes time."""

_SHORTEST_WAIT = 1e-6  # seconds; acquiring a lock for 0 seconds lets no other thread run
_MACHINE_TIME = ("asyncio.base_events", "chaospoint.testing.clocks.loop_time")
_FROZEN_AFTER = 1.0  # seconds of difference between the machine's time and that of a loop


class SystemClock:
    """The machine's monotonic clock; tasks use the time and timers of their loop."""

    __slots__ = ()

    monotonic = staticmethod(
        monotonic
    )  # static, because each firing of a rule with a deadline calls it

    def time_in(self, loop: AbstractEventLoop) -> float:
        """Return the time of the loop, which differs from the machine's in a simulation."""
        return monotonic() if _keeps_machine_time(loop) else loop.time()

    def wait(self, woken: Bell, seconds: float | None) -> None:
        """Wait for ``woken``; a signal handler that raises ends the wait.

        In the executor of an event loop it waits for half a second at most, because the end of the
        loop does not wake it; the caller checks for that end.
        """
        if (seconds is None or seconds > SLICE) and executor_of_a_loop() is not None:
            seconds = SLICE
        woken.wait(_SHORTEST_WAIT if seconds == 0.0 else seconds)

    async def await_(self, woken: TaskBell, seconds: float | None) -> None:
        """Wait for ``woken``, or for a timer of its loop."""
        if seconds is None:
            await woken.future
            return
        cancel = transparently(_set_timer, woken, seconds)
        try:
            await woken.future
        finally:
            transparently(cancel)


def _set_timer(woken: TaskBell, seconds: float) -> Callable[[], None]:
    """Set ``woken`` after ``seconds``; return a function that cancels this."""
    loop = woken.loop
    timer = loop.call_later(seconds, settle, woken.future)
    if not _keeps_machine_time(loop) or abs(loop.time() - monotonic()) < _FROZEN_AFTER:
        return timer.cancel
    cancelled = _set_by_a_thread(woken, seconds)

    def cancel() -> None:
        timer.cancel()
        cancelled.set()

    return cancel


def _keeps_machine_time(loop: AbstractEventLoop) -> bool:
    """Whether the time of ``loop`` is that of `time.monotonic`, unless a library freezes it."""
    if getattr(type(loop).time, "__module__", None) not in _MACHINE_TIME:
        return False
    own = vars(loop).get("time")
    return own is None or type(own).__module__ in _MACHINE_TIME


def _set_by_a_thread(bell: TaskBell, seconds: float) -> Bell:
    """Set ``bell`` after ``seconds`` from a thread; return a bell that cancels this.

    While a test library freezes the time of a loop, the timers of that loop never expire.
    """
    cancelled = Bell()

    def run() -> None:
        if not cancelled.wait(seconds):
            try:
                bell.set()
            except RuntimeError:
                pass  # the loop is closed

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:
        pass  # no thread can be started, and the loop's own timer remains
    return cancelled
