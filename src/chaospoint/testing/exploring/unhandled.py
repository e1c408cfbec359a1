"""Collect errors that no code handles because they end a thread, a finalizer or a task.

Python passes these to hooks of the process, and the program continues as if nothing had happened.
"""

from __future__ import annotations

import gc
import logging
import re
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Unhandled", "UnhandledError"]

_LOG = logging.getLogger("asyncio")  # the default handler of loops, including uvloop's, logs here


class UnhandledError(NamedTuple):
    """An error, and where it ended."""

    error: BaseException
    where: str


class Unhandled:
    """Collects unhandled errors within a block in ``errors``, if ``is_ours`` is true of them.

    A collected error is not passed on to the hook that was there before, except for errors in
    event loops, which are also logged. ``may_hold_error``: called at the end of the block; if it
    returns True, garbage is collected, because a task reports its error only when it is collected.
    Hooks that other code installs within the block stay.
    """

    def __init__(
        self, is_ours: Callable[[BaseException], bool], may_hold_error: Callable[[], bool]
    ) -> None:
        self.errors: list[UnhandledError] = []
        self._is_ours = is_ours
        self._may_hold_error = may_hold_error

    def __enter__(self) -> Unhandled:
        self._threads, self._rest = threading.excepthook, sys.unraisablehook
        self._in_thread, self._elsewhere = self._of_thread, self._of_rest
        threading.excepthook, sys.unraisablehook = self._in_thread, self._elsewhere
        _LOG.addFilter(self._of_loop)
        return self

    def __exit__(self, *exc: object) -> None:
        if not self.errors and self._may_hold_error():
            gc.collect()
        _LOG.removeFilter(self._of_loop)
        if threading.excepthook is self._in_thread:
            threading.excepthook = self._threads
        if sys.unraisablehook is self._elsewhere:
            sys.unraisablehook = self._rest

    def _collect(self, error: BaseException | None, where: str) -> bool:
        if error is None or not self._is_ours(error):
            return False
        self.errors.append(UnhandledError(error, where))
        return True

    def _of_thread(self, args: threading.ExceptHookArgs) -> None:
        # Without the number in the name of a thread, so that equal runs have equal results.
        name = "" if args.thread is None else re.sub(r"^Thread-\d+", "Thread", args.thread.name)
        if not self._collect(args.exc_value, f"unhandled in thread {name!r}"):
            self._threads(args)

    def _of_rest(self, args: sys.UnraisableHookArgs) -> None:
        if not self._collect(
            args.exc_value, "unhandled in a finalizer or another place that cannot raise"
        ):
            self._rest(args)

    def _of_loop(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        self._collect(error, "unhandled in a task or callback of an event loop")
        return True
