"""How a rule stands, and what there is at one point: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chaospoint._kernel.quantity import quantity

__all__ = ["EndReason", "Explanation", "RuleState", "Source", "State"]


Source = Literal["code", "test", "http", "store", "env", "file"]
"""Where a rule was armed."""

EndReason = Literal["disarmed", "expired", "disabled", "replaced", "failed"]
"""Why a rule is no longer armed."""

State = Literal["armed", "waiting for an import", "spent", "masked", "shadowed"] | EndReason
"""The state of a rule; ``masked`` and ``shadowed`` are known only when rules are compared."""


@dataclass(frozen=True, slots=True)
class RuleState:
    """A rule as it stands, in this process.

    ``state``: ``armed``; ``waiting for an import``; ``spent``; ``masked`` or ``shadowed``, where
    ``off`` or another rule before it fires at every reach; or how it ended. ``why`` says more
    where there is more to say. ``ordinal``: that of its latest injection, None before the first;
    ``next_ordinal``: the one that fires next, None if none does. ``seed``: the
    effective one, which as the rule's own gives the same firings. ``seconds_left``: None if it
    does not expire. The other numbers are counts.
    """

    point: str
    source: Source
    by: str
    state: State
    why: str
    text: str
    seed: int
    reaches: int
    ordinal: int | None
    next_ordinal: int | None
    injections: int
    interrupted: int
    shadowed: int
    missed: int
    overflow: int
    paused: int
    seconds_left: float | None

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {self.seconds_left:.1f} s left"
        latest = "" if self.ordinal is None else f", the latest at {self.ordinal}"
        coming = (
            "none to come"
            if self.next_ordinal is None
            else f"next firing at reach {self.next_ordinal}"
        )
        more = "".join(
            f", {count} {name}"
            for name in ("interrupted", "shadowed", "overflow", "paused")
            if (count := getattr(self, name))
        )
        if self.missed:
            more += f", {quantity(self.missed, 'call')} did not match where or scope"
        why = f" ({self.why})" if self.why else ""
        by = f" ({self.by})" if self.by else ""
        return (
            f"{self.state}{why}: {self.text}\n"
            f"  armed by {self.source}{by}, seed {self.seed}{left}\n"
            f"  {quantity(self.reaches, 'reach', 'reaches')}, "
            f"{quantity(self.injections, 'injection')}{latest}, {coming}{more}"
        )


@dataclass(frozen=True, slots=True)
class Explanation:
    """What there is at one point: ``str()`` of it is for reading.

    ``off``: why nothing can be armed, or empty. ``near``: names like this one, where no function is
    decorated with the point.
    """

    point: str
    enabled: bool
    off: str
    placements: tuple[str, ...]
    near: tuple[str, ...]
    rules: tuple[RuleState, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.point}: {', '.join(self.placements) or 'no function is decorated with it'}"
        ]
        if self.near:
            lines.append(f"points with names like it: {', '.join(self.near)}")
        if self.off:
            lines.append(self.off)
        lines += [str(rule) for rule in self.rules] or ["nothing is armed here"]
        return "\n".join(lines)
