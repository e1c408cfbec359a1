"""What a plan would do, told without arming anything."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest
from typing import TYPE_CHECKING

from chaospoint._kernel.binding import expressible
from chaospoint._kernel.placement import STATEMENTS
from chaospoint._registry.engine import Engine
from chaospoint._registry.fits import fits, fits_at
from chaospoint.control.pages import USUAL
from chaospoint.observers.journal import LONGEST

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.placement import Kind
    from chaospoint._kernel.point import Point
    from chaospoint.plan.rule import Rule

__all__ = ["preview"]


def preview(
    engine: Engine, plan: Sequence[Rule], rules: Sequence[ArmedRule]
) -> list[dict[str, object]]:
    """Return which points and placements each rule would reach, and what it would do there.

    ``rules``: what the rules of the plan are when armed. Of the points of a rule the first are
    told, `USUAL` at most and `LONGEST` with all rules; ``more_points`` is how many others its name
    or glob matches that were not looked at.
    """
    told: list[dict[str, object]] = []
    room, looks = LONGEST, _LOOKS
    for written, rule in zip(plan, rules, strict=True):
        names = engine.points.names(rule.pattern)
        looked = nsmallest(looks, names) if looks < len(names) else sorted(names)
        points: list[dict[str, object]] = []
        for nth, name in enumerate(looked):
            if len(points) == min(USUAL, room):
                del looked[nth:]
                break
            if rule.covers(name) and fits(rule, engine.points.by_name[name]):
                points.append(_at(rule, engine.points.by_name[name]))
        room -= len(points)
        looks -= len(looked)
        told.append(
            {
                "text": rule.text,
                "does": [fault.to_text() or fault.kind for fault in written.faults],
                "when": "after" if rule.terms.after else "before",
                "expires_after": rule.terms.expires_after,
                "points": points,
                "more_points": len(names) - len(looked),
            }
        )
    return told


_LOOKS = 20_000
"""How many points are looked at for all rules together."""


def _at(rule: ArmedRule, point: Point) -> dict[str, object]:
    sites = [one for one in point.core.sites if not one.gone and fits_at(rule, point, one)]
    live: set[Kind] = {site.kind for site in sites}
    everywhere = set.intersection(*({*expressible(rule, kind)} for kind in live or STATEMENTS))
    left_out = [fault.kind for nth, fault in enumerate(rule.terms.faults) if nth not in everywhere]
    return {"name": point.name, "placements": [*map(str, sites)], "left_out": left_out}
