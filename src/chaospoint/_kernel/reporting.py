"""What chaospoint says for itself: lines in the log, warnings, and bugs of its own.

It says them where no point acts and no lock of chaospoint is held, because a handler of the log is
foreign code: it may reach points, and wait for other threads.  What code armed is warned of; what
came from outside is logged.  A bug of our own never reaches the host: the call goes through, and
the log says so, once.
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
    """Log a line, with a traceback if there is an ``error``; what a handler raises is dropped."""
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
            raise  # a time limit that came meanwhile
        # A log handler that fails must not break the caller's call.


bugs: deque[BaseException] = deque(maxlen=10)
"""The latest errors of chaospoint's own, for test fixtures that must fail on one."""

_said: set[tuple[str, type[BaseException]]] = set()

_STACK = "the stack of the program is at its end, and the call goes on as it can"
_OURS = "the call goes through without chaos; this is a bug in chaospoint: please report it"


def report_bug(where: str, cure: str = _OURS, *, foreign: bool = False) -> None:
    """Log the exception being handled, at ERROR and once for each place and type.

    A time limit of the host that came in the middle of our code is raised again.  ``foreign``:
    code of the program was just called, and may have raised it.
    """
    from chaospoint._kernel.host_error import is_of_host  # seldom needed

    error = sys.exception()
    if error is None:
        return
    if is_of_host(error, foreign=foreign):
        try:
            raise error
        finally:
            del error  # or this frame and the traceback would hold each other
    if isinstance(error, RecursionError) and _deep():
        cure = _STACK  # the program's own came to its end in our code
    else:
        bugs.append(error)
    if (where, type(error)) not in _said:
        _said.add((where, type(error)))
        kind = type(error).__name__
        try:
            log(logging.ERROR, "%s failed (%s: %s); %s", where, kind, error, cure, error=error)
        except RecursionError:
            pass


def _deep() -> bool:
    """Whether the program was far down already: what recursed by itself has come back by now."""
    depth, frame = 0, sys._getframe().f_back
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return depth > sys.getrecursionlimit() // 2


_HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep

_place: ContextVar[tuple[str, int] | None] = ContextVar("chaospoint_remark_place", default=None)


@contextmanager
def located(filename: str, line: int) -> Iterator[None]:
    """Have warnings belong to this line, where another one arms for it."""
    before = _place.get()
    try:
        set_safely(_place, (filename, line))
        yield
    finally:
        set_safely(_place, before)


def warn(text: str, source: str) -> None:
    """Report ``text`` to the source that armed."""
    transparently(_say, text, source)  # handlers, and what shows warnings, are foreign code


def _say(text: str, source: str) -> None:
    if source not in ("code", "test"):
        logging.getLogger("chaospoint").warning("%s (armed by %s)", text, source)
        return
    if (place := _place.get()) is not None:
        warnings.warn_explicit(text, ChaosWarning, *place)
        return
    # The warning belongs to the line that armed, however many frames of chaospoint lie between.
    depth = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        depth += 1
        frame = frame.f_back
    warnings.warn(text, ChaosWarning, stacklevel=depth)
