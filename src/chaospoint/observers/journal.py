"""The latest injections of one registry, remembered for those who ask: as many as an answer may
have. A forked child forgets them, because it has had none.
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
    """Return the journal of ``registry``, which remembers from the first time it is asked for."""
    with arming_lock:
        journal = _journals.get(registry)
        if journal is None:
            journal = _journals[registry] = Journal()
            registry.add_observer(journal)
    return journal


class Journal:
    """An observer that remembers; safe from any thread."""

    def __init__(self, *, now: Callable[[], float] = time) -> None:
        self._now = now
        self._kept: deque[tuple[float, Injection]] = deque(maxlen=LONGEST)

    def observe(self, injection: Injection) -> None:
        """Remember an injection, and when it was."""
        self._kept.append((self._now(), injection))

    def notice(self, notice: Notice) -> None:
        """Forget all in a forked child."""
        if isinstance(notice, StateChanged) and notice.forked:
            self._kept.clear()

    def latest(self) -> Iterator[tuple[float, Injection]]:
        """Yield what is remembered, the newest first, each with its time in seconds since 1970."""
        # Of a copy, which the interpreter makes in one go: others go on appending.
        return reversed(tuple(self._kept.copy()))


LONGEST: Final = 1000
"""How many items a page has at most, and how many injections are remembered."""
