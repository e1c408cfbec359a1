"""Our own lines in the log, written where no point acts and no lock of ours is held.

A handler of the host's is foreign code: it may reach points, and wait for other threads.
"""

from __future__ import annotations

import logging
from functools import partial

from chaospoint._inside import passes, transparently
from chaospoint._lock import arming

__all__ = ["say"]

_log = logging.getLogger("chaospoint")


def say(level: int, message: str, *values: object, error: BaseException | None = None) -> None:
    """Log a line, with a traceback if there is an ``error``; what a handler raises is dropped."""
    arming.later(partial(_write, level, message, values, error))


def _write(
    level: int, message: str, values: tuple[object, ...], error: BaseException | None
) -> None:
    try:
        transparently(partial(_log.log, level, message, *values, exc_info=error))
    except BaseException as raised:
        if passes(raised):
            raise
        from chaospoint._host_error import is_of_host  # seldom needed

        if is_of_host(raised):
            raise  # a time limit that came meanwhile
        # A log handler that fails must not break the caller's call.
