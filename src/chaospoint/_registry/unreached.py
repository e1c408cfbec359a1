"""Why a rule has no reach: the one answer that `explain`, the log and a failed test give."""

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
"""For a pattern: the names nearest to it."""


def never_reached(points: Points, rule: ArmedRule, near: Near) -> str:
    """Say why a rule that comes to its end had no reach."""
    names = points.names(rule.pattern)
    if why := obstacle(points, rule, names, near):
        return f"it was never reached: {why}"
    if came := came_by(rule):
        return came
    if rule.terms.after:
        return "it was never reached: it acts after a call, and no call ended well"
    return "it was never reached: do the calls go through this point?"


def obstacle(points: Points, rule: ArmedRule, names: Collection[str], near: Near) -> str:
    """Say what keeps a rule from ever being reached at these points, if anything does."""
    if not names:
        for name, target in points.placing.items():
            if matches(rule.pattern, name):
                return f"point {name!r} is not placed so far: the plan puts it on {target!r}"
        return waiting(rule, near(rule.pattern))
    if not any(acts(rule, kind) for name in names for kind in points.kinds(name)):
        return "no placement here can express it"
    if rule.terms.where is None or len(names) > LOOKED_THROUGH:
        return ""
    lost = [unplaced(rule, points.by_name[name]) for name in names]
    if all(lost):
        name = repr(lost[0][0])
        return f"no decorated function here has an argument or label {name}, which `where` asks for"
    if not rule.reaches and (label := other_value(rule, map(points.by_name.__getitem__, names))):
        return f"the label {label!r} is there, and never has the value that `where` asks for"
    return ""


def acts(rule: ArmedRule, kind: Kind) -> bool:
    """Whether a kind of placement can express any fault of the rule."""
    return any(why_not_expressible(fault, kind, rule.terms.after) is None for fault in rule.faults)


def came_by(rule: ArmedRule) -> str:
    """Say which calls came although none is counted as a reach; empty if none is known."""
    count = rule.shadowed + rule.missed
    if not count:
        return ""
    return f"{quantity(count, 'call')} came, and {passed(rule)}"


def passed(rule: ArmedRule) -> str:
    """Say why the calls that came are not reaches of the rule; empty if none is known."""
    taken, missed = rule.shadowed, rule.missed
    if not missed:
        return "each time a rule before it fired" if taken else ""
    said = f"{missed} did not match" if taken else "none matched"
    asked = ", ".join(starmap(_asked, (rule.terms.where or {}).items()))
    where = f"its `where`, which asks for {asked}" if asked else ""
    scope = "its scope" if rule.terms.scoped else ""
    said = f"{said} {' or '.join(filter(None, (scope, where)))}"
    return f"at {taken} a rule before it fired, and {said}" if taken else said


def _asked(name: str, wanted: object) -> str:
    """Return the name, and the type of a plain value: 1 does not match ``"1"``."""
    kind = type(wanted)
    plain = kind is str or kind is int or kind is float or kind is bool
    return f"{name!r} as {kind.__name__}" if plain else repr(name)
