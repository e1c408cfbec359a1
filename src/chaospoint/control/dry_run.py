"""Preview a plan: what it would do, without arming anything."""

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
    """Return the points and placements that each rule would reach, and what it would do there.

    ``rules`` are the armed forms of the rules of the plan.  The result has at most `USUAL` points
    for each rule and `LONGEST` points for all; ``more_points`` is the number of other points that
    the name or glob matches, which were not examined.
    """
    previews: list[dict[str, object]] = []
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
        previews.append(
            {
                "text": rule.text,
                "does": [fault.to_text() or fault.kind for fault in written.faults],
                "when": "after" if rule.terms.after else "before",
                "expires_after": rule.terms.expires_after,
                "points": points,
                "more_points": len(names) - len(looked),
            }
        )
    return previews


_LOOKS = 20_000
"""The most points that are examined for all rules together."""


def _at(rule: ArmedRule, point: Point) -> dict[str, object]:
    sites = [site for site in point.core.sites if not site.gone and fits_at(rule, point, site)]
    live: set[Kind] = {site.kind for site in sites}
    everywhere = set.intersection(*({*expressible(rule, kind)} for kind in live or STATEMENTS))
    left_out = [fault.kind for nth, fault in enumerate(rule.terms.faults) if nth not in everywhere]
    return {"name": point.name, "placements": [*map(str, sites)], "left_out": left_out}
