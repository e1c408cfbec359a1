"""Rules that act in the context that armed them, and in its copies, alone.

A context carries the numbers of the rules that were armed in it; tasks, ``asyncio.to_thread`` and
``contextvars.copy_context().run`` copy it, plain threads and executors do not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from contextvars import ContextVar

__all__ = ["close", "enter", "here", "number", "open_"]

here: ContextVar[frozenset[int]] = ContextVar("chaospoint_scope", default=frozenset())
_numbers = itertools.count(1)
_alive: set[int] = set()


def number() -> int:
    """Return a new number for a rule."""
    return next(_numbers)


def open_(begun: int) -> None:
    """Have contexts keep the rule of this number until it is closed."""
    _alive.add(begun)


def enter(numbers: Iterable[int]) -> None:
    """Have the rules of these numbers act in this context; it forgets those that ended."""
    here.set(frozenset(n for n in here.get() if n in _alive) | frozenset(numbers))


def close(ended: int) -> None:
    """Let contexts forget the rule of this number."""
    _alive.discard(ended)
