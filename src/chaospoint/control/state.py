"""How points and rules are shown: plain data, made anew for each look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from chaospoint._board import Board
from chaospoint._epoch import ArmedRule
from chaospoint._explain import states
from chaospoint._point import Point

__all__ = ["state_of_point", "state_of_rules"]


def state_of_point(point: Point, rules: Sequence[ArmedRule]) -> dict[str, object]:
    """Return what a point is, where it is placed, and whether one of its rules can still act."""
    return {
        "name": point.name,
        "description": point.description,
        "armed": any(rule.state != "spent" for rule in rules),
        "placements": list(point.placements),
    }


def state_of_rules(
    board: Board, rules: Iterable[ArmedRule], point: Point | None = None
) -> list[dict[str, object]]:
    """Return what rules are, how far they have come, and why they do not fire."""
    told = [asdict(state) for state in states(board, rules, point)]
    for rule in told:
        left = rule["seconds_left"]
        rule["seconds_left"] = None if left is None else round(left, 3)
    return told
