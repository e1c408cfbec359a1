"""Spare file descriptors, for when the process has run out of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from chaospoint._kernel.lock import Lock

__all__ = ["Spares"]

_MOST = 12 if os.name == "posix" else 0
_FOR_WORK = 8  # an answer needs these: the store opens several files at once


class Spares:
    """Duplicates of one descriptor, each of which can be closed to make room for another file.

    Safe from any thread; raises nothing.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._state = os.fstat(file) if _MOST else None
        self._held: list[int] = []
        self._lent = 0
        self._guard = Lock()
        self.fill()

    @property
    def short(self) -> bool:
        """Whether the process had no descriptors left at the last attempt to fill."""
        return len(self._held) < _MOST

    @property
    def lent(self) -> bool:
        """Whether a request is being answered with these descriptors."""
        return self._lent > 0

    def fill(self) -> None:
        """Take as many descriptors as are missing and available."""
        with self._guard:
            self._fill()

    def give(self) -> bool:
        """Release one for a new connection; return False if all are reserved for answers."""
        with self._guard:
            if self._lent or len(self._held) <= _FOR_WORK:
                return False
            self._close(self._held.pop())
            return True

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Release all of them meanwhile, if the process has no others."""
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
        """Close the inherited descriptors in a forked child, without the parent's lock."""
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
        # A program that daemonizes closes all descriptors, and another file may have this number.
        with suppress(OSError):
            if self._state and os.path.samestat(os.fstat(spare), self._state):
                os.close(spare)
