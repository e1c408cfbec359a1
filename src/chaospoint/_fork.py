"""What happens around a fork, in one order: threads of ours end, then our locks are held.

So a child finds nothing half built and no lock held by a thread that it has not got.  In the child
the locks are made anew, every rule starts anew, and the threads start again in both.  A hook of
the host that runs before a fork must not wait for a thread that is arming something.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from chaospoint._lock import arming

if TYPE_CHECKING:
    from chaospoint._board import Board

__all__ = ["Guard", "boards", "guards"]


class Guard(Protocol):
    """A lock that is held over a fork and made anew in the child."""

    def __enter__(self) -> object: ...
    def __exit__(self, *exc: object) -> None: ...
    def renew(self) -> None:
        """Start with a fresh lock."""


boards: WeakSet[Board] = WeakSet()
"""What has a thread to end, and rules that start anew in a child."""

guards: list[Guard] = [arming]
"""The locks to hold, in the order in which they are taken."""

_forking = Lock()  # a second thread that forks would find the threads running again


def _before() -> None:
    _forking.acquire()
    with arming:
        found = list(boards)
    for board in found:
        board.keeper.stop()
    for guard in guards:
        guard.__enter__()


def _in_parent() -> None:
    for guard in reversed(guards):
        guard.__exit__()
    with arming:
        found = list(boards)
    for board in found:
        board.keeper.resume()
    _forking.release()


def _in_child() -> None:
    global _forking
    _forking = Lock()
    for guard in guards:
        guard.renew()
    for board in list(boards):
        board.keeper.renew()
        board.restart()
        board.keeper.resume()


def notice() -> bool:
    """Make everything anew in a process that was forked without the hooks."""
    _in_child()
    return True


# Once, for a module is imported once.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
