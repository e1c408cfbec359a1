"""The counts of one rule, which are exact under threads.

A call that does not fire takes no lock, with two exceptions: about one call in a hundred draws the
next ordinals, and firings that ``max_active`` suppresses are counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, dropwhile, islice
from weakref import ref

from chaospoint._kernel.chance import NEVER, Schedule, decide
from chaospoint._kernel.context import in_chaospoint, transparently
from chaospoint._kernel.lock import Lock

__all__ = ["BoundedTally", "Slot", "Tally", "counted", "counter"]

_CHUNK = 128
_int, _repr = int, repr  # the builtins may become points


class Slot:
    """One of the ``max_active`` simultaneous injections of a rule.

    The driver releases it at the end of the effects.  Some drivers never run: a coroutine or
    generator may be closed before it begins.  So the tally keeps a weak reference to the owner, and
    a rule at its limit takes back the slots whose owners are gone.  A finalizer would do this
    earlier, but it would swallow exceptions that a signal handler raises in it.
    """

    __slots__ = ("__weakref__", "_taken")

    def __init__(self, taken: dict[int, ref[object]]) -> None:
        self._taken = taken
        taken[id(self)] = ref(self)

    def belongs_to(self, owner: object) -> None:
        """Record the coroutine or generator that will act; it may be closed before it begins."""
        self._taken[id(self)] = ref(owner)

    def release(self) -> None:
        """Release the slot."""
        self._taken.pop(id(self), None)


def _is_over(owner: object) -> bool:
    """Whether the owner of a slot is gone, or is a closed coroutine or generator."""
    if owner is None or isinstance(owner, Slot):
        return owner is None
    return all(getattr(owner, name, None) is None for name in ("cr_frame", "gi_frame", "ag_frame"))


OPEN = Slot({})
"""The slot of all injections without a limit."""


class Tally:
    """The counts of one rule, which are exact under threads.

    ``ordinals`` gives each reach its ordinal, in one bytecode that runs C code.  ``due`` is a lower
    bound of the next ordinal that fires: a thread that reads an old value makes one call of `take`
    in vain, and never misses a firing.  ``_chunk`` holds the next ordinals that fire.  A reach
    claims its ordinal with `dict.pop`, which succeeds in exactly one thread.

    Points are transparent while the lock is held: a finalizer may run then, and if it reached a
    point of this rule, it would wait for its own thread.  Only a reader may interrupt the holder of
    the lock, such as `explain` in a signal handler; it reads the current values.
    """

    __slots__ = (
        "_chunk",
        "_drawing",
        "_firings",
        "_horizon",
        "_lock",
        "_schedule",
        "due",
        "fired",
        "ordinals",
    )

    def __init__(self, schedule: Schedule) -> None:
        self.ordinals: Iterator[int] = counter()
        self.fired: Iterator[int] = counter()
        self.due = 0  # so that the first reach calls `take`, which draws the first chunk
        self._chunk: dict[int, None] = {}
        self._schedule = schedule
        self._firings: Iterator[int] | None = decide(schedule)
        self._horizon = 0  # all firing ordinals up to this one are or were in the chunk
        self._lock = Lock()
        self._drawing = False

    def take(self, ordinal: int) -> Slot | None:
        """Return a slot if ``ordinal`` fires; only once for each ordinal."""
        chunk = self._chunk
        took = chunk.pop(ordinal, False) is None or self._take_late(ordinal)
        few = chunk.__len__() < _CHUNK // 2  # not `len`, which may be a point that acts here
        if took and few and self._horizon < NEVER and not self._drawing:
            self._draw(below=_CHUNK // 2)  # early, so that other threads seldom wait for a chunk
        # Reads the horizon before the chunk.  The other way round, a chunk that another thread adds
        # in between would be below the horizon, and `due` would be too high.
        lowest = self._horizon + 1
        try:
            for lowest in chunk:  # noqa: B007 - its first key, cheaper than next()
                break
            self.due = lowest
        except RuntimeError:
            pass  # another thread changed the chunk; the old bound is still a lower bound
        return OPEN if took else None

    def _take_late(self, ordinal: int) -> bool:
        """Claim an ordinal that may be beyond the horizon."""
        while ordinal > self._horizon:
            self._draw(to=ordinal)
        return self._chunk.pop(ordinal, False) is None

    def _draw(self, *, below: int = 0, to: int = 0) -> None:
        """Draw the next chunk if fewer than ``below`` ordinals are left, or ``to`` is beyond it."""
        transparently(self._draw_locked, below, to)

    def _draw_locked(self, below: int, to: int) -> None:
        with self._lock:
            try:
                self._drawing = True
                if len(self._chunk) < below or to > self._horizon:
                    self._extend()
            finally:
                self._drawing = False

    @property
    def spent(self) -> bool:
        """Whether no further ordinal fires."""
        return self._horizon >= NEVER and not self._chunk

    @property
    def overflow(self) -> int:
        """The number of firings that ``max_active`` suppressed."""
        return 0

    @property
    def next_ordinal(self) -> int | None:
        """The next ordinal that fires, or None if there is none."""
        if not self._lock.owned:
            self._draw(below=1)
        elif not self._chunk:  # read by a signal handler while its own thread is drawing
            return next(dropwhile(self._horizon.__ge__, decide(self._schedule)), None)
        return min(self._chunk.copy(), default=None)

    def _extend(self) -> None:
        if self._horizon >= NEVER:
            return
        firings, self._firings = self._firings, None  # an interrupted generator has ended
        if firings is None:
            firings = dropwhile(self._horizon.__ge__, decide(self._schedule))
        fresh = list(islice(firings, _CHUNK))
        chunk = dict.fromkeys(fresh)
        self._firings = firings  # no signal is handled from here to the end of `update`
        self._chunk.update(chunk)
        self._horizon = fresh[-1] if len(fresh) == _CHUNK else NEVER


class BoundedTally(Tally):
    """The counts of a rule with at most ``limit`` simultaneous injections.

    A suppressed firing does not count towards ``times``, so ``times`` is counted here and not by
    the schedule.
    """

    __slots__ = ("_left", "_limit", "_overflow", "_taken")

    def __init__(self, schedule: Schedule, limit: int) -> None:
        super().__init__(replace(schedule, times=None))
        self._limit = limit
        self._left = NEVER if schedule.times is None else schedule.times
        self._taken: dict[int, ref[object]] = {}
        self._overflow = counter()

    def take(self, ordinal: int) -> Slot | None:
        """Return a slot if ``ordinal`` fires and one is free; only once for each ordinal."""
        if super().take(ordinal) is None:
            return None
        return self._take_place() if in_chaospoint.get() else transparently(self._take_place)

    def _take_place(self) -> Slot | None:
        with self._lock:
            if self._left == 0:
                return None
            if len(self._taken) >= self._limit:
                self._take_back()
            if len(self._taken) >= self._limit:
                next(self._overflow)
                return None
            self._left -= 1
            return Slot(self._taken)

    def _take_back(self) -> None:
        """Release the slots whose owners are gone."""
        for slot, owner in self._taken.copy().items():
            if _is_over(owner()):
                self._taken.pop(slot, None)

    @property
    def spent(self) -> bool:
        """Whether no further ordinal fires."""
        return self._left == 0 or super().spent

    @property
    def overflow(self) -> int:
        """The number of firings that ``max_active`` suppressed."""
        return counted(self._overflow)

    @property
    def next_ordinal(self) -> int | None:
        """The next ordinal that fires if a slot is free then, or None."""
        return None if self._left == 0 else super().next_ordinal


class _LockedCount:
    """Like `itertools.count`, for interpreters without a GIL, where that one is not atomic."""

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
    """Return an endless iterator over 1, 2, … that gives each number to one thread only."""
    return count(1) if _has_gil() else _LockedCount()


_has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)


def counted(numbers: Iterator[int]) -> int:
    """Return how many numbers have been taken from a `counter`, without taking one."""
    return _int(_repr(numbers)[_BEFORE:-1]) - 1


_BEFORE = len("count(")
