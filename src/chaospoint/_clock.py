"""Time as an input: whoever waits or looks at the clock does it through one of these."""

from __future__ import annotations

import time
from asyncio import Future
from threading import Event
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """A monotonic clock and the two ways of waiting on it.

    Both waits may end early without a reason; the caller looks at the clock and waits again. A
    wait of 0 seconds gives up the turn once.
    """

    def monotonic(self) -> float:
        """Return seconds that never go backwards; their origin means nothing."""

    def wait(self, woken: Event, seconds: float | None) -> None:
        """Wait on this thread until ``woken`` is set or ``seconds`` have passed."""

    async def await_(self, woken: Future[None], seconds: float | None) -> None:
        """Wait in this task until ``woken`` is done or ``seconds`` have passed."""


class SystemClock:
    """The machine's monotonic clock."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Return `time.monotonic`."""
        return time.monotonic()

    def wait(self, woken: Event, seconds: float | None) -> None:
        """Wait on ``woken``, which Ctrl-C interrupts."""
        if seconds == 0.0:
            time.sleep(0)  # an event would be looked at without letting go of the GIL
        else:
            woken.wait(seconds)

    async def await_(self, woken: Future[None], seconds: float | None) -> None:
        """Wait on ``woken`` and a timer of its own loop."""
        if seconds is None:
            await woken
            return
        timer = woken.get_loop().call_later(seconds, settle, woken)
        try:
            await woken
        finally:
            timer.cancel()


def settle(woken: Future[None]) -> None:
    """Finish ``woken`` unless it is finished or cancelled already."""
    if not woken.done():
        woken.set_result(None)
