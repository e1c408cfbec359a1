"""The counts of one rule, exact under threads.

A call that does not fire takes no lock, but for the one in some hundred that draws the next
ordinals, and those that ``max_active`` lets pass.
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
_int, _repr = int, repr  # which may become points


class Slot:
    """A place among the injections of one rule that are going on.

    Given back at the end of the effects.  It is free, too, when the object is gone, or when the
    coroutine or generator that has it was closed before it began: a rule that is full looks for
    such places.  (A finalizer would swallow what a signal handler raises in it.)
    """

    __slots__ = ("__weakref__", "_taken")

    def __init__(self, taken: dict[int, ref[object]]) -> None:
        self._taken = taken
        taken[id(self)] = ref(self)

    def belongs_to(self, made: object) -> None:
        """Note down the coroutine or generator that is to act; it may be closed before."""
        self._taken[id(self)] = ref(made)

    def release(self) -> None:
        """Give the place back."""
        self._taken.pop(id(self), None)


def _is_over(owner: object) -> bool:
    """Whether the owner of a place is gone: a slot, or a coroutine or generator, that is closed."""
    if owner is None or isinstance(owner, Slot):
        return owner is None
    return all(getattr(owner, name, None) is None for name in ("cr_frame", "gi_frame", "ag_frame"))


OPEN = Slot({})
"""The place of injections that nothing bounds."""


class Tally:
    """The counts of one rule, exact under threads.

    ``ordinals`` hands out one ordinal a matching reach, in one bytecode of C code; ``due`` is a
    lower bound of the next ordinal that fires, so a stale read costs a look and never a firing.
    Ordinals that fire lie in ``_chunk`` until the reach that drew them takes them out, which
    `dict.pop` does for exactly one thread.

    Under the lock every point is transparent: a finalizer may come in the middle, and what it
    reaches must not wait for this thread.  Only looking may come in the middle, as `explain` in a
    signal handler does, and it takes what is there.
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
        self.due = 0  # the first reach looks, and so makes the first chunk
        self._chunk: dict[int, None] = {}
        self._schedule = schedule
        self._firings: Iterator[int] | None = decide(schedule)
        self._horizon = 0  # every firing ordinal up to here is, or was, in the chunk
        self._lock = Lock()
        self._drawing = False

    def take(self, ordinal: int) -> Slot | None:
        """Return a slot if ``ordinal`` fires; once only."""
        chunk = self._chunk
        took = chunk.pop(ordinal, False) is None or self._take_late(ordinal)
        few = chunk.__len__() < _CHUNK // 2  # `len` may be a point, and is not transparent here
        if took and few and self._horizon < NEVER and not self._drawing:
            self._draw(below=_CHUNK // 2)  # early, so that others seldom wait
        # The horizon is read before the chunk: a chunk extended in between lies beyond it.
        lowest = self._horizon + 1
        try:
            for lowest in chunk:  # noqa: B007 - its first, cheaper than next()
                break
            self.due = lowest
        except RuntimeError:
            pass  # another thread took one while we looked; the old bound still holds
        return OPEN if took else None

    def _take_late(self, ordinal: int) -> bool:
        """Take an ordinal that may lie beyond what was drawn a moment ago."""
        while ordinal > self._horizon:
            self._draw(to=ordinal)
        return self._chunk.pop(ordinal, False) is None

    def _draw(self, *, below: int = 0, to: int = 0) -> None:
        """Draw the next firings, if fewer than ``below`` are left, or none beyond ``to``."""
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
        """Whether no ordinal is left that fires."""
        return self._horizon >= NEVER and not self._chunk

    @property
    def overflow(self) -> int:
        """How many reaches passed because as many injections were going on as may be."""
        return 0

    @property
    def next_ordinal(self) -> int | None:
        """The ordinal that fires next, or None if none does."""
        if not self._lock.owned:
            self._draw(below=1)
        elif not self._chunk:  # a signal handler looks while its own thread is drawing
            return next(dropwhile(self._horizon.__ge__, decide(self._schedule)), None)
        return min(self._chunk.copy(), default=None)

    def _extend(self) -> None:
        if self._horizon >= NEVER:
            return
        firings, self._firings = self._firings, None  # a generator that is interrupted has ended
        if firings is None:
            firings = dropwhile(self._horizon.__ge__, decide(self._schedule))
        fresh = list(islice(firings, _CHUNK))
        chunk = dict.fromkeys(fresh)
        self._firings = firings  # Ctrl-C cannot come from here until the chunk has them
        self._chunk.update(chunk)
        self._horizon = fresh[-1] if len(fresh) == _CHUNK else NEVER


class BoundedTally(Tally):
    """The counts of a rule of which at most ``limit`` injections may be going on.

    What the limit lets pass uses up none of ``times``, so these are counted here and not by the
    schedule.
    """

    __slots__ = ("_left", "_limit", "_overflow", "_taken")

    def __init__(self, schedule: Schedule, limit: int) -> None:
        super().__init__(replace(schedule, times=None))
        self._limit = limit
        self._left = NEVER if schedule.times is None else schedule.times
        self._taken: dict[int, ref[object]] = {}
        self._overflow = counter()

    def take(self, ordinal: int) -> Slot | None:
        """Return a slot if ``ordinal`` fires and one is free; once only."""
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
        """Free the places whose owners are gone."""
        for place, owner in self._taken.copy().items():
            if _is_over(owner()):
                self._taken.pop(place, None)

    @property
    def spent(self) -> bool:
        """Whether no firing is left."""
        return self._left == 0 or super().spent

    @property
    def overflow(self) -> int:
        """How many reaches passed because as many injections were going on as may be."""
        return counted(self._overflow)

    @property
    def next_ordinal(self) -> int | None:
        """The ordinal that fires next if a slot is free then, or None if none does."""
        return None if self._left == 0 else super().next_ordinal


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
    return count(1) if _has_gil() else _LockedCount()


_has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)


def counted(numbers: Iterator[int]) -> int:
    """Return how many numbers a `counter` has handed out, without taking one."""
    return _int(_repr(numbers)[_BEFORE:-1]) - 1


_BEFORE = len("count(")
