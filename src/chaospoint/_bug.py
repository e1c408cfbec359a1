"""A bug of our own never reaches the host: the call goes through, and the log says so, once."""

from __future__ import annotations

import logging
import sys
from collections import deque

from chaospoint._say import say

__all__ = ["bugs", "report"]

bugs: deque[BaseException] = deque(maxlen=10)
"""The latest errors of chaospoint's own, for test fixtures that must fail on one."""

_said: set[tuple[str, type[BaseException]]] = set()

_STACK = "the stack of the program is at its end, and the call goes on as it can"
_OURS = "the call goes through without chaos; this is a bug in chaospoint: please report it"


def report(where: str, cure: str = _OURS, *, foreign: bool = False) -> None:
    """Log the exception being handled, at ERROR and once for each place and type.

    A time limit of the host that came in the middle of our code is raised again.  ``foreign``:
    code of the program was just called, and may have raised it.
    """
    from chaospoint._host_error import is_of_host  # seldom needed

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
            say(logging.ERROR, "%s failed (%s: %s); %s", where, kind, error, cure, error=error)
        except RecursionError:
            pass


def _deep() -> bool:
    """Whether the program was far down already: what recursed by itself has come back by now."""
    depth, frame = 0, sys._getframe().f_back
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return depth > sys.getrecursionlimit() // 2
