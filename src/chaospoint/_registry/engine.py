"""The changes of what is armed: install, reload, disable and enable; `disarming` ends rules.

Under the arming lock, a change computes the new `Table` and the points whose rules differ, and then
commits both.  After it has released the lock, it wakes sleeping calls and notifies observers.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from chaospoint._kernel import context
from chaospoint._kernel.armed_rule import ArmedRule, Source
from chaospoint._kernel.fork import engines
from chaospoint._kernel.lock import Once, arming_lock
from chaospoint._kernel.reporting import log, warn
from chaospoint._registry.checks import HINTS, LOOKED_THROUGH, check
from chaospoint._registry.disarming import TIERS, Disarming
from chaospoint._registry.handle import Armed
from chaospoint._registry.housekeeping import NO_THREAD, Housekeeper
from chaospoint._registry.notices import RuleArmed, StateChanged, Switched
from chaospoint._registry.table import Change, Rules, Table
from chaospoint.errors import ChaosError, NotPermitted

if TYPE_CHECKING:
    from chaospoint._kernel.clock import Clock
    from chaospoint._kernel.compiled_rule import CompiledRule
    from chaospoint._kernel.point import Point

__all__ = ["Engine"]

_SECONDS_TO_APPEAR = 10.0


class Engine(Disarming):
    """Makes the changes of one registry; safe to use from any thread."""

    def __init__(self, points: dict[str, Point], clock: Clock) -> None:
        super().__init__(points, clock)
        self._remind_at: float | None = None
        self._batches = itertools.count(1)
        self.housekeeper = Housekeeper(self)  # the threads that expire rules and flush counts
        engines.add(self)

    # -- arming ---------------------------------------------------------------------------

    def install(
        self,
        terms: Sequence[CompiledRule],
        source: Source,
        *,
        by: str = "",
        strict: bool = False,
    ) -> Armed:
        """Arm ``terms``; they are tried before the earlier rules of this source.

        Raises `NotPermitted` while disabled, `UnknownPoint` if ``strict`` and a rule has no point
        yet, and `UnsupportedFault` if none of a rule's points can express it.  If this raises
        anything, nothing is armed.
        """
        rules: list[ArmedRule] = []
        undo = partial(self._remove_now, rules, "disarmed", "", "")
        try:
            remarks, standing = arming_lock.change(self._install, rules, terms, source, by, strict)
            context.enter(rule for rule in rules if rule.terms.scoped)
            self.say(*map(RuleArmed, rules), standing)
            return self._handle(rules, remarks, source)
        except BaseException:
            if rules:  # the caller gets no handle
                # Not `arming_lock.request`: a handler may run before its first instruction.
                arming_lock.requests[undo] = 0
                arming_lock.carry_out()
            raise

    def _install(
        self,
        rules: list[ArmedRule],
        terms: Sequence[CompiledRule],
        source: Source,
        by: str,
        strict: bool,
    ) -> tuple[list[str], StateChanged]:
        self._finish()
        new_rules, remarks = self._dry_run(terms, source, by, strict)
        rules += new_rules
        self._arm(new_rules, self._table)
        return remarks, self._stand()

    def _arm(self, rules: Sequence[ArmedRule], table: Table) -> None:
        at = self.points.differences(self._table, rules)
        self._commit(Change(table.plus(rules), at), fresh=rules)

    def dry_run(
        self, terms: Sequence[CompiledRule], source: Source, *, by: str = "", strict: bool = False
    ) -> tuple[list[ArmedRule], list[str]]:
        """Return the rules that `install` would arm, and the remarks on them, and arm nothing.

        Raises what `install` raises.
        """
        return arming_lock.change(self._dry_run, terms, source, by, strict)

    def _dry_run(
        self, terms: Sequence[CompiledRule], source: Source, by: str, strict: bool
    ) -> tuple[list[ArmedRule], list[str]]:
        if not self.enabled:
            raise NotPermitted(
                f"chaospoint is disabled (by {self.off}). To allow arming: `chaospoint enable` or "
                "POST /v1/enable; from code also chaospoint.enable(), unless the store is disabled"
            )
        rules = self._make(terms, source, by)
        return rules, check(rules, self.points, before=self._covering, fellows=rules, strict=strict)

    def reload(self, terms: Sequence[CompiledRule], source: Source, *, by: str = "") -> Armed:
        """Replace the rules of ``source`` with ``terms``; unchanged rules keep their state.

        Raises `NotPermitted` if no thread can be started to expire the rules.
        """
        self._start_threads([rule.expires_after for rule in terms], "arm it again")
        plan, announce, remarks = arming_lock.change(self._reload, terms, source, by)
        announce()
        return self._handle(plan, remarks, source)

    def _reload(
        self, terms: Sequence[CompiledRule], source: Source, by: str
    ) -> tuple[list[ArmedRule], Callable[[], None], list[str]]:
        self._finish()
        before = dict.fromkeys(self._table.plans[source])
        known: dict[tuple[object, ...], list[ArmedRule]] = {}
        for rule in before:
            known.setdefault(rule.identity, []).append(rule)
        new_rules = self._make(terms, source, by)
        plan: list[ArmedRule] = []
        for new in new_rules:
            rule = same.pop(0) if (same := known.get(new.identity)) else new
            if rule.reason == NO_THREAD:  # threads can be started by now
                rule = rule.successor()
                rule.rank = new.rank  # else `new` would rank before it
            plan.append(rule)
        fresh = [rule for rule in plan if rule not in before]
        remarks = check(
            fresh,
            self.points,
            before=lambda name: (r for r in self._covering(name) if r.source != source),
            fellows=new_rules,
            early=self.points.early,
        )
        ranks = {
            rule: new.rank for rule, new in zip(plan, new_rules, strict=True) if rule is not new
        }
        rest = [rule for left in known.values() for rule in left if rule.why is None]
        ended = self._endings(rest, "replaced", by)
        table = self._table.minus(rest).with_plan(source, plan)
        if self.points.early:
            self._remind_at = self.clock.monotonic() + _SECONDS_TO_APPEAR
        if self.enabled:
            table = table.plus(fresh)
            at = self.points.differences(self._table, fresh, rest, ranks)
            armed = [RuleArmed(rule) for rule in fresh]
        else:
            for rule in fresh:
                rule.end("disabled")
            at, armed = {}, []
        self._commit(Change(table, at, ended, ranks=ranks), fresh=fresh if armed else ())
        standing = self._stand()
        return plan, partial(self._announce, ended, *armed, standing), remarks

    def arm_unkept(self, source: Source) -> None:
        """Arm the rules of a source again that `disarm_unkept` disarmed.

        Raises what `reload` raises.  No other thread may reload this source meanwhile.
        """
        if self.unkept(source):
            self.reload([rule.terms for rule in self._table.plans[source]], source)

    def _start_threads(self, expiries: Collection[float | None], cure: str) -> None:
        """Raise `NotPermitted` if no thread can be started for rules with these lifetimes."""
        if expiries and not self.housekeeper.start(inf if set(expiries) == {None} else -inf):
            raise NotPermitted(f"{NO_THREAD}, and {cure}")

    def _handle(self, rules: list[ArmedRule], remarks: list[str], source: Source) -> Armed:
        handle = Armed(self, rules)
        try:
            for text in remarks:
                warn(text, source)
        except BaseException:
            handle.disarm()  # warnings are errors here, and the caller gets no handle
            raise
        return handle

    def _make(self, terms: Sequence[CompiledRule], source: Source, by: str) -> list[ArmedRule]:
        batch = next(self._batches)
        return [
            ArmedRule(rule, source, (0 if rule.scoped else TIERS[source], -batch, nth), self, by)
            for nth, rule in enumerate(terms)
        ]

    def remind(self) -> None:
        """Warn about rules that were armed early and still match no point."""
        if self._remind_at is None or self._remind_at > self.clock.monotonic():
            return
        self._remind_at = None
        hints = HINTS
        for rule in self.rules():
            try:
                remarks = check([rule], self.points, hints=hints)
            except ChaosError as error:
                remarks = [str(error)]
            hints = max(0, hints - len(remarks))
            for text in remarks:
                log(logging.WARNING, "%s (armed by %s)", text, rule.source)

    # -- the master switch ----------------------------------------------------------------

    def disable(self, by: str = "") -> None:
        """Stop every effect now, disarm everything, and refuse to arm until enabled."""
        arming_lock.soon(Once(partial(self._disable, by)))

    def _disable(self, by: str) -> Callable[[], None]:
        self._finish()
        was, off = self.enabled, by or "somebody"
        ended = self._disarm(self.rules(), self._table._replace(off=off), "disabled", by)
        return partial(
            self._announce, ended, *([Switched(False, off)] if was else []), self._stand()
        )

    def enable(self, by: str = "") -> None:
        """Allow arming again, and arm the rules of env, file and store as they were.

        Raises `NotPermitted` if no thread can be started to expire them.
        """
        back = [rule.deadline for rule in self.ended() if rule.why == "disabled"]
        self._start_threads(back, "enable it again")
        arming_lock.soon(Once(partial(self._enable, by)))
        arming_lock.soon(self.expire)

    def _enable(self, by: str) -> Callable[[], None]:
        self._finish()
        was, table = self.enabled, self._table._replace(off=None)
        back: list[ArmedRule] = []
        for source, plan in table.plans.items():
            heirs = [r.successor() if r.why == "disabled" else r for r in plan]
            back += [heir for heir, rule in zip(heirs, plan, strict=True) if heir is not rule]
            table = table.with_plan(source, heirs)
        self._arm(back, table)
        if was:
            return partial(self.say)
        return partial(self.say, Switched(True, by), *map(RuleArmed, back), self._stand())

    # -- points ---------------------------------------------------------------------------

    def watch(self, *watches: ArmedRule) -> None:
        """Replace the watches: rules that every call reaches first and that never fire."""
        arming_lock.soon(Once(partial(self._watch, watches)))

    def _watch(self, watches: Rules) -> None:
        self._finish()
        at = {name: self.points.at.get(name, ()) for name in tuple(self.points.by_name)}
        self._commit(Change(self._table._replace(watches=watches), at))

    def appear(self, point: Point) -> Point:
        """Add a point with the rules that match it; return the point of this name."""
        if arming_lock.nested:
            known = self.points.by_name.setdefault(point.name, point)
            arming_lock.request(partial(arming_lock.change, self._look_at, point.name))
            return known
        return arming_lock.change(self._appear, point)

    def _appear(self, point: Point) -> Point:
        self._finish()
        if (known := self.points.by_name.get(point.name)) is not None:
            return known
        rules = tuple(self._table.covering(point.name))
        if rules or self.watches:
            self._commit(Change(self._table, {point.name: rules}), point=point)
        else:
            self.points.by_name[point.name] = point
        return point

    def _look_at(self, name: str) -> None:
        self._finish()
        self._commit(Change(self._table, {name: tuple(self._table.covering(name))}))

    def names(self, pattern: str) -> Collection[str]:
        """Return the names of the points that a name or glob matches."""
        return self.points.names(pattern)

    def _covering(self, pattern: str) -> Iterator[ArmedRule]:
        yield from self._table.named.get(pattern, ())
        yield from itertools.islice(self._table.globs, LOOKED_THROUGH)

    def restart(self) -> None:
        """Reset the rules in a forked child; notices from before the fork are the parent's."""
        self._unsent.clear()
        self._expired.clear()
        arming_lock.soon(partial(arming_lock.change, self._restart))
        self.say(replace(self._stand(), forked=True))

    def _restart(self) -> None:
        self._finish()
        begun = [*self._table.rules(), *self.ended()]
        self._commit(Change(self._table, dict(self.points.at), restarted=begun))
