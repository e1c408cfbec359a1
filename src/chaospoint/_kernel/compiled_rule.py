"""A rule as the kernel runs it: the models compile to this, and the kernel never imports them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from chaospoint._kernel.chance import Schedule
from chaospoint._kernel.effects import Fault

__all__ = ["CompiledRule"]


class CompiledRule(NamedTuple):
    """One rule, compiled.

    ``pattern``: a point's name or a glob. ``written``: the rule's canonical text without its seed,
    or what writes it, which costs more than all the rest. ``seed_drawn``: the seed was drawn here,
    so a forked child draws another. ``expires_after``: seconds from arming, or None.
    ``resolve``: set while a name of the rule has still to be looked up; called at the rule's first
    reach, it returns the final faults or raises `ChaosError`. ``after``: it acts when the call has
    succeeded.
    ``shown``: the text for logs and spans, without the values of ``where``; empty where it is the
    same. ``max_active``: how many injections may be going on at once. ``where``: what labels and
    arguments have to be. ``scoped``: it acts in the arming context and its copies alone.
    ``key``: tells it from rules of the same text that were armed at another time. ``excluded``:
    names and globs that are taken out of the pattern. ``bounds``: for how many seconds one firing
    may delay a call, and for how many it may hold it.
    """

    pattern: str
    written: str | Callable[[], str]
    faults: tuple[Fault, ...]
    schedule: Schedule
    seed_drawn: bool = False
    expires_after: float | None = None
    resolve: Callable[[], tuple[Fault, ...]] | None = None
    after: bool = False
    max_active: int | None = None
    where: Mapping[str, object] | None = None
    scoped: bool = False
    shown: str = ""
    key: str = ""
    excluded: tuple[str, ...] = ()
    bounds: tuple[float | None, float | None] | None = None

    @property
    def text(self) -> str:
        """The canonical text; with source, seed and key it is the rule's identity."""
        return self.written if isinstance(self.written, str) else self.written()
