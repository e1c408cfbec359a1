"""What chaospoint waits with: a thread waits for a `Bell`, a task for a `TaskBell`.

Both are made of primitives that no point, patch or frozen clock reaches.  Setting a bell takes no
lock, so a signal handler, a finalizer or an observer may do it at any moment, also in the middle
of its own thread's wait.
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
    """An event for threads that wait: a lock that is held until somebody sets the bell.

    Under gevent's patches the lock is gevent's, so waiting lets other greenlets run.  Ctrl-C and
    other exceptions of signal handlers end a wait.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = transparently(_held_lock)

    def set(self) -> None:
        """Wake the threads that wait, or that come to wait before `clear`."""
        try:
            self._lock.release()
        except RuntimeError:
            pass  # it is set already

    def is_set(self) -> bool:
        """Whether somebody set it since the last `clear`."""
        return not self._lock.locked()

    def clear(self) -> None:
        """Have the next wait last until somebody sets it again."""
        self._lock.acquire(False)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, or for ``seconds``; return whether it is set.

        It waits in slices: a signal that arrives just before the interpreter begins to wait does
        not interrupt that, and what another thread raises here has to wait for the end of it.
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
        """Wake the task that waits, or that comes to wait before `clear`.

        Raises `RuntimeError` if the loop is closed.
        """
        transparently(self.loop.call_soon_threadsafe, settle, self.future)

    def is_set(self) -> bool:
        """Whether somebody set it since the last `clear`."""
        return self.future.done()

    def clear(self) -> None:
        """Have the next wait last until somebody sets it again; call it in the task."""
        if self.future.done():
            self.future = transparently(self.loop.create_future)


def _held_lock() -> LockType:
    lock = _thread.allocate_lock()  # looked up at each call, because gevent may patch it late
    lock.acquire()
    return lock


def settle(future: Future[None]) -> None:
    """Finish ``future`` unless it is finished or cancelled already."""
    if not future.done():
        future.set_result(None)
