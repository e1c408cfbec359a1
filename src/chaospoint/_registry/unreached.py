"""Explain why a rule has no reach; `explain`, the log and a failed test give this answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import starmap
from typing import TYPE_CHECKING

from chaospoint._kernel.names import matches
from chaospoint._kernel.placement import why_not_expressible
from chaospoint._kernel.quantity import quantity
from chaospoint._registry.checks import LOOKED_THROUGH, unplaced, waiting
from chaospoint._registry.fits import other_value

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.placement import Kind
    from chaospoint._registry.points import Points

__all__ = ["acts", "came_by", "never_reached", "obstacle", "passed"]

Near = Callable[[str], Sequence[str]]
"""Returns the names of points that look most like a pattern."""


def never_reached(points: Points, rule: ArmedRule, near: Near) -> str:
    """Return why a rule that ends had no reach."""
    names = points.names(rule.pattern)
    if reason := obstacle(points, rule, names, near):
        return f"it was never reached: {reason}"
    if came := came_by(rule):
        return came
    if rule.terms.after:
        return "it was never reached: it acts after a call, and no call succeeded"
    return "it was never reached: do the calls go through this point?"


def obstacle(points: Points, rule: ArmedRule, names: Collection[str], near: Near) -> str:
    """Return why these points can never reach a rule; empty if nothing is in the way."""
    if not names:
        for name, target in points.placing.items():
            if matches(rule.pattern, name):
                return f"point {name!r} is not placed yet: the plan puts it on {target!r}"
        return waiting(rule, near(rule.pattern))
    if not any(acts(rule, kind) for name in names for kind in points.kinds(name)):
        return "no placement here can express it"
    if rule.terms.where is None or len(names) > LOOKED_THROUGH:
        return ""
    lost = [unplaced(rule, points.by_name[name]) for name in names]
    if all(lost):
        name = repr(lost[0][0])
        return f"no decorated function here has the argument or label {name} that `where` names"
    if not rule.reaches and (label := other_value(rule, map(points.by_name.__getitem__, names))):
        return f"the label {label!r} never has the value that `where` requires"
    return ""


def acts(rule: ArmedRule, kind: Kind) -> bool:
    """Whether a kind of placement can express any fault of the rule."""
    return any(why_not_expressible(fault, kind, rule.terms.after) is None for fault in rule.faults)


def came_by(rule: ArmedRule) -> str:
    """Return how many calls arrived that were not reaches of the rule, and why; empty if none."""
    count = rule.shadowed + rule.missed
    return f"{quantity(count, 'call')} arrived, and {passed(rule)}" if count else ""


def passed(rule: ArmedRule) -> str:
    """Return why the calls that arrived were not reaches of the rule; empty if unknown."""
    taken, missed = rule.shadowed, rule.missed
    if not missed:
        return "each time an earlier rule fired" if taken else ""
    unmatched = f"{missed} did not match" if taken else "none matched"
    required = ", ".join(starmap(_required, (rule.terms.where or {}).items()))
    where = f"its `where`, which requires {required}" if required else ""
    scope = "its scope" if rule.terms.scoped else ""
    unmatched = f"{unmatched} {' or '.join(filter(None, (scope, where)))}"
    return f"at {taken} an earlier rule fired, and {unmatched}" if taken else unmatched


def _required(name: str, wanted: object) -> str:
    """Return the name, and the type of a plain value, because 1 does not match ``"1"``."""
    kind = type(wanted)
    plain = kind is str or kind is int or kind is float or kind is bool
    return f"{name!r} as {kind.__name__}" if plain else repr(name)
