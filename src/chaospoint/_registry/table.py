"""The table of armed rules: one immutable value, so that a change swaps a single reference."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from chaospoint._kernel.names import is_glob, matches

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule, Source
    from chaospoint._registry.notices import RuleDisarmed

__all__ = ["RANK", "Change", "Rules", "Table"]

_REMEMBERED = 32

Rules = tuple["ArmedRule", ...]
Rank = tuple[int, int, int]
RANK = attrgetter("rank")


class Table(NamedTuple):
    """The armed rules by name and as globs, and the rules that are remembered.

    ``plans`` holds the latest rules of each source that is read again, armed or not.  ``counts``
    is the number of armed rules by source.  ``gone`` holds the latest rules that expired or failed.
    Every point tries the ``watches`` first.  ``off`` says who disabled the registry, and why; it
    is None while enabled.
    """

    off: str | None
    named: Mapping[str, tuple[ArmedRule, ...]]
    globs: tuple[ArmedRule, ...]
    plans: Mapping[Source, tuple[ArmedRule, ...]]
    counts: Mapping[Source, int]
    gone: tuple[ArmedRule, ...]
    watches: tuple[ArmedRule, ...]

    def rules(self) -> list[ArmedRule]:
        """Return all armed rules, in no order."""
        return [*(rule for named in self.named.values() for rule in named), *self.globs]

    def covering(self, name: str) -> list[ArmedRule]:
        """Return the armed rules that cover a name, in the order in which they are tried."""
        rules = [*self.named.get(name, ()), *self.globs]
        return sorted((rule for rule in rules if rule.covers(name)), key=RANK)

    def matching(
        self, pattern: str, sources: Sequence[Source]
    ) -> tuple[list[ArmedRule], list[ArmedRule]]:
        """Return the rules of ``sources`` that ``pattern`` matches as a whole, and in part.

        Rules that wait for `enable` are included.
        """
        whole, part = [], []
        held = [rule for plan in self.plans.values() for rule in plan if rule.why == "disabled"]
        for rule in [*sorted(self.rules(), key=RANK), *held]:
            if rule.source not in sources:
                continue
            if matches(pattern, rule.pattern):
                whole.append(rule)
            elif is_glob(rule.pattern) and (is_glob(pattern) or matches(rule.pattern, pattern)):
                part.append(rule)
        return whole, part

    def has(self, rule: ArmedRule) -> bool:
        """Whether this rule is armed."""
        return rule in (self.globs if is_glob(rule.pattern) else self.named.get(rule.pattern, ()))

    def plus(self, rules: Sequence[ArmedRule]) -> Table:
        """Return the table with these rules armed, too."""
        if not rules:
            return self
        counts, fresh = dict(self.counts), _by_pattern(rules)
        for rule in rules:
            counts[rule.source] = counts.get(rule.source, 0) + 1
        globs = [rule for rule in rules if is_glob(rule.pattern)]
        named, known = self.named, self.named.get
        if len(globs) < len(rules):
            named = {**named, **{p: (*known(p, ()), *new) for p, new in fresh.items()}}
        return self._replace(named=named, globs=(*self.globs, *globs), counts=counts)

    def minus(self, rules: Collection[ArmedRule]) -> Table:
        """Return the table without these rules, all of which are armed."""
        if not rules:
            return self
        counts, gone = dict(self.counts), set(rules)
        for rule in rules:
            counts[rule.source] -= 1
        globs, named = self.globs, self.named
        if patterns := _by_pattern(rules):
            left = dict(named)
            for pattern in patterns:
                rest = tuple(rule for rule in left[pattern] if rule not in gone)
                if rest:
                    left[pattern] = rest
                else:
                    del left[pattern]
            named = left
        if any(is_glob(rule.pattern) for rule in rules):
            globs = tuple(rule for rule in globs if rule not in gone)
        return self._replace(named=named, globs=globs, counts=counts)

    def remembering(self, rules: Iterable[ArmedRule]) -> Table:
        """Return the table with these rules added to ``gone``."""
        return self._replace(gone=(*self.gone, *rules)[-_REMEMBERED:])

    def with_plan(self, source: Source, plan: Iterable[ArmedRule]) -> Table:
        """Return the table with a new plan of a source."""
        return self._replace(plans={**self.plans, source: tuple(plan)})


def _by_pattern(rules: Iterable[ArmedRule]) -> dict[str, list[ArmedRule]]:
    named: dict[str, list[ArmedRule]] = {}
    for rule in rules:
        if not is_glob(rule.pattern):
            named.setdefault(rule.pattern, []).append(rule)
    return named


class Change(NamedTuple):
    """A new table, and the steps that make rules and points agree with it; repeating them is safe.

    ``at`` has the rules of each point whose rules differ; a name is removed when its point is done.
    ``ended`` has the notices of the rules that end.  ``struck`` rules ended before, and `enable`
    does not arm them again.  ``ranks`` and ``excluded`` are new values of rules that stay.
    ``restarted`` rules are reset in a forked child; each is removed when it is done.
    """

    table: Table
    at: dict[str, tuple[ArmedRule, ...]]
    ended: Sequence[RuleDisarmed] = ()
    struck: Sequence[ArmedRule] = ()
    ranks: Mapping[ArmedRule, Rank] = {}
    excluded: Mapping[ArmedRule, tuple[str, ...]] = {}
    restarted: list[ArmedRule] | tuple[()] = ()
