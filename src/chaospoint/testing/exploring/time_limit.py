"""End a run that hangs, after a limit of real time, with the alarm signal.

This works only on the main thread of a process that has ``SIGALRM``; `can_interrupt` tells whether
it works here.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable

__all__ = ["Hung", "TimeLimit", "can_interrupt", "cannot_be_seen"]

_REPEAT = 1.0  # seconds
_MAX_SWALLOWED = 3
_STATUS = 3  # the exit status of an internal error of pytest


class Hung(BaseException):
    """Raised in a run that exceeds its limit; ``except Exception`` does not catch it."""


class TimeLimit:
    """Raises ``raises`` in its block after ``seconds`` of real time, and sets ``struck``.

    The exception may also come while the block is being left: enter it inside of another block or
    ``try`` that calls `stop` again. Without `can_interrupt` it does nothing. ``lost``: whether
    other code took over the alarm within the block, so that the limit no longer applied. If the
    program swallows the exception several times, only the end of the process helps: ``before_end``
    is called, a message with ``what`` and the stacks of all threads go to the real stderr, and the
    process exits.
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
            # Repeated, because callbacks of an event loop and cleanup code may swallow the first
            # exception. The interval is long, so that leaving the block is interrupted only once.
            interval = max(_REPEAT, self.seconds)
            signal.setitimer(signal.ITIMER_REAL, self.seconds, interval)
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Cancel the limit; stopping twice is allowed."""
        self._running = False  # first, so that an alarm from here on does nothing
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
            if self._strikes > _MAX_SWALLOWED:
                self._end_process()
            raise self._raises(f"did not end within {self.seconds:g} s")

    def _end_process(self) -> None:
        if self.before_end is not None:
            self.before_end()
        if sys.__stderr__ is not None:
            print(
                f"chaospoint: {self.what or 'a run'} did not end within {self.seconds:g} s and "
                f"caught the exception that should end it {_MAX_SWALLOWED} times, so this process "
                "exits. Its threads are at:",
                file=sys.__stderr__,
                flush=True,
            )
            faulthandler.dump_traceback(sys.__stderr__)
        os._exit(_STATUS)


def can_interrupt() -> bool:
    """Whether a run on this thread can be ended: the alarm must exist and not be in use."""
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0.0
    )


def cannot_be_seen() -> list[str]:
    """Return one sentence if a run that hangs cannot be ended on this thread."""
    if can_interrupt():
        return []
    return [
        "hangs: they can only be ended on the main thread of a process with SIGALRM, if no other "
        "code uses that signal"
    ]
