"""The end of the program: a call that is held must not keep the process alive.

Python joins threads and executors before it runs `atexit` functions.  Before it does so, all calls
that wait here are woken, and from then on none is held.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures.thread import _worker
from typing import Any

from chaospoint._kernel.context import transparently

__all__ = ["ProgramEnd", "ending", "executor_of_a_loop"]


class ProgramEnd:
    """What has to be woken when the main thread ends, and whether it has ended."""

    __slots__ = ("_waiting", "has_begun")

    def __init__(self) -> None:
        self.has_begun = False
        self._waiting: set[Callable[[], None]] = set()  # changed in single steps

    def add(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called when the main thread ends."""
        self._waiting.add(wake)

    def discard(self, wake: Callable[[], None]) -> None:
        """Forget ``wake``."""
        self._waiting.discard(wake)

    def begin(self) -> None:
        """Wake all that wait."""
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
    """Return the executor of an event loop that runs this thread, as in `asyncio.to_thread`.

    The main thread waits for it where it closes the loop, and so before it ends.
    """
    thread: Any = threading.current_thread()
    return (
        thread._args[0]()
        if thread.name.startswith(("asyncio_", "uvloop_"))
        # A program may import the module of executors a second time.
        and getattr(thread._target, "__code__", None) == _worker.__code__
        else None
    )


def _register() -> None:
    """Have `ProgramEnd.begin` called before Python joins threads.

    The function registered last is called first, and executors join their threads in the one that
    `concurrent.futures` registers when it is imported, as it is above.
    """
    try:
        threading._register_atexit(ending.begin)  # type: ignore[attr-defined]
    except RuntimeError:  # the threads are being joined already
        ending.has_begun = True


_register()
