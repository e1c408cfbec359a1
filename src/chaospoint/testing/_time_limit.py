"""A bound in real time on what may never come back, by the machine's alarm.

It works in the main thread of a process that has ``SIGALRM``, and nowhere else: elsewhere nothing
can be interrupted, and `can_interrupt` says so.
"""

from __future__ import annotations

import signal
import threading

__all__ = ["Hung", "TimeLimit", "can_interrupt"]

_AGAIN = 1.0


class Hung(BaseException):
    """Ends what did not come back in time; no ``except Exception`` takes it for a fault."""


class TimeLimit:
    """Has `Hung` raised in its block when ``seconds`` have passed; ``struck`` says that it was.

    The alarm may strike while the block is being left, too: enter it inside of a block or ``try``
    that calls `stop` once more. Where nothing can be interrupted it does nothing.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.struck = False
        self._running = False
        self._before: object = None

    def __enter__(self) -> TimeLimit:
        if can_interrupt():
            self._before = signal.signal(signal.SIGALRM, self._strike)
            self._running = True
            # Again and again: what runs in the callbacks of an event loop, or cleans up after
            # itself, may swallow the first. Never soon, so that leaving is struck once only.
            again = max(_AGAIN, self.seconds)
            signal.setitimer(signal.ITIMER_REAL, self.seconds, again)
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let the alarm strike no more; no error if it was stopped before."""
        self._running = False  # first: from here on a late alarm does nothing
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            before, self._before = self._before, None
            signal.signal(signal.SIGALRM, before)  # type: ignore[arg-type]

    def _strike(self, *_: object) -> None:
        if self._running:
            self.struck = True
            raise Hung(f"did not come back within {self.seconds:g} s")


def can_interrupt() -> bool:
    """Whether what runs on this thread can be bounded: nobody else uses the alarm, for one."""
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0.0
    )
