"""What a test has to be told of its rules, in words: pure, and asked once, at the end of the test.

A rule that was armed and never fired has tested nothing; a call that is still paused waits for
somebody who forgot it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from chaospoint._kernel.chance import RecordingDraws, decide
from chaospoint._registry.unreached import passed

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule

__all__ = ["by_chance", "fired", "held", "nearest_of", "reached", "unfired"]


def fired(rule: ArmedRule) -> bool:
    """Return whether the rule acted; of ``off``, whose act is to end the search, too."""
    if any(fault.kind != "off" for fault in rule.faults):
        return rule.injections > 0
    return _due(rule)


def _due(rule: ArmedRule) -> bool:
    """Return whether the rule was reached often enough to fire."""
    first = next(iter(decide(replace(rule.terms.schedule, seed=rule.seed))), None)
    return first is not None and rule.reaches >= first


def by_chance(rule: ArmedRule) -> bool:
    """Return whether it depends on the seed when the rule fires, or what it does."""
    draws = RecordingDraws(rule.seed, 1)
    for fault in rule.faults:
        fault.effects(draws)
    return draws.drawn or rule.terms.schedule.probability < 1.0


def unfired(
    rule: ArmedRule, calls: Mapping[str, int], near: Sequence[str], obstacle: str = ""
) -> str:
    """Say why a rule never fired.

    ``calls``: how many arrived at each point of the rule in the test, whether the rule was armed
    then or not; empty if it has no point. ``near``: the names nearest to the rule's. ``obstacle``:
    what keeps the rule from ever being reached at its points.
    """
    why = _why(rule, calls, obstacle)
    return f"{rule.shown} was armed and never fired: {why}{nearest_of(near)}"


def _why(rule: ArmedRule, calls: Mapping[str, int], obstacle: str) -> str:
    if not calls:
        return f"no point is named {rule.pattern!r}"
    count = sum(calls.values())
    said = f"{rule.pattern!r} was {reached(count)} in this test"
    if count == 0:
        return said
    if rule.reaches and rule.overflow:
        return f"{said}, and max_active let {_times(rule.overflow)} pass"
    if rule.reaches:
        if _due(rule):
            return f"{said}, and what was called there was never awaited or iterated"
        return f"{said}, too seldom for its skip, every, times or probability"
    lost = [kind for kind, faults in rule.expressible.items() if not faults]
    if obstacle and not lost:
        return f"{said}, but {obstacle}"
    if why := passed(rule):
        return f"{said}, and {why}"
    if rule.terms.after:
        return f"{said}, and no call ended well while the rule, which acts after it, was armed"
    if lost:
        return f"{said}, where it is a {lost[0]}, which cannot express the fault"
    return f"{said}, and never while this rule was armed ({rule.why})"


def nearest_of(near: Sequence[str]) -> str:
    """Return the end of a sentence that names what may have been meant."""
    return f"; the nearest: {', '.join(near)}" if near else ""


def held(rules: Sequence[ArmedRule]) -> list[str]:
    """Name the calls that are still held by a pause, one line for each rule."""
    return [
        f"{_calls(points)} still paused by {rule.shown}: release what you pause, and wait for who"
        " was paused, before the test ends"
        for rule in rules
        if (points := sorted(pause.point for pause in rule.paused.copy()))
    ]


def _calls(points: Sequence[str]) -> str:
    names = ", ".join(dict.fromkeys(points))
    return f"a call of {names} is" if len(points) == 1 else f"{len(points)} calls of {names} are"


def reached(count: int) -> str:
    """Return ``never reached``, ``reached once`` or ``reached n times``."""
    return f"reached {_times(count)}" if count else "never reached"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
