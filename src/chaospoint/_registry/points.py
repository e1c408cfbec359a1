"""The points of a registry: those that a pattern matches, and the rules at each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from chaospoint._kernel import reporting
from chaospoint._kernel.names import is_glob, nearest
from chaospoint._kernel.placement import STATEMENTS
from chaospoint._kernel.point import ArmedPoint, Point
from chaospoint._kernel.search import Searches
from chaospoint._registry.index import Index
from chaospoint._registry.table import RANK

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.placement import Kind
    from chaospoint._registry.table import Rank, Rules, Table

__all__ = ["Points"]


class Points:
    """The points of a registry, and the rules at each.

    Any thread may read; only a change under the arming lock writes.  ``by_name`` is the registry's
    own mapping.  ``placing`` maps the points that a plan is going to place to their targets.
    """

    def __init__(self, by_name: dict[str, Point]) -> None:
        self.by_name = by_name
        self.placing: Mapping[str, str] = {}
        self.at: dict[str, Rules] = {}  # the rules of each point that has any
        self._index = Index(by_name)

    def names(self, pattern: str) -> Collection[str]:
        """Return the names of the points that a name or glob matches."""
        return self._index.matching(pattern)

    def nearest(self, pattern: str) -> tuple[str, ...]:
        """Return the names of points that look most like a name or glob."""
        return nearest(pattern, (*self.by_name.copy(), *self.placing))

    def kinds(self, name: str) -> Sequence[Kind]:
        """Return the kinds of a point's decorated callables; without any, of statements."""
        live: Iterator[Kind] = (
            site.kind for site in self.by_name[name].core.sites if not site.gone
        )
        return tuple(dict.fromkeys(live)) or STATEMENTS

    @property
    def early(self) -> bool:
        """Whether the program has created no point yet, except those that a plan places."""
        return self.by_name.keys() <= self.placing.keys()

    def touched(
        self, whole: Sequence[ArmedRule], part: Sequence[ArmedRule], names: Collection[str]
    ) -> int:
        """Return how many rules end, or lose a point if ``part`` lose ``names``."""
        present = {rule for name in names for rule in self.at.get(name, ())} if part else ()
        return len(whole) + sum(
            rule in present if rule.why is None else any(map(rule.covers, names)) for rule in part
        )

    def put(self, name: str, rules: Rules, watches: Rules) -> None:
        """Replace the rules on a point; ``watches`` come before them.

        Doing it twice does no harm, so an interrupted change can repeat it.
        """
        self.at[name] = rules
        if not rules:
            self.at.pop(name, None)
        point = self.by_name[name]
        core = point.core
        if watches:
            rules = (*watches, *rules)
        core.rules = rules
        late = any(rule.terms.after for rule in rules)
        core.before = Searches(rules, point, after=False) if rules else None
        core.after = Searches(rules, point, after=True) if late else None
        point.__class__ = ArmedPoint if rules else Point
        for site in core.sites:
            try:
                site.rebuild()
            except Exception as interruption:
                try:
                    site.rebuild()  # if a signal handler interrupted it, this succeeds
                except Exception:
                    reporting.report_bug(f"patching {site}")
                else:
                    raise interruption from None

    def differences(
        self,
        table: Table,
        fresh: Sequence[ArmedRule] = (),
        gone: Iterable[ArmedRule] = (),
        ranks: Mapping[ArmedRule, Rank] | None = None,
    ) -> dict[str, Rules]:
        """Return the new rules of each point whose rules a change alters.

        ``table`` is the table before the change, which arms ``fresh``, ends ``gone``, and gives
        some of the other rules new ``ranks``.
        """
        more, sets = self._sets_of(fresh)
        less = set(gone)
        touched = dict.fromkeys(more)
        moved: Iterable[ArmedRule] = ()
        if ranks is not None:
            stay = sorted(table.rules(), key=RANK)
            if stay != sorted(stay, key=lambda rule: ranks.get(rule, rule.rank)):
                moved = [rule for rule in ranks if rule.why is None]
        if changed := {*less, *moved}:
            touched.update(dict.fromkeys(self._having(changed)))
        rank = RANK if ranks is None else (lambda rule: ranks.get(rule, rule.rank))
        known: dict[tuple[int, int], Rules] = {}  # one tuple for all points with the same rules
        differences: dict[str, Rules] = {}
        for name in touched:
            old, new = self.at.get(name, ()), more.get(name, 0)
            rules = known.get((id(old), new))
            if rules is None:
                kept = [rule for rule in old if rule not in less] if less else old
                rules = tuple(sorted((*kept, *sets[new]), key=rank))
                rules = known[id(old), new] = old if rules == old else rules
            if rules is not old:
                differences[name] = rules
        return differences

    def _sets_of(self, rules: Iterable[ArmedRule]) -> tuple[dict[str, int], list[Rules]]:
        """Return the number of the set of rules at each point, and the sets of rules.

        Points with the same rules have the same set.
        """
        alike: dict[tuple[str, tuple[str, ...]], list[ArmedRule]] = {}
        for rule in rules:
            alike.setdefault((rule.pattern, rule.excluded), []).append(rule)
        at: dict[str, int] = {}
        sets: list[Rules] = [()]
        for (pattern, excluded), group in alike.items():
            names = self._index.matching(pattern)
            if excluded:
                names = list(filter(group[0].covers, names))
            grown: dict[int, int] = {}
            for name in names:
                old = at.get(name, 0)
                new = grown.get(old)
                if new is None:
                    new = grown[old] = len(sets)
                    sets.append((*sets[old], *group))
                at[name] = new
        return at, sets

    def _having(self, rules: set[ArmedRule]) -> Iterable[str]:
        """Return the names of the points that have any of these rules."""
        patterns = {rule.pattern for rule in rules}
        if not any(map(is_glob, patterns)):
            return (name for name in patterns if name in self.at)
        having: dict[int, bool] = {}  # by the id of each tuple of rules
        names: list[str] = []
        for name, present in self.at.items():
            if (has := having.get(id(present))) is None:
                has = having[id(present)] = not rules.isdisjoint(present)
            if has:
                names.append(name)
        return names
