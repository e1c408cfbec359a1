"""The events that chaospoint waits for: `Bell` in a thread, `TaskBell` in a task.

Both use primitives that points, patches and frozen clocks do not affect.  Setting a bell takes no
lock, so signal handlers, finalizers and observers may do it at any moment, even while their own
thread is inside a wait.
"""

from __future__ import annotations

import _thread
from _thread import LockType
from math import inf
from typing import TYPE_CHECKING

from chaospoint._kernel.context import transparently

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

__all__ = ["Bell", "TaskBell", "settle"]

SLICE = 0.5  # seconds


class Bell:
    """An event for threads: a lock that is held until the bell is set.

    If gevent has patched the standard library, the lock is gevent's, and other greenlets run
    during a wait.  Ctrl-C and other exceptions of signal handlers end a wait.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = transparently(_held_lock)

    def set(self) -> None:
        """Wake the waiting threads; waits that begin before `clear` return at once."""
        try:
            self._lock.release()
        except RuntimeError:
            pass  # it is already set

    def is_set(self) -> bool:
        """Whether it has been set since the last `clear`."""
        return not self._lock.locked()

    def clear(self) -> None:
        """Unset it: later waits last until it is set again."""
        self._lock.acquire(False)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, or for ``seconds``; return whether it is set.

        It waits in slices of half a second, because two things take effect only between waits: a
        signal that arrives just before a wait begins, and an exception that another thread raises
        in this one.
        """
        acquire, left = self._lock.acquire, inf if seconds is None else seconds
        while (
            not (is_set := acquire(True, SLICE if left > SLICE else left if left > 0.0 else 0.0))
            and left > SLICE
        ):
            left -= SLICE
        if is_set:
            self.set()
        return is_set


class TaskBell:
    """An event for one waiting task of ``loop``; `set` may be called on any thread."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self.future: Future[None] = transparently(loop.create_future)

    def set(self) -> None:
        """Wake the waiting task; a wait that begins before `clear` returns at once.

        Raises `RuntimeError` if the loop is closed.
        """
        transparently(self.loop.call_soon_threadsafe, settle, self.future)

    def is_set(self) -> bool:
        """Whether it has been set since the last `clear`."""
        return self.future.done()

    def clear(self) -> None:
        """Unset it: later waits last until it is set again. Call it in the task."""
        if self.future.done():
            self.future = transparently(self.loop.create_future)


def _held_lock() -> LockType:
    lock = _thread.allocate_lock()  # looked up at each call, because gevent may patch it later
    lock.acquire()
    return lock


def settle(future: Future[None]) -> None:
    """Finish ``future`` unless it is already finished or cancelled."""
    if not future.done():
        future.set_result(None)
