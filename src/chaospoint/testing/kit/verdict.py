"""Describe, at the end of a test, the rules that never fired and the calls still paused.

These are pure functions. A rule that never fired has tested nothing; a call that is still paused
means that the test forgot to release it.
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
    """Return whether the rule fired; also for ``off``, which fires without an injection."""
    if any(fault.kind != "off" for fault in rule.faults):
        return rule.injections > 0
    return _due(rule)


def _due(rule: ArmedRule) -> bool:
    """Return whether the rule was reached often enough to fire."""
    first = next(iter(decide(replace(rule.terms.schedule, seed=rule.seed))), None)
    return first is not None and rule.reaches >= first


def by_chance(rule: ArmedRule) -> bool:
    """Return whether the seed decides when the rule fires or what it does."""
    draws = RecordingDraws(rule.seed, 1)
    for fault in rule.faults:
        fault.effects(draws)
    return draws.drawn or rule.terms.schedule.probability < 1.0


def unfired(
    rule: ArmedRule, calls: Mapping[str, int], near: Sequence[str], obstacle: str = ""
) -> str:
    """Return a sentence that says why a rule never fired.

    ``calls``: the number of calls in the test at each point of the rule, whether or not it was
    armed then; empty if no point matches. ``near``: similar names. ``obstacle``: why calls at
    these points cannot reach the rule.
    """
    cause = _cause(rule, calls, obstacle)
    return f"{rule.shown} was armed but never fired: {cause}{nearest_of(near)}"


def _cause(rule: ArmedRule, calls: Mapping[str, int], obstacle: str) -> str:
    if not calls:
        return f"no point is named {rule.pattern!r}"
    count = sum(calls.values())
    reaches = f"{rule.pattern!r} was {reached(count)} in this test"
    if count == 0:
        return reaches
    if rule.reaches and rule.overflow:
        return f"{reaches}, but max_active let the call pass {_times(rule.overflow)}"
    if rule.reaches:
        if _due(rule):
            return f"{reaches}, but the call's result was never awaited or iterated"
        return f"{reaches}, too few times for its skip, every, times or probability"
    inexpressible = [kind for kind, faults in rule.expressible.items() if not faults]
    if obstacle and not inexpressible:
        return f"{reaches}, but {obstacle}"
    if cause := passed(rule):
        return f"{reaches}, but {cause}"
    if rule.terms.after:
        return f"{reaches}, but no call succeeded while this rule, which acts after it, was armed"
    if inexpressible:
        return f"{reaches}, but a {inexpressible[0]} cannot express the fault"
    return f"{reaches}, but never while this rule was armed ({rule.why})"


def nearest_of(near: Sequence[str]) -> str:
    """Return a clause, for the end of a sentence, that suggests names; empty if there are none."""
    return f"; the nearest: {', '.join(near)}" if near else ""


def held(rules: Sequence[ArmedRule]) -> list[str]:
    """Return a sentence for each rule that still pauses calls, with their points."""
    return [
        f"{_calls(points)} still paused by {rule.shown}: release paused calls and wait for them"
        " before the test ends"
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
