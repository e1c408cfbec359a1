"""Wake the waiting calls at the end of the program, so that they do not keep the process alive.

Python joins threads and executors before it runs `atexit` functions, so an `atexit` function would
be too late.  The calls are woken just before the threads are joined, and none is held afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures.thread import _worker
from typing import Any

from chaospoint._kernel.context import transparently

__all__ = ["ProgramEnd", "ending", "executor_of_a_loop"]


class ProgramEnd:
    """The waiting calls to wake when the main thread ends, and whether it has ended."""

    __slots__ = ("_waiting", "has_begun")

    def __init__(self) -> None:
        self.has_begun = False
        self._waiting: set[Callable[[], None]] = set()  # only atomic operations change it

    def add(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` when the main thread ends."""
        self._waiting.add(wake)

    def discard(self, wake: Callable[[], None]) -> None:
        """Do not call ``wake`` any more."""
        self._waiting.discard(wake)

    def begin(self) -> None:
        """Wake all waiting calls."""
        self.has_begun = True
        transparently(self._wake_all)

    def _wake_all(self) -> None:
        for wake in self._waiting.copy():
            try:
                wake()
            except RuntimeError:
                pass  # its event loop is closed


ending = ProgramEnd()


def executor_of_a_loop() -> Any:
    """Return the executor that runs this thread if it is the default one of an event loop.

    `asyncio.to_thread` uses it.  Closing the loop waits for the executor, and happens before the
    main thread ends.  The threads of asyncio's and uvloop's (0.23 and later) default executors are
    recognised by their names.
    """
    thread: Any = threading.current_thread()
    return (
        thread._args[0]()
        if thread.name.startswith(("asyncio_", "uvloop_"))
        # Compares the code, because a program may import the module of executors a second time.
        and getattr(thread._target, "__code__", None) == _worker.__code__
        else None
    )


def _register() -> None:
    """Call `ProgramEnd.begin` before Python joins threads.

    Python calls these functions in reverse order of registration.  The import of
    `concurrent.futures` above has registered the one that joins the threads of executors, so ours
    runs before it.
    """
    try:
        threading._register_atexit(ending.begin)  # type: ignore[attr-defined]
    except RuntimeError:  # the threads are being joined already
        ending.has_begun = True


_register()
