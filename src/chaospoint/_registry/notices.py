"""Notices to observers about rules and the master switch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule, EndReason, Source

__all__ = [
    "Notice",
    "Overflowed",
    "Reached",
    "Reloaded",
    "RuleArmed",
    "RuleDisarmed",
    "StateChanged",
    "Switched",
    "new_counts",
]


@dataclass(frozen=True, slots=True)
class RuleArmed:
    """A rule was armed."""

    rule: ArmedRule


@dataclass(frozen=True, slots=True)
class RuleDisarmed:
    """A rule ended; ``reason`` explains a failure, or why it had no reach."""

    rule: ArmedRule
    why: EndReason
    by: str = ""
    reason: str = ""

    @property
    def detail(self) -> str:
        """How the rule ended, in words: who ended it, and why."""
        by = f"by {self.by}" if self.by and self.why != "failed" else ""
        return "; ".join(filter(None, (by, self.reason)))


@dataclass(frozen=True, slots=True)
class Switched:
    """The master switch was turned by ``by``."""

    enabled: bool
    by: str


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A source was read again; if it was refused, ``ok`` is False and ``reason`` says why."""

    source: str
    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reached:
    """A rule was reached ``reaches`` times since the previous notice."""

    pattern: str
    reaches: int


@dataclass(frozen=True, slots=True)
class Overflowed:
    """``max_active`` let ``count`` calls pass since the previous notice."""

    pattern: str
    count: int


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The state after a change: the switch, and the number of armed rules of each source.

    ``number`` rises with every change, because notices may arrive out of order.  ``forked`` marks
    the first notice in a forked child.
    """

    number: int
    enabled: bool
    armed: Mapping[Source, int]
    forked: bool = False


Notice = RuleArmed | RuleDisarmed | Switched | Reloaded | Reached | Overflowed | StateChanged
"""Observers with a method ``notice(notice)`` receive these, never under a lock."""


def new_counts(rules: Iterable[ArmedRule]) -> list[Notice]:
    """Return notices with the counts of the rules since the previous call."""
    notices: list[Notice] = []
    for rule in rules:
        reaches, overflow = rule.reaches, rule.overflow
        # No handler runs between reading and setting, so that no notice is sent twice.
        if (flushed := rule.flushed) < reaches:
            rule.flushed = reaches
            notices.append(Reached(rule.pattern, reaches - flushed))
        if (flushed := rule.flushed_overflow) < overflow:
            rule.flushed_overflow = overflow
            notices.append(Overflowed(rule.pattern, overflow - flushed))
    return notices
