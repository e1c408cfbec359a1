"""The state of a rule, and the explanation of a point, as plain values."""

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
    """The state of one rule in this process.

    ``state``: ``masked`` means that an earlier ``off`` fires at every reach, ``shadowed`` that
    another earlier rule does. ``why``: details of the state, or empty. ``ordinal``: of the latest
    injection, or None. ``next_ordinal``: the next one that fires, or None. ``seed``: the effective
    seed; a rule that sets it fires at the same ordinals. ``seconds_left``: until the rule expires,
    or None. The other numbers are counts.
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
    """The placements and rules of one point; ``str()`` gives a text for readers.

    ``off``: why no rule can be armed, or empty. ``near``: similar names of points, if no function
    is decorated with this one.
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
