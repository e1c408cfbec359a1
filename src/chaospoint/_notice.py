"""What happens to rules and to the switch, as observers are told of it.

An observer that also has a method ``notice(notice)`` is told; never under a lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeGuard

from chaospoint._injection import Observer

if TYPE_CHECKING:
    from chaospoint._epoch import ArmedRule, Ending

__all__ = [
    "Listener",
    "Notice",
    "Reached",
    "Reloaded",
    "RuleArmed",
    "RuleDisarmed",
    "Switched",
    "listens",
]


@dataclass(frozen=True, slots=True)
class RuleArmed:
    """A rule was armed."""

    rule: ArmedRule


@dataclass(frozen=True, slots=True)
class RuleDisarmed:
    """A rule came to its end; ``reason`` says more where it failed."""

    rule: ArmedRule
    why: Ending
    by: str = ""
    reason: str = ""


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


Notice = RuleArmed | RuleDisarmed | Switched | Reloaded | Reached


class Listener(Observer, Protocol):
    """An observer that wants to know of more than injections."""

    def notice(self, notice: Notice) -> None:
        """Take note; what this raises is logged and goes no further."""


def listens(observer: Observer) -> TypeGuard[Listener]:
    """Whether ``observer`` wants to know of more than injections."""
    return hasattr(observer, "notice")
