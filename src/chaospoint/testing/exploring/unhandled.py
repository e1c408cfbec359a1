"""Sees errors of a run that nobody in it was told of: they end a thread, a finalizer or a task.

Python hands these to hooks of the process, and the run goes on as if nothing had happened.
"""

from __future__ import annotations

import gc
import logging
import re
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Unhandled", "Unheard"]

_LOG = logging.getLogger("asyncio")  # where the default handler of a loop, also uvloop's, reports


class Unheard(NamedTuple):
    """An error, and where it died."""

    error: BaseException
    where: str


class Unhandled:
    """Takes such errors out of the hooks for the length of a block, those that are ``ours``.

    ``collects``: asked at the end whether a task may hold an error that shows only once it is
    collected. Hooks that somebody else puts in place within the block stay.
    """

    def __init__(self, ours: Callable[[BaseException], bool], collects: Callable[[], bool]) -> None:
        self.found: list[Unheard] = []
        self._ours = ours
        self._collects = collects

    def __enter__(self) -> Unhandled:
        self._threads, self._rest = threading.excepthook, sys.unraisablehook
        self._in_thread, self._elsewhere = self._of_thread, self._of_rest
        threading.excepthook, sys.unraisablehook = self._in_thread, self._elsewhere
        _LOG.addFilter(self._of_loop)
        return self

    def __exit__(self, *exc: object) -> None:
        if not self.found and self._collects():
            gc.collect()
        _LOG.removeFilter(self._of_loop)
        if threading.excepthook is self._in_thread:
            threading.excepthook = self._threads
        if sys.unraisablehook is self._elsewhere:
            sys.unraisablehook = self._rest

    def _take(self, error: BaseException | None, where: str) -> bool:
        if error is None or not self._ours(error):
            return False
        self.found.append(Unheard(error, where))
        return True

    def _of_thread(self, args: threading.ExceptHookArgs) -> None:
        # Without the number that Python gives it, so that the same run says the same again.
        name = "" if args.thread is None else re.sub(r"^Thread-\d+", "Thread", args.thread.name)
        if not self._take(args.exc_value, f"unhandled in thread {name!r}"):
            self._threads(args)

    def _of_rest(self, args: sys.UnraisableHookArgs) -> None:
        if not self._take(args.exc_value, "unhandled where nothing can be raised"):
            self._rest(args)

    def _of_loop(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        self._take(error, "unhandled in a task or a callback of an event loop")
        return True
