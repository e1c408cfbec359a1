"""Explain why each rule of a point fires or does not; code and HTTP give the same answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from chaospoint import _environ
from chaospoint._kernel.context import transparently
from chaospoint._kernel.explanation import Explanation, RuleState
from chaospoint._kernel.names import matches
from chaospoint._registry.checks import HINTS
from chaospoint._registry.unreached import Near, acts, came_by, obstacle

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.placement import Kind
    from chaospoint._kernel.point import Point
    from chaospoint._registry.engine import Engine
    from chaospoint._registry.points import Points

__all__ = ["explain", "gone_from", "states"]


def explain(engine: Engine, point: Point, near: tuple[str, ...]) -> Explanation:
    """Return the rules of a point in the order in which they are tried, then those that ended.

    Disarmed rules are left out, unless they are in the plan of env or file.  ``near``: similar
    names.
    """
    name = point.name
    rules = [*engine.rules(name), *gone_from(engine, name)]
    rule_states = states(engine, rules, point)
    off = (
        f"{_environ.VARIABLE} is false in this process: nothing can be armed"
        if _environ.forbids()
        else ""
        if engine.enabled
        else f"disabled by {engine.off}: nothing can be armed until it is enabled again"
    )
    return Explanation(name, engine.enabled, off, point.placements, near, rule_states)


def gone_from(engine: Engine, name: str) -> list[ArmedRule]:
    """Return the rules that no longer act at a point: they ended, or the point was disarmed."""
    lost = (rule for rule in engine.rules() if not rule.acts_at(name))
    return [rule for rule in (*lost, *engine.ended()) if matches(rule.pattern, name)]


class _Group(NamedTuple):
    """Points with the same rules, and placements of the same kinds."""

    kinds: Sequence[Kind]
    always: Sequence[ArmedRule]


class _Groups(dict[str, int]):
    """The group of each point's name, so that points with equal rules are examined once."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self._groups: list[_Group] = []
        self._known: dict[tuple[object, ...], int] = {}
        self._rules: dict[int, tuple[ArmedRule, ...]] = {}  # kept alive, so that no id is reused
        self._of: dict[str, list[_Group]] = {}

    def __missing__(self, name: str) -> int:
        rules, kinds = self._engine.standing_at(name), self._engine.points.kinds(name)
        self._rules[id(rules)] = rules
        key = (id(rules), *kinds)
        if (nth := self._known.get(key)) is None:
            nth = self._known[key] = len(self._groups)
            self._groups.append(_Group(kinds, [rule for rule in rules if rule.always]))
        self[name] = nth
        return nth

    def groups(self, pattern: str, names: Iterable[str]) -> list[_Group]:
        """Return the groups of these names, which ``pattern`` matches."""
        groups = self._of.get(pattern)
        if groups is None:
            numbers = dict.fromkeys(map(self.__getitem__, names))
            groups = self._of[pattern] = [self._groups[nth] for nth in numbers]
        return groups


def states(
    engine: Engine, rules: Iterable[ArmedRule], point: Point | None = None
) -> tuple[RuleState, ...]:
    """Return the states of rules, at one point or at all of theirs; safe from any thread."""
    groups = _Groups(engine)
    hints = iter(range(HINTS))

    def near(pattern: str) -> Sequence[str]:
        return () if next(hints, None) is None else engine.points.nearest(pattern)

    return transparently(lambda: tuple(_state(engine, rule, point, groups, near) for rule in rules))


def _state(
    engine: Engine, rule: ArmedRule, point: Point | None, groups: _Groups, near: Near
) -> RuleState:
    state, why = rule.state, rule.reason
    if point is not None and rule.why is None and not rule.acts_at(point.name):
        state, why = "disarmed", "this point was disarmed"
    elif state in ("armed", "waiting for an import"):
        names = [point.name] if point else engine.points.names(rule.pattern)
        if hiding := _hiding(rule, groups.groups(rule.pattern, names)):
            masks = all(fault.kind == "off" for earlier in hiding for fault in earlier.faults)
            state = "masked" if masks else "shadowed"
            texts = " or ".join(f"{each.shown}, armed by {each.source}," for each in hiding)
            why = f"{texts} fires at every reach before it"
        else:
            why = _obstacle(engine.points, rule, names, near)
    elif state == "spent":
        why = "its times are used up"
    if state in ("spent", "expired", "disarmed") and rule.source in ("env", "file"):
        why = f"{why}; " * bool(why) + "it stays so until its text in the source changes"
    return RuleState(
        point=rule.pattern,
        source=rule.source,
        by=rule.by,
        state=state,
        why=why,
        text=rule.text,
        seed=rule.seed,
        reaches=rule.reaches,
        ordinal=rule.latest_ordinal,
        next_ordinal=rule.next_ordinal,
        injections=rule.injections,
        interrupted=rule.interrupted,
        shadowed=rule.shadowed,
        missed=rule.missed,
        overflow=rule.overflow,
        paused=len(rule.paused),
        seconds_left=rule.seconds_left,
    )


def _obstacle(points: Points, rule: ArmedRule, names: Collection[str], near: Near) -> str:
    """Return why an armed rule cannot fire, or has not fired so far; empty if nothing stops it."""
    if rule.terms.schedule.probability <= 0.0:
        return "its probability is 0"
    return obstacle(points, rule, names, near) or ("" if rule.reaches else came_by(rule))


def _hiding(rule: ArmedRule, groups: Iterable[_Group]) -> list[ArmedRule]:
    """Return the rules that hide this one, one for each group; none if it can fire in a group."""
    hiding: dict[ArmedRule, None] = {}
    for group in groups:
        kinds: list[Kind] = [kind for kind in group.kinds if acts(rule, kind)]
        before = (earlier for earlier in group.always if earlier.hides(rule))
        first = next((each for each in before if all(acts(each, kind) for kind in kinds)), None)
        if first is None:
            return []
        hiding[first] = None
    return [*hiding]
