"""Start a thread from a helper thread, where no signal handler can interrupt the start.

Python runs signal handlers in the main thread.  If one raises inside ``Thread.start``, a lock of
`threading` may stay held, and the process can then start no other thread; or the new thread waits
forever for its own start.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
from functools import partial
from threading import Thread

from chaospoint._kernel.bell import Bell
from chaospoint._kernel.context import in_chaospoint

__all__ = ["BeginningCall", "OwnThread", "Start", "restarters", "start"]


_PATIENCE_SECONDS = 5.0


class OwnThread(Thread):
    """A daemon thread in which every point is transparent from the first instruction.

    Setting the flag in ``body`` would not be enough, because the thread runs code of `threading`
    before and after it.
    """

    def __init__(self, name: str, body: Callable[[], object]) -> None:
        super().__init__(name=name, daemon=True)
        self._body = body

    def _bootstrap(self) -> None:
        in_chaospoint.set(True)
        super()._bootstrap()  # type: ignore[misc]  # `start` makes the new thread call this

    def run(self) -> None:
        """Call ``body``."""
        in_chaospoint.set(True)  # again, because the thread may have another context by now
        self._body()


class Start:
    """The start of one thread, which another thread performs."""

    def __init__(self, thread: Thread) -> None:
        self.thread = thread
        self.error: RuntimeError | None = None
        self._begun = False
        self._over = False  # in addition to the bell, which an interrupted wait may leave unset
        self._done = Bell()

    @property
    def over(self) -> bool:
        """Whether the thread has ended or was never started."""
        return not self._begun or (self._over and not self.thread.is_alive())

    def begin(self) -> None:
        """Start it; raises `RuntimeError` if the process cannot start another thread."""
        # `start_new_thread` is looked up at each call, because gevent may patch it later.  `pop`
        # hands the only reference to the `BeginningCall` to the new thread, so the call is deleted
        # when that thread ends.
        call = iter([BeginningCall(Start._start, self)].pop, None)
        for _ in map(_thread.start_new_thread, call, ((),)):
            self._begun = True  # no signal is handled between the previous line and this one
            return

    def finish(self) -> None:
        """Wait until the thread runs; raises `RuntimeError` if it cannot be started."""
        self._wait(_PATIENCE_SECONDS)
        if self.error is not None:
            raise self.error

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended, for ``seconds`` at most."""
        if self._begun and self._wait(seconds) and self.thread.is_alive():
            self.thread.join(seconds)

    def _wait(self, seconds: float) -> bool:
        return self._over or self._done.wait(seconds)

    def _start(self) -> None:
        try:
            in_chaospoint.set(True)  # a new thread has a context of its own
            self.thread.start()
        except RuntimeError as error:
            self.error = error
        finally:
            self.end()

    def end(self) -> None:
        """Record that the thread runs or could not be started."""
        self._over = True
        self._done.set()


class BeginningCall(partial[None]):
    """The function of the helper thread; deleting it marks the start as over.

    The helper thread may end before its first instruction: on CPython 3.11, an exception that is
    thrown into the thread that starts it may be raised in the new one.
    """

    def __del__(self) -> None:
        self.args[0].end()


def start(thread: Thread) -> None:
    """Start ``thread``, and wait until it runs."""
    beginning = Start(thread)
    beginning.begin()
    beginning.finish()


restarters: list[Callable[[], object]] = []
"""Functions that replace other threads of chaospoint if these have ended unexpectedly."""
