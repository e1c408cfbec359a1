"""Log lines, warnings, and reports of chaospoint's own bugs.

Log handlers are code of the program: they may reach points, and wait for other threads.  So they
run with points transparent and without a lock of chaospoint.  Problems of rules that code armed
become warnings; those of other sources go to the log.  A bug of chaospoint never reaches the
program: the call continues, and the log reports the bug once.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import FrameType

from chaospoint._kernel.context import passes, set_safely, transparently
from chaospoint._kernel.lock import arming_lock
from chaospoint.errors import ChaosWarning

__all__ = ["bugs", "located", "log", "report_bug", "warn"]


_log = logging.getLogger("chaospoint")


def log(level: int, message: str, *values: object, error: BaseException | None = None) -> None:
    """Log a line, with a traceback if ``error`` is given; exceptions of handlers are dropped."""
    arming_lock.after_release(partial(_write, level, message, values, error))


def _write(
    level: int, message: str, values: tuple[object, ...], error: BaseException | None
) -> None:
    try:
        transparently(partial(_log.log, level, message, *values, exc_info=error))
    except BaseException as raised:
        if passes(raised):
            raise
        from chaospoint._kernel.host_error import is_of_host  # seldom needed

        if is_of_host(raised):
            raise  # a time limit of the program that expired meanwhile
        # A log handler that fails must not break the caller's call.


bugs: deque[BaseException] = deque(maxlen=10)
"""The latest bugs of chaospoint, so that test fixtures can fail on them."""

_reported: set[tuple[str, type[BaseException]]] = set()

_STACK_EXHAUSTED = "the program has exhausted its stack, and the call continues if it can"
_BUG = "the call continues without a fault; this is a bug in chaospoint: please report it"


def report_bug(where: str, cure: str = _BUG, *, foreign: bool = False) -> None:
    """Log the exception that is being handled, at ERROR, once for each place and type.

    Raises the exception again if it is a time limit of the program that expired in chaospoint's
    code.  ``foreign``: code of the program was just called and may have raised the exception.
    """
    from chaospoint._kernel.host_error import is_of_host  # seldom needed

    error = sys.exception()
    if error is None:
        return
    if is_of_host(error, foreign=foreign):
        try:
            raise error
        finally:
            del error  # avoids a reference cycle of this frame and the traceback
    if isinstance(error, RecursionError) and _deep():
        cure = _STACK_EXHAUSTED  # the program used most of the stack, so this is not our bug
    else:
        bugs.append(error)
    if (where, type(error)) not in _reported:
        _reported.add((where, type(error)))
        kind = type(error).__name__
        try:
            log(logging.ERROR, "%s failed (%s: %s); %s", where, kind, error, cure, error=error)
        except RecursionError:
            pass


def _deep() -> bool:
    """Whether the stack of the program is deep: a recursion of our own has unwound by now."""
    depth, frame = 0, sys._getframe().f_back
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return depth > sys.getrecursionlimit() // 2


_HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep

_place: ContextVar[tuple[str, int] | None] = ContextVar("chaospoint_remark_place", default=None)


@contextmanager
def located(filename: str, line: int) -> Iterator[None]:
    """Attribute warnings in the ``with`` block to this line, for which another line arms."""
    previous = _place.get()
    try:
        set_safely(_place, (filename, line))
        yield
    finally:
        set_safely(_place, previous)


def warn(text: str, source: str) -> None:
    """Issue a `ChaosWarning` if code or a test armed the rule, otherwise log a WARNING."""
    transparently(_warn, text, source)  # log handlers and `warnings.showwarning` may be replaced


def _warn(text: str, source: str) -> None:
    if source not in ("code", "test"):
        logging.getLogger("chaospoint").warning("%s (armed by %s)", text, source)
        return
    if (place := _place.get()) is not None:
        warnings.warn_explicit(text, ChaosWarning, *place)
        return
    # Attributes the warning to the line that armed, above all frames of chaospoint.
    depth = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        depth += 1
        frame = frame.f_back
    warnings.warn(text, ChaosWarning, stacklevel=depth)
