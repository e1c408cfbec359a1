"""What a plan would do, told without arming anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chaospoint._aim import STATEMENTS, expressible
from chaospoint._board import Board
from chaospoint._fits import fits, fits_at

if TYPE_CHECKING:
    from chaospoint._epoch import ArmedRule
    from chaospoint._point import Point
    from chaospoint.plan import Rule

__all__ = ["preview"]


def preview(
    board: Board, plan: Sequence[Rule], rules: Sequence[ArmedRule]
) -> list[dict[str, object]]:
    """Return which points and placements each rule would reach, and what it would do there.

    ``rules``: what the rules of the plan are when armed.
    """
    return [
        {
            "text": rule.text,
            "does": [fault.to_text() or fault.kind for fault in written.faults],
            "when": "after" if rule.terms.after else "before",
            "expires_after": rule.terms.expires_after,
            "points": [
                _at(rule, board.point(name))
                for name in sorted(board.names(rule.pattern))
                if rule.covers(name) and fits(rule, board.point(name))
            ],
        }
        for written, rule in zip(plan, rules, strict=True)
    ]


def _at(rule: ArmedRule, point: Point) -> dict[str, object]:
    sites = [one for one in point.core.sites if not one.gone and fits_at(rule, point, one)]
    live = {site.kind for site in sites}
    kinds = sorted(live) or STATEMENTS
    everywhere = set.intersection(*({*expressible(rule, kind)} for kind in kinds))
    left_out = [fault.kind for nth, fault in enumerate(rule.terms.faults) if nth not in everywhere]
    return {"name": point.name, "placements": [*map(str, sites)], "left_out": left_out}
