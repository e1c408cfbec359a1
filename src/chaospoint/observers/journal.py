"""The latest injections of one registry, for the admin endpoint.

A forked child starts with an empty journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from time import time
from typing import Final
from weakref import WeakKeyDictionary

from chaospoint._kernel.injection import Injection
from chaospoint._kernel.lock import arming_lock
from chaospoint._registry.notices import Notice, StateChanged
from chaospoint._registry.registry import Registry

__all__ = ["LONGEST", "Journal", "journal_of"]


_journals: WeakKeyDictionary[Registry, Journal] = WeakKeyDictionary()


def journal_of(registry: Registry) -> Journal:
    """Return the journal of ``registry``; the first call creates it and starts recording."""
    with arming_lock:
        journal = _journals.get(registry)
        if journal is None:
            journal = _journals[registry] = Journal()
            registry.add_observer(journal)
    return journal


class Journal:
    """An observer that keeps the latest `LONGEST` injections; safe from any thread."""

    def __init__(self, *, now: Callable[[], float] = time) -> None:
        self._now = now
        self._kept: deque[tuple[float, Injection]] = deque(maxlen=LONGEST)

    def observe(self, injection: Injection) -> None:
        """Record an injection with its time."""
        self._kept.append((self._now(), injection))

    def notice(self, notice: Notice) -> None:
        """Clear the journal in a forked child."""
        if isinstance(notice, StateChanged) and notice.forked:
            self._kept.clear()

    def latest(self) -> Iterator[tuple[float, Injection]]:
        """Yield the injections, newest first, each with its time in seconds since 1970."""
        # Copy first, which is atomic, because other threads may append meanwhile.
        return reversed(tuple(self._kept.copy()))


LONGEST: Final = 1000
"""The most items on a page, and the most injections in a journal."""
