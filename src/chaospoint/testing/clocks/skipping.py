"""A clock that follows real time, but skips time while a fault makes a call wait.

Latencies, hangs and expiries pass at once, and events keep their order: time is skipped only to the
next event, and only when nothing is ready to run. Events are the end of a wait, the deadline of a
rule, and a timer of an asyncio event loop.

While a fault makes a call wait, time also passes for the timers of all asyncio loops in the
process. At other times nothing is skipped, so a real call under a timeout has its real time. A
``pause`` does not skip time, because the test ends it. `time.monotonic`, `time.sleep` and the
timers of other loops do not see skipped time.

Before it skips, the clock waits for real work that it can see: callbacks that are ready on a loop,
and work in a loop's default executor (`asyncio.to_thread`). It waits up to 0.2 s at a time for
each, or longer on a busy machine. It does not wait for more than about 2 ms for work in other
threads or processes, or on sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING

from chaospoint._kernel.clock import SystemClock
from chaospoint.errors import ChaosError
from chaospoint.testing.clocks.loop_time import loop_time
from chaospoint.testing.clocks.pacer import pacer
from chaospoint.testing.clocks.waits import DIGITS, Waits

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from chaospoint._kernel.bell import Bell, TaskBell
    from chaospoint._registry.engine import Engine
    from chaospoint._registry.registry import Registry

__all__ = ["SkippingClock", "skipping"]

_SYSTEM = SystemClock()


class SkippingClock:
    """Real time plus the skipped time; created by `skipping`. Safe from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._waits = Waits(engine)

    def __repr__(self) -> str:
        return f"<SkippingClock that skipped {self.skipped:g} s in {len(self.waits)} waits>"

    @property
    def waits(self) -> tuple[float | None, ...]:
        """The seconds of every wait of a fault so far, in order, rounded to microseconds.

        These are latencies, hangs and pauses; None for a wait without a limit. A fault that keeps
        the processor busy is not a wait: it takes real time.
        """
        return tuple(self._waits.asked)

    @property
    def waiting(self) -> tuple[float | None, ...]:
        """The seconds of the current waits, in order."""
        return tuple(wait.seconds for wait in list(self._waits.going))

    @property
    def skipped(self) -> float:
        """All seconds skipped while this clock is in use, rounded to microseconds.

        They include time that other clocks of the process skipped.
        """
        return round(self._waits.skipped, DIGITS)

    def monotonic(self) -> float:
        """Return the time of the registry's original clock plus the skipped seconds."""
        return self._waits.read()

    def time_in(self, loop: AbstractEventLoop) -> float:
        """Return the same time in tasks."""
        del loop
        return self._waits.read()

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass now in all threads and loops, without waiting for them to run.

        Rules that expire in this time have ended when this returns. Raises `ChaosError` if
        ``seconds`` is negative or not finite, and after the block of the clock has ended.
        """
        if not (seconds >= 0.0 and isfinite(seconds)):
            raise ChaosError(
                f"the clock cannot be advanced by {seconds!r}: write seconds, 0 or more"
            )
        if not self._waits.entered:
            raise ChaosError("the clock is not in use: its `with` block has ended")
        pacer.skip(seconds)

    def wait(self, woken: Bell, seconds: float | None) -> None:
        """Block this thread until ``woken`` is set or ``seconds`` have passed or been skipped."""
        loop = asyncio._get_running_loop()  # this wait blocks it
        with self._waits.going_on(seconds, woken, loop):
            _SYSTEM.wait(woken, seconds)

    async def await_(self, woken: TaskBell, seconds: float | None) -> None:
        """Wait in this task until ``woken`` is set or ``seconds`` have passed or been skipped."""
        loop = woken.loop
        loop_time.see(loop)
        with self._waits.going_on(seconds, woken, loop):
            await _SYSTEM.await_(woken, seconds)


@contextmanager
def skipping(registry: Registry) -> Iterator[SkippingClock]:
    """Let the faults and deadlines of ``registry`` use a skipping clock within a block.

    At the end of the block, current waits with a limit end, and armed rules keep their remaining
    time. Other registries may have a skipping clock at the same time; time skipped by one passes
    for all. Raises `ChaosError` if ``registry`` already has one.
    """
    clock = SkippingClock(registry.engine)
    waits = clock._waits
    try:
        waits.enter(clock)
        yield clock
    finally:
        waits.leave()
