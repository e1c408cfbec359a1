"""A clock on which time goes on as ever, and is skipped while chaospoint makes a call wait.

So latencies, hangs and expiries pass at once, and what happens around them comes in the order in
which it would have come: time is skipped to the next event only, which is the end of a wait, the
deadline of a rule, or a timer of an asyncio loop, and not before all that is ready has run.

While a call is made to wait, time passes for every timer of every asyncio loop of the process.
While none is, nothing is skipped: a real call under a timeout has its real time. A call that a
``pause`` holds is held by the test and not by time. `time.monotonic`, `time.sleep` and the timers
of loops other than asyncio's know nothing of what is skipped.

Real work beside a wait is waited for where it can be seen: what is ready on a loop, and what runs
in a loop's default executor (`asyncio.to_thread`), each for 0.2 s at a stretch, or longer on a busy
machine. Work of more than some 2 ms in another thread or process, or on a socket, is overtaken by
the time that is skipped.
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
    """The machine's time and what was skipped; `skipping` makes one. Safe from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._waits = Waits(engine)

    def __repr__(self) -> str:
        return f"<SkippingClock that skipped {self.skipped:g} s in {len(self.waits)} waits>"

    @property
    def waits(self) -> tuple[float | None, ...]:
        """The seconds of every wait that faults asked for so far, in order, to the microsecond.

        Latencies, hangs and pauses; None for one without a bound. What keeps the processor busy
        asks for no wait, and takes its real time.
        """
        return tuple(self._waits.asked)

    @property
    def waiting(self) -> tuple[float | None, ...]:
        """The seconds of the waits that are going on, in order."""
        return tuple(one.seconds for one in list(self._waits.going))

    @property
    def skipped(self) -> float:
        """The seconds skipped so far in all, by any clock of the process, to the microsecond."""
        return round(self._waits.skipped, DIGITS)

    def monotonic(self) -> float:
        """Return the time of the clock that this one stands before, and what was skipped."""
        return self._waits.read()

    def time_in(self, loop: AbstractEventLoop) -> float:
        """Return the same time in tasks."""
        del loop
        return self._waits.read()

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass now, in all threads and loops; does not wait for who is woken.

        Rules whose time has come with it have ended when this returns. Raises `ChaosError` for
        what is no time to pass, and after the block of the clock has ended.
        """
        if not (seconds >= 0.0 and isfinite(seconds)):
            raise ChaosError(
                f"the clock cannot be advanced by {seconds!r}: give seconds, 0 or more"
            )
        if not self._waits.entered:
            raise ChaosError("the clock is not in use: its `with` block has ended")
        pacer.skip(seconds)

    def wait(self, woken: Bell, seconds: float | None) -> None:
        """Wait on this thread until ``woken`` is set or ``seconds`` have passed or were skipped."""
        loop = asyncio._get_running_loop()  # which it blocks
        with self._waits.going_on(seconds, woken, loop):
            _SYSTEM.wait(woken, seconds)

    async def await_(self, woken: TaskBell, seconds: float | None) -> None:
        """Wait in this task until ``woken`` is done or ``seconds`` have passed or were skipped."""
        loop = woken.loop
        loop_time.see(loop)
        with self._waits.going_on(seconds, woken, loop):
            await _SYSTEM.await_(woken, seconds)


@contextmanager
def skipping(registry: Registry) -> Iterator[SkippingClock]:
    """Have the faults and deadlines of ``registry`` go by a clock that skips, for a block.

    A wait with a bound that is still going on at the end of the block ends then. Rules that are
    armed then have as much time left as they had. Other registries may have a clock at the same
    time: what is skipped for one passes for all. Raises `ChaosError` if this one has.
    """
    clock = SkippingClock(registry.engine)
    waits = clock._waits
    try:
        waits.enter(clock)
        yield clock
    finally:
        waits.leave()
