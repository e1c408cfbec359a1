"""What happens to rules and to the switch, as observers are told of it."""

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
    "since_last_told",
]


@dataclass(frozen=True, slots=True)
class RuleArmed:
    """A rule was armed."""

    rule: ArmedRule


@dataclass(frozen=True, slots=True)
class RuleDisarmed:
    """A rule came to its end; ``reason`` says more where it failed or had no reach."""

    rule: ArmedRule
    why: EndReason
    by: str = ""
    reason: str = ""

    @property
    def detail(self) -> str:
        """How the rule ended, in words: by whom, and why."""
        by = f"by {self.by}" if self.by and self.why != "failed" else ""
        return "; ".join(filter(None, (by, self.reason)))


@dataclass(frozen=True, slots=True)
class Switched:
    """The master switch was turned, by whom."""

    enabled: bool
    by: str


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A source was read again; ``ok`` is False where it was refused, and ``reason`` says why."""

    source: str
    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reached:
    """A rule was reached ``reaches`` times since this was told last."""

    pattern: str
    reaches: int


@dataclass(frozen=True, slots=True)
class Overflowed:
    """At ``max_active`` injections a rule let ``count`` more pass since this was told last."""

    pattern: str
    count: int


@dataclass(frozen=True, slots=True)
class StateChanged:
    """How things stand after a change: the switch, and how many rules each source has armed.

    ``number`` rises with every change, for these may arrive in another order. ``forked``: told
    in a child right after a fork.
    """

    number: int
    enabled: bool
    armed: Mapping[Source, int]
    forked: bool = False


Notice = RuleArmed | RuleDisarmed | Switched | Reloaded | Reached | Overflowed | StateChanged
"""An observer that has a method ``notice(notice)`` is told of these too, never under a lock."""


def since_last_told(rules: Iterable[ArmedRule]) -> list[Notice]:
    """Return notices of what the rules have counted since this was called last."""
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
