"""Rules that act in the context that armed them, and in its copies, alone.

A context carries the rules that were armed in it; tasks, ``asyncio.to_thread`` and
``contextvars.copy_context().run`` copy it, plain threads and executors do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from chaospoint._inside import set_safely

if TYPE_CHECKING:
    from chaospoint._epoch import ArmedRule

__all__ = ["enter", "here"]

here: ContextVar[frozenset[ArmedRule]] = ContextVar("chaospoint_scope", default=frozenset())


def enter(rules: Iterable[ArmedRule]) -> None:
    """Have these rules act in this context; it forgets those that ended."""
    if fresh := list(rules):
        rest = [rule for rule in here.get() if rule.why is None]
        set_safely(here, frozenset([*fresh, *rest]))
