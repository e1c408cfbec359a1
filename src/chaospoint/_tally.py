"""The counts of one rule, exact under threads.

No lock is taken on the way of a call that does not fire.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count, islice
from threading import Lock

from chaospoint._decide import NEVER, Schedule, decide

__all__ = ["Tally", "counted", "counter"]

_CHUNK = 128


class Tally:
    """The counts of one rule, exact under threads.

    ``ordinals`` hands out one ordinal a matching reach, in one bytecode of C code; ``due`` is a
    lower bound of the next ordinal that fires, so a stale read costs a look and never a firing.
    Ordinals that fire lie in ``_chunk`` until the reach that drew them takes them out, which
    `dict.pop` does for exactly one thread.
    """

    __slots__ = ("_chunk", "_firings", "_horizon", "_lock", "due", "fired", "ordinals")

    def __init__(self, schedule: Schedule) -> None:
        self.ordinals: Iterator[int] = counter()
        self.fired: Iterator[int] = counter()
        self.due = 0  # the first reach looks, and so makes the first chunk
        self._chunk: dict[int, None] = {}
        self._firings = decide(schedule)
        self._horizon = 0  # every firing ordinal up to here is, or was, in the chunk
        self._lock = Lock()

    def take(self, ordinal: int) -> bool:
        """Say whether ``ordinal`` fires; yes once only."""
        while ordinal > self._horizon:
            with self._lock:
                if ordinal > self._horizon:
                    self._extend()
        took = self._chunk.pop(ordinal, False) is None
        if took and len(self._chunk) < _CHUNK // 2 and self._lock.acquire(blocking=False):
            try:  # early, so that others seldom wait
                self._extend()
            finally:
                self._lock.release()
        # The horizon is read before the chunk: a chunk extended in between lies beyond it.
        beyond = self._horizon + 1
        try:
            self.due = next(iter(self._chunk), beyond)
        except RuntimeError:
            pass  # another thread took one while we looked; the old bound still holds
        return took

    @property
    def spent(self) -> bool:
        """Whether no ordinal is left that fires."""
        return self._horizon >= NEVER and not self._chunk

    def _extend(self) -> None:
        if self._horizon >= NEVER:
            return
        fresh = list(islice(self._firings, _CHUNK))
        self._chunk.update(dict.fromkeys(fresh))
        self._horizon = fresh[-1] if len(fresh) == _CHUNK else NEVER


class _LockedCount:
    """`itertools.count` for interpreters without a GIL, where the one in C is not atomic."""

    def __init__(self) -> None:
        self._next = 1
        self._lock = Lock()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self._lock:
            self._next += 1
            return self._next - 1

    def __repr__(self) -> str:
        return f"count({self._next})"


def counter() -> Iterator[int]:
    """Return an endless iterator over 1, 2, … that hands each number to one thread only."""
    free_threaded = not getattr(sys, "_is_gil_enabled", lambda: True)()
    return _LockedCount() if free_threaded else count(1)


def counted(numbers: Iterator[int]) -> int:
    """Return how many numbers a `counter` has handed out, without taking one."""
    return int(repr(numbers)[len("count(") : -1]) - 1
