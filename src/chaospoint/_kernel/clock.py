"""Time as an input: all code that waits or looks at the clock does it through one of these."""

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
    """A monotonic clock and the two ways of waiting on it.

    Both waits may end early without a reason; the caller looks at the clock and waits again. A
    wait of 0 seconds gives up the turn once.
    """

    def monotonic(self) -> float:
        """Return seconds that never go backwards; their origin means nothing."""
        ...

    def time_in(self, loop: AbstractEventLoop) -> float:
        """Return the time by which tasks of ``loop`` wait; its origin means nothing."""
        ...

    def wait(self, woken: Bell, seconds: float | None) -> None:
        """Wait on this thread until ``woken`` is set or ``seconds`` have passed."""

    async def await_(self, woken: TaskBell, seconds: float | None) -> None:
        """Wait in this task until ``woken`` is set or ``seconds`` have passed."""


def _machine_time() -> partial[float]:
    """Return a function that reads the clock of `time.monotonic`.

    Test libraries that freeze time replace `time.monotonic` itself, in every module that refers to
    it; they leave `time.clock_gettime` of a monotonic clock alone.
    """
    if not hasattr(time, "clock_gettime"):  # Windows
        return partial(time.monotonic)
    which: int = getattr(time, "CLOCK_UPTIME_RAW", time.CLOCK_MONOTONIC)  # the first on macOS
    return partial(time.clock_gettime, which)


monotonic = _machine_time()
"""Return the seconds of the machine's monotonic clock, which nothing freezes."""

_A_TURN = 1e-6  # seconds; a lock does not give up the turn for 0
_MACHINE_TIME = ("asyncio.base_events", "chaospoint.testing.clocks.loop_time")
_ASTRAY = 1.0  # seconds between the machine's time and the time of a loop that is frozen


class SystemClock:
    """The machine's monotonic clock; in tasks the time and timers of their loop."""

    __slots__ = ()

    monotonic = staticmethod(monotonic)  # each firing of a rule with a deadline calls it

    def time_in(self, loop: AbstractEventLoop) -> float:
        """Return the loop's own time, for a simulated one may differ from the machine's."""
        return monotonic() if _keeps_machine_time(loop) else loop.time()

    def wait(self, woken: Bell, seconds: float | None) -> None:
        """Wait for ``woken``; signal handlers that raise interrupt it.

        In the executor of an event loop the wait is short: nothing wakes it when the loop ends.
        """
        if (seconds is None or seconds > SLICE) and executor_of_a_loop() is not None:
            seconds = SLICE
        woken.wait(_A_TURN if seconds == 0.0 else seconds)

    async def await_(self, woken: TaskBell, seconds: float | None) -> None:
        """Wait for ``woken`` and a timer of its own loop."""
        if seconds is None:
            await woken.future
            return
        cancel = transparently(_set_timer, woken, seconds)
        try:
            await woken.future
        finally:
            transparently(cancel)


def _set_timer(woken: TaskBell, seconds: float) -> Callable[[], None]:
    """Have ``woken`` set after ``seconds``; return what cancels that."""
    loop = woken.loop
    timer = loop.call_later(seconds, settle, woken.future)
    if not _keeps_machine_time(loop) or abs(loop.time() - monotonic()) < _ASTRAY:
        return timer.cancel
    call_off = _set_by_a_thread(woken, seconds)

    def cancel() -> None:
        timer.cancel()
        call_off.set()

    return cancel


def _keeps_machine_time(loop: AbstractEventLoop) -> bool:
    """Whether the time of ``loop`` is that of `time.monotonic`, if nobody freezes it."""
    if getattr(type(loop).time, "__module__", None) not in _MACHINE_TIME:
        return False
    own = vars(loop).get("time")
    return own is None or type(own).__module__ in _MACHINE_TIME


def _set_by_a_thread(bell: TaskBell, seconds: float) -> Bell:
    """Set ``bell`` after ``seconds`` from a thread; return a bell that calls this off.

    The timers of a loop come never due where a test library freezes its time.
    """
    call_off = Bell()

    def run() -> None:
        if not call_off.wait(seconds):
            try:
                bell.set()
            except RuntimeError:
                pass  # the loop is closed

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:
        pass  # no thread can be had: the loop's own timer remains
    return call_off
