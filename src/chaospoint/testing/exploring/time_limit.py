"""A bound in real time on what may never come back, by the machine's alarm.

It works in the main thread of a process that has ``SIGALRM``, and nowhere else: elsewhere nothing
can be interrupted, and `can_interrupt` says so.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable

__all__ = ["Hung", "TimeLimit", "can_interrupt"]

_AGAIN = 1.0
_SWALLOWED = 3
_STATUS = 3  # of a process that is ended here, which is that of an internal error of pytest


class Hung(BaseException):
    """Ends what did not come back in time; no ``except Exception`` takes it for a fault."""


class TimeLimit:
    """Has ``raises`` raised in its block when ``seconds`` have passed; ``struck`` says that it was.

    The alarm may strike while the block is being left, too: enter it inside of a block or ``try``
    that calls `stop` once more. Where nothing can be interrupted it does nothing. ``lost``: whether
    somebody else took the alarm in the block, so that it could not strike from then on. What
    swallows it time and again can be ended with its process only: this is said, with ``what`` it
    was and where it stands, on the real stderr; ``before_end`` is called before.
    """

    def __init__(
        self,
        seconds: float,
        what: str = "",
        *,
        raises: type[BaseException] = Hung,
        before_end: Callable[[], object] | None = None,
    ) -> None:
        self.seconds = seconds
        self.struck = False
        self.lost = False
        self.before_end = before_end
        self.what = what
        self._raises = raises
        self._strikes = 0
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
            left = signal.getitimer(signal.ITIMER_REAL)[0]
            self.lost = left == 0.0 or signal.getsignal(signal.SIGALRM) != self._strike
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            before, self._before = self._before, None
            signal.signal(signal.SIGALRM, before)  # type: ignore[arg-type]

    def _strike(self, *_: object) -> None:
        if self._running:
            self.struck = True
            self._strikes += 1
            if self._strikes > _SWALLOWED:
                self._end_process()
            raise self._raises(f"did not come back within {self.seconds:g} s")

    def _end_process(self) -> None:
        if self.before_end is not None:
            self.before_end()
        if sys.__stderr__ is not None:
            print(
                f"chaospoint: {self.what or 'a run'} did not come back within {self.seconds:g} s, "
                f"and swallowed its end {_SWALLOWED} times: this process is ended. It stands at",
                file=sys.__stderr__,
                flush=True,
            )
            faulthandler.dump_traceback(sys.__stderr__)
        os._exit(_STATUS)


def can_interrupt() -> bool:
    """Whether what runs on this thread can be bounded: nobody else uses the alarm, for one."""
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0.0
    )
