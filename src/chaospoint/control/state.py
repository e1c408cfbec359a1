"""How points and rules are shown: plain data, made anew for each look."""

from __future__ import annotations

from chaospoint._epoch import ArmedRule
from chaospoint._point import Point

__all__ = ["state_of_point", "state_of_rule"]


def state_of_point(point: Point) -> dict[str, object]:
    """Return what a point is and where it is placed, without its rules."""
    return {
        "name": point.name,
        "description": point.description,
        "armed": point.armed,
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
