"""Whether a rule's `where` can match at a point, judged by labels and by names of arguments.

A block or a statement may pass labels of its own, so a point may always match if it has seen one
with labels, or has no decorated function.  Values of labels are compared but never shown.  No code
of the program runs here, because the arming lock is held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from chaospoint._kernel.matching import may_accept

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.point import Point, Site

__all__ = ["fits", "fits_at", "other_value"]


def fits(rule: ArmedRule, point: Point) -> bool:
    """Whether a call at some placement of the point can match."""
    live = _live(point)
    return not live or point.core.labelled or any(fits_at(rule, point, site) for site in live)


def fits_at(rule: ArmedRule, point: Point, site: Site) -> bool:
    """Whether a call of one decorated function can match."""
    where = rule.terms.where
    if where is None:
        return True
    arguments = site.arguments
    return any(
        all(
            may_accept(wanted, placed.labels[name])
            if name in placed.labels
            else arguments is None or name in arguments
            for name, wanted in where.items()
        )
        for placed in site.points
        if placed.core is point.core
    )


def other_value(rule: ArmedRule, points: Iterable[Point]) -> str:
    """Return a label that every point has, but never with the value that `where` requires.

    Return an empty text if there is no such label, or if one of the points may match.
    """
    name = ""
    for point in points:
        if not (name := _other_value(rule, point)):
            break
    return name


def _other_value(rule: ArmedRule, point: Point) -> str:
    if point.core.labelled:
        return ""
    live = _live(point)
    for name, wanted in (rule.terms.where or {}).items():
        labels: list[Mapping[str, object]] = [
            placed.labels for site in live for placed in site.points if placed.core is point.core
        ]
        if labels and not any(
            name not in fixed or may_accept(wanted, fixed[name]) for fixed in labels
        ):
            return name
    return ""


def _live(point: Point) -> list[Site]:
    return [site for site in point.core.sites if not site.gone]
