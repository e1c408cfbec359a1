"""File descriptors kept for the time when the process has run out of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from chaospoint._kernel.lock import Lock

__all__ = ["Spares"]

_MOST = 12 if os.name == "posix" else 0
_FOR_WORK = 8  # of these, what answering takes: the store opens several files at once


class Spares:
    """Copies of one open file, each of which is given up to make room for another file.

    Safe from any thread; raises nothing.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._found = os.fstat(file) if _MOST else None
        self._held: list[int] = []
        self._lent = 0
        self._guard = Lock()
        self.fill()

    @property
    def short(self) -> bool:
        """Whether the process had no descriptors left when this object looked last."""
        return len(self._held) < _MOST

    @property
    def lent(self) -> bool:
        """Whether a request is being answered in the room of these."""
        return self._lent > 0

    def fill(self) -> None:
        """Take as many as there are."""
        with self._guard:
            self._fill()

    def give(self) -> bool:
        """Give up one to a new connection, if it is not kept for work."""
        with self._guard:
            if self._lent or len(self._held) <= _FOR_WORK:
                return False
            self._close(self._held.pop())
            return True

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Give up all of them meanwhile, if the process has no others."""
        with self._guard:
            if lends := self.short:
                self._give_all()
        try:
            yield
        finally:
            with self._guard:
                self._lent -= lends
                self._fill()

    def disown(self) -> None:
        """Close what a forked child inherited, where a thread of the parent may hold the lock."""
        self._guard = Lock()
        self.drop()

    def drop(self) -> None:
        """Close all of them for good."""
        with self._guard:
            self._give_all()

    def _give_all(self) -> None:
        self._lent += 1
        while self._held:
            self._close(self._held.pop())

    def _fill(self) -> None:
        with suppress(OSError):
            while not self._lent and len(self._held) < _MOST:
                self._held.append(os.dup(self._file))

    def _close(self, spare: int) -> None:
        # A program that becomes a daemon closes all files, and others may have the number.
        with suppress(OSError):
            if self._found and os.path.samestat(os.fstat(spare), self._found):
                os.close(spare)
