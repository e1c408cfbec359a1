"""Starts a thread from another thread, where no signal handler can interrupt that.

Python runs signal handlers in the main thread.  One that raises within ``Thread.start`` may leave a
lock of `threading` held, and then no thread of the process can start any more; or the new thread
waits for ever for its own beginning.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
from functools import partial
from threading import Thread

from chaospoint._kernel.bell import Bell
from chaospoint._kernel.context import in_chaospoint

__all__ = ["BeginningCall", "OwnThread", "Start", "start", "tended"]


_PATIENCE_SECONDS = 5.0


class OwnThread(Thread):
    """A daemon thread of chaospoint's, in which every point is transparent from its first step.

    Before it comes to ``body``, and after that, it runs code of `threading`.
    """

    def __init__(self, name: str, body: Callable[[], object]) -> None:
        super().__init__(name=name, daemon=True)
        self._body = body

    def _bootstrap(self) -> None:
        in_chaospoint.set(True)
        super()._bootstrap()  # type: ignore[misc]  # what `start` has the new thread call

    def run(self) -> None:
        """Do what the thread is for."""
        in_chaospoint.set(True)  # the context of a thread may be another one here
        self._body()


class Start:
    """The start of one thread, which takes a moment."""

    def __init__(self, thread: Thread) -> None:
        self.thread = thread
        self.error: RuntimeError | None = None
        self._begun = False
        self._over = False  # besides the bell, which an interrupted wait may leave unset
        self._done = Bell()

    @property
    def over(self) -> bool:
        """Whether the thread has ended, or was never started."""
        return not self._begun or (self._over and not self.thread.is_alive())

    def begin(self) -> None:
        """Start it; raises `RuntimeError` if the process can have no more threads."""
        # Looked up at each call, because gevent may patch it late.  Only the new thread keeps what
        # it is to call, which is gone when that ends.
        call = iter([BeginningCall(Start._start, self)].pop, None)
        for _ in map(_thread.start_new_thread, call, ((),)):
            self._begun = True  # nothing comes between the two lines
            return

    def finish(self) -> None:
        """Wait until the thread runs; raises `RuntimeError` if it cannot."""
        self._wait(_PATIENCE_SECONDS)
        if self.error is not None:
            raise self.error

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended, for so many seconds at most."""
        if self._begun and self._wait(seconds) and self.thread.is_alive():
            self.thread.join(seconds)

    def _wait(self, seconds: float) -> bool:
        return self._over or self._done.wait(seconds)

    def _start(self) -> None:
        try:
            in_chaospoint.set(True)  # the context of a new thread is its own
            self.thread.start()
        except RuntimeError as error:
            self.error = error
        finally:
            self.end()

    def end(self) -> None:
        """Take note that the thread runs, or that it never will."""
        self._over = True
        self._done.set()


class BeginningCall(partial[None]):
    """What a new thread calls; the start is over when this is gone.

    The thread may end before its first step: what is thrown into the thread that has begun it is
    raised in the new one on CPython 3.11, until that runs.
    """

    def __del__(self) -> None:
        self.args[0].end()


def start(thread: Thread) -> None:
    """Start ``thread`` as its own ``start`` does, and wait until it runs."""
    beginning = Start(thread)
    beginning.begin()
    beginning.finish()


tended: list[Callable[[], object]] = []
"""Functions that replace chaospoint's other threads, where these have ended early."""
