"""How points and rules are shown: plain data, made anew for each look."""

from __future__ import annotations

from collections.abc import Sequence

from chaospoint._epoch import ArmedRule
from chaospoint._point import Point

__all__ = ["state_of_point", "state_of_rule"]


def state_of_point(point: Point, rules: Sequence[ArmedRule]) -> dict[str, object]:
    """Return what a point is, where it is placed, and whether one of its rules can still act."""
    return {
        "name": point.name,
        "description": point.description,
        "armed": any(rule.state != "spent" for rule in rules),
        "placements": list(point.placements),
    }


def state_of_rule(rule: ArmedRule) -> dict[str, object]:
    """Return what a rule is, how far it has come and how long it has."""
    left = rule.seconds_left
    return {
        "point": rule.pattern,
        "source": rule.source,
        "by": rule.by,
        "state": rule.state,
        "text": rule.text,
        "seed": rule.seed,
        "reaches": rule.reaches,
        "injections": rule.injections,
        "interrupted": rule.interrupted,
        "shadowed": rule.shadowed,
        "seconds_left": None if left is None else round(left, 3),
    }
