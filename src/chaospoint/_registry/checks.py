"""Check rules before they are armed: return warnings, and refuse what cannot be armed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING

from chaospoint._kernel.binding import expressible, returned_function
from chaospoint._kernel.names import is_glob, matches
from chaospoint._kernel.placement import STATEMENTS, why_not_expressible
from chaospoint._patching.discarded import discarded
from chaospoint._registry.fits import other_value
from chaospoint.errors import UnknownPoint, UnsupportedFault

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.point import Point
    from chaospoint._registry.points import Points

__all__ = ["HINTS", "LOOKED_THROUGH", "check", "unplaced", "waiting"]


LOOKED_THROUGH = 100  # limits the globs and the points that are compared with a rule
HINTS = 10  # limits the searches for near names, which are slow


def check(
    rules: Sequence[ArmedRule],
    points: Points,
    *,
    before: Callable[[str], Iterable[ArmedRule]] = lambda _: (),
    fellows: Sequence[ArmedRule] = (),
    strict: bool = False,
    early: bool = False,
    hints: int = HINTS,
) -> list[str]:
    """Return remarks on ``rules``.

    ``before`` returns the armed rules that may cover a point.  ``fellows`` are the rules of the
    same plan.  If ``early``, the program may not have created its points yet, so a name without a
    point causes no remark.  ``hints`` limits the searches for near names.

    Raises `UnsupportedFault` for a rule that none of its points can express and, if ``strict``,
    `UnknownPoint` for a rule that matches no point.
    """
    remarks: list[str] = []
    always: dict[
        tuple[str, bool], ArmedRule
    ] = {}  # the first rule of each kind, which hides the later ones
    for rule in fellows if len(fellows) > 1 else ():
        if rule.always:
            always.setdefault((rule.pattern, rule.terms.after), rule)
    globs = [rule for rule in always.values() if is_glob(rule.pattern)][:LOOKED_THROUGH]
    for rule in rules:
        matched = points.names(rule.pattern)
        if not matched:
            close = points.nearest(rule.pattern) if len(remarks) < hints else ()
            if strict:
                raise UnknownPoint(rule.pattern, close)
            if not early and not any(matches(rule.pattern, name) for name in points.placing):
                remarks.append(waiting(rule, close))
        if rule.terms.schedule.probability <= 0.0:
            remarks.append(
                f"{rule.shown} can never fire, because its probability is 0: raise it, or leave "
                "the rule out"
            )
        if any(
            fault.kind == "exception" and getattr(fault, "rate", 1) == 0 for fault in rule.faults
        ):
            remarks.append(
                f"{rule.shown} never raises, because its failure_rate is 0: raise the rate, or "
                "leave the exception out"
            )
        same = always.get((rule.pattern, rule.terms.after), rule)
        others = (*before(rule.pattern), same, *globs)
        if (
            other := next((earlier for earlier in others if _covers(earlier, rule)), None)
        ) is not None:
            remarks.append(
                f"{rule.shown} cannot fire while {other.shown} (armed by {other.source}) "
                "fires before it at every reach: disarm that rule, or give it a probability, "
                "times or where"
            )
        placed = [points.by_name[name] for name in matched]
        remarks += [
            discarded(point)
            for point in placed
            if point.core.discarded and all(site.gone for site in point.core.sites)
        ]
        remarks += _left_out(rule, placed)
        few = placed[:LOOKED_THROUGH] if rule.terms.where is not None else []
        lost = [(point.name, name) for point in few for name in unplaced(rule, point)]
        remarks += [
            f"no function decorated with {point!r} has the label or argument {name!r}, which "
            f"`where` of {rule.shown} names: correct the name, unless a block has such a label"
            for point, name in lost[:HINTS]
        ]
        remarks += [text for point in few for text in _unsigned(rule, point)]
        if few == placed and (label := other_value(rule, few)):
            remarks.append(
                f"the label {label!r} never has the value that `where` of "
                f"{rule.shown} requires: correct the value, unless a block has it"
            )
    return remarks


def _covers(other: ArmedRule, rule: ArmedRule) -> bool:
    """Whether ``other`` fires at every reach of ``rule``, wherever that is placed."""
    return (
        other.hides(rule)
        and (other.deadline is None or (rule.deadline or inf) <= other.deadline)
        and not other.excluded
        and matches(other.pattern, rule.pattern)
        and all(
            why_not_expressible(fault, "block", other.terms.after) is None for fault in other.faults
        )
    )


def waiting(rule: ArmedRule, close: Sequence[str]) -> str:
    """Return the remark that a rule has no point yet, with the nearest names."""
    hint = f"; the nearest: {', '.join(close)}" if close else ""
    return f"no point is named {rule.pattern!r} yet: the rule waits for one{hint}"


def _unsigned(rule: ArmedRule, point: Point) -> list[str]:
    where = rule.terms.where or {}
    return [
        f"{site} has no signature, so `where` of {rule.shown} sees only the arguments that are "
        "passed by keyword: give the placement a label, or decorate a function that calls it"
        for site in point.core.sites
        if site.unsigned and not site.gone and where.keys() - site.points[0].labels.keys()
    ]


def _left_out(rule: ArmedRule, points: Sequence[Point]) -> list[str]:
    remarks: list[str] = []
    after = rule.terms.after
    block = expressible(rule, "block")
    if len(block) == len(rule.faults):
        return remarks
    for nth, fault in enumerate(rule.faults):
        if nth in block:
            continue  # what a block can express, every decorated function can
        if (function := returned_function(fault)) is not None:
            remarks.append(
                f"{rule.shown} returns the function {function!r} itself, and does not call it: "
                "write returns_from=... in place of returns=... to call it for each answer, or "
                "returns_from=lambda: ... to return the function"
            )
        refused: list[str] = []
        for point in points:
            live = [site for site in point.core.sites if not site.gone]
            if point.core.sites and not live:
                continue  # the decorated functions are gone; later ones are unknown
            asks = getattr(fault, "with_arguments", False)
            reasons = [
                why_not_expressible(fault, site.kind, after, site.shape if asks else None)
                for site in live
            ]
            if not live:
                reasons = [why_not_expressible(fault, kind, after) for kind in STATEMENTS]
            messages = [
                f"{fault.kind!r} is left out at {point.name!r}: {reason}"
                for reason in dict.fromkeys(reasons)
                if reason
            ]
            if all(reasons):
                refused += messages[:1]
            if live or all(reasons):
                remarks += messages
        if points and len(refused) == len(points):
            raise UnsupportedFault("; ".join(refused[:3]))
    return remarks


def unplaced(rule: ArmedRule, point: Point) -> list[str]:
    """Return the names in ``where`` that no function decorated with the point has.

    Return no names if blocks or statements have passed labels of their own.
    """
    if rule.terms.where is None or point.core.labelled:
        return []
    live = [site for site in point.core.sites if not site.gone]
    known: set[str] = set()
    for site in live:
        if site.arguments is None:
            return []
        known.update(site.arguments)
        known.update(*(placed.labels for placed in site.points if placed.core is point.core))
    return [name for name in rule.terms.where if live and name not in known]
