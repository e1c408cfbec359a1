"""A rule as the kernel runs it: the models compile to this, and the kernel never imports them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chaospoint._decide import Schedule
from chaospoint._effects import Fault

__all__ = ["Terms"]


@dataclass(frozen=True, slots=True)
class Terms:
    """One rule, compiled.

    ``pattern``: a point's name or a glob. ``text``: the rule's canonical text; with the source
    and the seed it is the rule's identity. ``seed_drawn``: the seed was drawn here, so a forked
    child draws another. ``expires_after``: seconds from arming, or None. ``resolve``: set while a
    name of the rule has still to be looked up; called at the rule's first reach, it returns the
    final faults or raises `ChaosError`.
    """

    pattern: str
    text: str
    faults: tuple[Fault, ...]
    schedule: Schedule
    seed_drawn: bool = False
    expires_after: float | None = None
    resolve: Callable[[], tuple[Fault, ...]] | None = None
    # The remaining conditions of a reach (when, where, scope, max_active) join here.
