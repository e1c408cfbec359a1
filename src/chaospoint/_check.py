"""What is worth saying of rules before they are armed, and what cannot be armed at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from chaospoint._aim import Kind, refusal
from chaospoint._names import nearest
from chaospoint.errors import UnknownPoint, UnsupportedFault

if TYPE_CHECKING:
    from chaospoint._epoch import ArmedRule
    from chaospoint._point import Point

__all__ = ["check", "waiting"]

_HINTS = 10  # looking for near names is slow, and nobody reads a thousand of them


def check(
    rules: Iterable[ArmedRule],
    points: Mapping[str, Point],
    names: Callable[[str], Sequence[str]],
    *,
    strict: bool = False,
    early: bool = False,
) -> list[str]:
    """Return remarks on ``rules``; ``names`` gives the points that a pattern matches.

    ``early``: the points may all be still to come, so names that no point has are not remarked on.

    Raises `UnsupportedFault` for a rule that none of its points can express and, if ``strict``,
    `UnknownPoint` for one that has no point.
    """
    remarks: list[str] = []
    for rule in rules:
        matched = names(rule.pattern)
        if not matched:
            close = nearest(rule.pattern, points) if len(remarks) < _HINTS else ()
            if strict:
                raise UnknownPoint(rule.pattern, close)
            if not early:
                remarks.append(waiting(rule, close))
        if rule.terms.schedule.probability <= 0.0:
            remarks.append(
                f"{rule.shown} can never fire, for its probability is 0: raise it, or leave the "
                "rule out"
            )
        remarks += _left_out(rule, [points[name] for name in matched])
    return remarks


def waiting(rule: ArmedRule, close: Sequence[str]) -> str:
    """Say that a rule has no point yet, and the nearest names."""
    hint = f"; the nearest: {', '.join(close)}" if close else ""
    return f"no point is named {rule.pattern!r} so far: the rule waits for one{hint}"


def _left_out(rule: ArmedRule, points: Sequence[Point]) -> list[str]:
    remarks: list[str] = []
    for fault in rule.faults:
        if refusal(fault, "block") is None:
            continue  # what a block can express, every placement can
        refused: list[str] = []
        for point in points:
            kinds: set[Kind] = {site.kind for site in point.core.sites if not site.gone}
            if point.core.sites and not kinds:
                continue  # what was decorated is gone; nothing is known of what will be
            whys = [refusal(fault, kind) for kind in kinds or {"block"}]
            said = [f"{fault.kind!r} is left out at {point.name!r}: {why}" for why in whys if why]
            remarks += said
            if all(whys):
                refused += said[:1]
        if points and len(refused) == len(points):
            raise UnsupportedFault("; ".join(refused[:3]))
    return remarks
