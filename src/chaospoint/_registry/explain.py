"""Why a rule fires or does not, answered by one look: the same for code and for HTTP."""

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
    """Return what there is at a point: its rules in the order in which they are tried, then those
    that ended and that nobody disarmed. ``near``: names like this one."""
    name = point.name
    rules = [*engine.rules(name), *gone_from(engine, name)]
    told = states(engine, rules, point)
    off = (
        f"{_environ.VARIABLE} is false in this process: nothing can be armed"
        if _environ.forbids()
        else ""
        if engine.enabled
        else f"disabled by {engine.off}: nothing can be armed until it is enabled again"
    )
    return Explanation(name, engine.enabled, off, point.placements, near, told)


def gone_from(engine: Engine, name: str) -> list[ArmedRule]:
    """Return the rules that would act at a point if they had not ended, or lost that point."""
    lost = (rule for rule in engine.rules() if not rule.acts_at(name))
    return [rule for rule in (*lost, *engine.ended()) if matches(rule.pattern, name)]


class _Group(NamedTuple):
    """Points with the same rules, and placements of the same kinds."""

    kinds: Sequence[Kind]
    always: Sequence[ArmedRule]


class _Alike(dict[str, int]):
    """Which group the point of each name is in, so that what is alike is looked at once."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self._groups: list[_Group] = []
        self._known: dict[tuple[object, ...], int] = {}
        self._rules: dict[int, tuple[ArmedRule, ...]] = {}  # kept, so that no identity comes again
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
        """Return the groups of these names, which ``pattern`` stands for."""
        found = self._of.get(pattern)
        if found is None:
            numbers = dict.fromkeys(map(self.__getitem__, names))
            found = self._of[pattern] = [self._groups[nth] for nth in numbers]
        return found


def states(
    engine: Engine, rules: Iterable[ArmedRule], point: Point | None = None
) -> tuple[RuleState, ...]:
    """Return how rules stand, at one point or at all of theirs; safe from any thread."""

    alike = _Alike(engine)
    hints = iter(range(HINTS))

    def near(pattern: str) -> Sequence[str]:
        return () if next(hints, None) is None else engine.points.nearest(pattern)

    def look() -> tuple[RuleState, ...]:
        return tuple(_state(engine, rule, point, alike, near) for rule in rules)

    return transparently(look)


def _state(
    engine: Engine, rule: ArmedRule, point: Point | None, alike: _Alike, near: Near
) -> RuleState:
    state, why = rule.state, rule.reason
    if point is not None and rule.why is None and not rule.acts_at(point.name):
        state, why = "disarmed", "this point was taken out of it"
    elif state in ("armed", "waiting for an import"):
        names = [point.name] if point else engine.points.names(rule.pattern)
        if (hidden := _hidden(rule, alike.groups(rule.pattern, names))) is not None:
            masks = all(fault.kind == "off" for fault in hidden.faults)
            state = "masked" if masks else "shadowed"
            why = f"{hidden.shown}, armed by {hidden.source}, fires at every reach before it"
        else:
            why = _obstacle(engine.points, rule, names, near)
    elif state == "spent":
        why = "its times are used up"
    if state in ("spent", "expired", "disarmed") and rule.source in ("env", "file"):
        why = f"{why}; " * bool(why) + "it stays so until its text changes"
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
    """Say what keeps an armed rule from firing, or has kept it until now, if anything does."""
    if rule.terms.schedule.probability <= 0.0:
        return "its probability is 0"
    return obstacle(points, rule, names, near) or ("" if rule.reaches else came_by(rule))


def _hidden(rule: ArmedRule, groups: Iterable[_Group]) -> ArmedRule | None:
    """Return a rule that fires before this one at every reach, if so at all of these points."""
    found: ArmedRule | None = None
    for group in groups:
        kinds: list[Kind] = [kind for kind in group.kinds if acts(rule, kind)]
        before = (one for one in group.always if one.hides(rule))
        found = next((one for one in before if all(acts(one, kind) for kind in kinds)), None)
        if found is None:
            return None
    return found
