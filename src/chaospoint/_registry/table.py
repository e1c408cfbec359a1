"""Which rules are armed: one immutable value, so that a change swaps a single reference."""

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
    """The armed rules by name and as globs, and what is remembered of others.

    ``plans``: for each source that is read again, all that it said last, armed or not.
    ``counts``: how many are armed, by source.  ``gone``: the latest that ended by themselves.
    ``watches``: they stand at every point, before all rules.  ``off``: who
    disabled, and why; None while enabled.
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
        found = [*self.named.get(name, ()), *self.globs]
        return sorted((rule for rule in found if rule.covers(name)), key=RANK)

    def matching(
        self, pattern: str, sources: Sequence[Source]
    ) -> tuple[list[ArmedRule], list[ArmedRule]]:
        """Return the rules of some sources that match ``pattern`` as a whole, and those that match
        in part; rules that wait for `enable` count, too."""
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
        """Return the table with these rules among the latest that ended by themselves."""
        return self._replace(gone=(*self.gone, *rules)[-_REMEMBERED:])

    def with_plan(self, source: Source, plan: Iterable[ArmedRule]) -> Table:
        """Return the table with another plan of a source that is read again."""
        return self._replace(plans={**self.plans, source: tuple(plan)})


def _by_pattern(rules: Iterable[ArmedRule]) -> dict[str, list[ArmedRule]]:
    found: dict[str, list[ArmedRule]] = {}
    for rule in rules:
        if not is_glob(rule.pattern):
            found.setdefault(rule.pattern, []).append(rule)
    return found


class Change(NamedTuple):
    """What makes rules and points agree with a new table; doing it twice does no harm.

    ``at``: the rules at each point where they differ; a name is taken out of it when its point is
    done.  ``ended``: rules that end, and what is said of it.  ``struck``: rules that ended before
    and are not to come back.  ``ranks`` and ``excluded``: the new values of rules that stay.
    ``restarted``: rules that begin anew, in a forked child; each is taken out when it has.
    """

    table: Table
    at: dict[str, tuple[ArmedRule, ...]]
    ended: Sequence[RuleDisarmed] = ()
    struck: Sequence[ArmedRule] = ()
    ranks: Mapping[ArmedRule, Rank] = {}
    excluded: Mapping[ArmedRule, tuple[str, ...]] = {}
    restarted: list[ArmedRule] | tuple[()] = ()
