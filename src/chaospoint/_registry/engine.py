"""What is armed, and on what: every change of it, whole and in one place.

A change first works out the new `Table` and what has to be done at which points.  Then it swaps one
reference, and from there on the change is made.  Bringing rules and points into line with the table
may be repeated, so it is finished after an interruption.  It happens under the arming lock;
sleepers are woken and observers told after the lock is released.  Only points whose rules differ
are touched.

Rules of the sources that are read again (all except code and tests) are remembered when they end,
so reading the same text again does not bring back what was disarmed, spent or expired.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING

from chaospoint._kernel import context, reporting
from chaospoint._kernel.armed_rule import ArmedRule, EndReason, Source
from chaospoint._kernel.context import own, passes, transparently
from chaospoint._kernel.fork import engines
from chaospoint._kernel.lock import Once, arming_lock
from chaospoint._kernel.names import is_glob, matches, nearest
from chaospoint._kernel.placement import STATEMENTS
from chaospoint._kernel.point import ArmedPoint, Point
from chaospoint._kernel.reporting import log, warn
from chaospoint._kernel.search import Searches
from chaospoint._registry.checks import HINTS, LOOKED_THROUGH, check
from chaospoint._registry.handle import Armed
from chaospoint._registry.housekeeping import NO_THREAD, Housekeeper
from chaospoint._registry.index import Index
from chaospoint._registry.notices import (
    Notice,
    Overflowed,
    Reached,
    RuleArmed,
    RuleDisarmed,
    StateChanged,
    Switched,
)
from chaospoint._registry.table import Change, Table
from chaospoint._registry.unreached import never_reached
from chaospoint.errors import ChaosError, NotPermitted

if TYPE_CHECKING:
    from chaospoint._kernel.clock import Clock
    from chaospoint._kernel.compiled_rule import CompiledRule
    from chaospoint._kernel.injection import Injection, Observer
    from chaospoint._kernel.placement import Kind

__all__ = ["Engine"]

# What is scoped to a context stands at 0, before all of these.
_TIER: dict[Source, int] = {"code": 1, "test": 1, "http": 2, "store": 2, "env": 3, "file": 4}
_READ_AGAIN: tuple[Source, ...] = ("http", "store", "env", "file")
_STAYS: tuple[Source, ...] = ("env", "file")  # it is shown there for as long as it is written
_SECONDS_TO_APPEAR = 10.0
_UNKEPT = "a rule ends at its deadline, but calls that it holds then stay held until it is disarmed"
_OUTSIDE = "rules from outside are disarmed, %d in all: %s"

_RANK = attrgetter("rank")
_Rules = tuple[ArmedRule, ...]


class Engine:
    """The armed rules of one registry, their order, and the master switch."""

    def __init__(self, points: dict[str, Point], clock: Clock) -> None:
        # Faults and deadlines go by the one, which a test may change; our own waits by the other.
        self.clock = self.timer = clock
        self._remind_at: float | None = None
        self.has_defaults = False  # added only once, so a removed default observer stays removed
        self.observe: tuple[Callable[[Injection], None], ...] = ()
        self.observe_first: tuple[Callable[[Injection], None], ...] = ()  # of a rule
        self.observers: tuple[Observer, ...] = ()
        self._notice: tuple[Callable[[Notice], None], ...] = ()
        self._untold: deque[Notice] = deque()  # what an interruption kept from the observers
        self._points = points
        self.placing: Mapping[str, str] = {}  # points to come, and what a plan places them on
        self._index = Index(points)
        self._batches = itertools.count(1)
        self._changes = itertools.count(1)
        self._table = Table(None, {}, (), dict.fromkeys(_READ_AGAIN, ()), {}, (), ())
        self._change: Change | None = None  # what is left to do of the latest change
        self._at: dict[str, _Rules] = {}  # the rules of each point that has any
        self._expired: dict[ArmedRule, None] = {}  # of which observers have to hear
        self.housekeeper = Housekeeper(self)  # the threads that expire and flush
        engines.add(self)

    @property
    def clock(self) -> Clock:
        """The clock by which faults and deadlines go."""
        return self._clock

    @clock.setter
    def clock(self, clock: Clock) -> None:
        self._clock, self.now = clock, clock.monotonic  # each firing of some rules asks for `now`

    @property
    def enabled(self) -> bool:
        """The master switch."""
        return self._table.off is None

    off = property(attrgetter("_table.off"), doc="Who disabled, and why; None while enabled.")
    watches = property(attrgetter("_table.watches"), doc="What is reached first at every point.")

    # -- observers ------------------------------------------------------------------------

    def add_observer(self, *observers: Observer, defaults: bool = False) -> None:
        """Tell ``observers`` of what happens from now on; these may be the ``defaults``."""
        with arming_lock:
            self._observe((*self.observers, *observers), self.has_defaults or defaults)
            standing = self._stand()
        arming_lock.after_release(partial(self.say, standing))

    def remove_observer(self, observer: Observer) -> None:
        """Tell ``observer`` no more."""
        with arming_lock:
            rest = tuple(other for other in self.observers if other is not observer)
            self._observe(rest, self.has_defaults)

    def _observe(self, observers: tuple[Observer, ...], has_defaults: bool) -> None:
        observe = tuple(one.observe for one in observers)
        first = tuple(getattr(one, "observe_first", one.observe) for one in observers)
        listening = (getattr(one, "notice", None) for one in observers)
        notice = tuple(tell for tell in listening if tell is not None)
        # In a row, where Ctrl-C cannot come between: all of it or nothing.
        self.observers, self.has_defaults = observers, has_defaults
        self.observe, self.observe_first, self._notice = observe, first, notice

    def say(self, *notices: Notice) -> None:
        """Tell the observers that have ``notice``; never under the lock.

        Chaospoint's own threads leave that to the housekeeper, because an observer may block them.
        """
        if not notices:
            return
        left = deque(notices)
        if own.tells_observers is False:
            self._untold += left
            self.housekeeper.start(-inf)
            return
        try:
            transparently(self._tell, left)
        except BaseException:
            self._untold.extend(left)
            raise

    def _tell(self, notices: deque[Notice]) -> None:
        while notices:
            notice = notices.popleft()
            for tell in self._notice:
                try:
                    tell(notice)
                except BaseException as error:
                    if passes(error):
                        raise  # Ctrl-C
                    kind = type(notice).__name__
                    reporting.report_bug(
                        f"telling an observer of {kind}", "mend the observer", foreign=True
                    )

    def _stand(self) -> StateChanged:
        table = self._table
        return StateChanged(next(self._changes), table.off is None, dict(table.counts))

    # -- making changes -------------------------------------------------------------------

    def _commit(
        self,
        change: Change,
        *,
        fresh: Sequence[ArmedRule] = (),
        to_wake: Iterable[ArmedRule] = (),
        point: Point | None = None,
    ) -> None:
        """Put a change in force, and a new ``point`` in its place; the last step of a change."""
        # First, because from the swap on there is something to do. Each change asks for its own
        # rules: what another thread wakes for an earlier change may not have ended yet.
        to_wake = (*(rule for rule, _, _ in change.ended), *to_wake)
        arming_lock.request(partial(transparently, self._attend, to_wake, fresh))
        if point is not None:
            name = point.name
            self._points[name] = point
        # In a row, where nothing comes between.
        self._change, self._table = change, change.table
        self._finish()

    def _finish(self) -> None:
        """Do what is left of the latest change; call it under the lock before any other change."""
        if (change := self._change) is None:
            return
        for rule, why, reason in change.ended:
            if not rule.ended:
                rule.end(why, reason)
        for rule in change.struck:
            rule.why = "disarmed"  # so that enabling does not bring it back
        for rule, rank in change.ranks.items():
            rule.rank = rank
        for rule, taken in change.excluded.items():
            rule.excluded = taken
        while change.restarted:
            change.restarted[-1].restart()
            del change.restarted[-1]
        for name, rules in tuple(change.at.items()):
            self._at[name] = rules
            if not rules:
                self._at.pop(name, None)
            self._set(self._points[name], rules)
            del change.at[name]
        self._change = None

    def _attend(self, to_wake: Sequence[ArmedRule], fresh: Sequence[ArmedRule]) -> None:
        """Finish the latest change, and do what has to wait for the lock to be released."""
        with arming_lock:  # the change that asked for this may go on in another thread
            pass
        self._catch_up()
        for rule in to_wake:
            rule.wake()
            rule.watched()
        if fresh:
            deadlines = [rule.deadline for rule in fresh if rule.deadline is not None]
            if not self.housekeeper.start(min(deadlines, default=inf)):
                log(logging.ERROR, "no thread could be started to look after rules: %s", _UNKEPT)
                self.disarm_unkept()

    def _catch_up(self) -> None:
        """Finish a change that was interrupted, or wait for the one that another thread makes."""
        if self._change is not None and not arming_lock.owned:
            arming_lock.change(self._finish)
        arming_lock.carry_out()

    def _merged(
        self,
        fresh: Sequence[ArmedRule] = (),
        gone: Iterable[ArmedRule] = (),
        ranks: Mapping[ArmedRule, tuple[int, int, int]] | None = None,
    ) -> dict[str, _Rules]:
        """Return the rules at each point where they differ once ``fresh`` are armed, ``gone`` are
        not, and some have other ``ranks``."""
        more, sets = self._sets_of(fresh)
        less = set(gone)
        touched = dict.fromkeys(more)
        moved: Iterable[ArmedRule] = ()
        if ranks is not None:
            stay = sorted(self._table.rules(), key=_RANK)
            if stay != sorted(stay, key=lambda rule: ranks.get(rule, rule.rank)):
                moved = [rule for rule in ranks if rule.why is None]
        if changed := {*less, *moved}:
            touched.update(dict.fromkeys(self._having(changed)))
        rank = _RANK if ranks is None else (lambda rule: ranks.get(rule, rule.rank))
        made: dict[tuple[int, int], _Rules] = {}  # one tuple for all points with the same rules
        found: dict[str, _Rules] = {}
        for name in touched:
            old, new = self._at.get(name, ()), more.get(name, 0)
            rules = made.get((id(old), new))
            if rules is None:
                kept = [rule for rule in old if rule not in less] if less else old
                rules = tuple(sorted((*kept, *sets[new]), key=rank))
                rules = made[id(old), new] = old if rules == old else rules
            if rules is not old:
                found[name] = rules
        return found

    def _sets_of(self, rules: Iterable[ArmedRule]) -> tuple[dict[str, int], list[_Rules]]:
        """Return which of the sets stands at each point that one of the rules covers, and the
        sets; points with the same rules have the same set."""
        alike: dict[tuple[str, tuple[str, ...]], list[ArmedRule]] = {}
        for rule in rules:
            alike.setdefault((rule.pattern, rule.excluded), []).append(rule)
        at: dict[str, int] = {}
        sets: list[_Rules] = [()]
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
        """Return the points at which any of these rules stands."""
        patterns = {rule.pattern for rule in rules}
        if not any(map(is_glob, patterns)):
            return (name for name in patterns if name in self._at)
        having: dict[int, bool] = {}  # of each tuple, by its identity
        names: list[str] = []
        for name, there in self._at.items():
            if (has := having.get(id(there))) is None:
                has = having[id(there)] = not rules.isdisjoint(there)
            if has:
                names.append(name)
        return names

    def _set(self, point: Point, rules: _Rules) -> None:
        core = point.core
        if watches := self._table.watches:
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
                    site.rebuild()  # what a signal handler raised does not come again
                except Exception:
                    reporting.report_bug(f"patching {site}")
                else:
                    raise interruption from None

    # -- arming ---------------------------------------------------------------------------

    def install(
        self,
        terms: Sequence[CompiledRule],
        source: Source,
        *,
        by: str = "",
        strict: bool = False,
    ) -> Armed:
        """Arm ``terms`` before all that this source armed.

        Raises `NotPermitted` while disabled, `UnknownPoint` if ``strict`` and a rule has no point
        yet, `UnsupportedFault` if none of a rule's points can express it; nothing is armed then,
        nor after anything else that is raised here.
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
                # Not `arming.request`: a handler may run before a call's first instruction.
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
        made, remarks = self._dry_run(terms, source, by, strict)
        rules += made
        self._arm(made, self._table)
        return remarks, self._stand()

    def _arm(self, rules: Sequence[ArmedRule], table: Table) -> None:
        self._commit(Change(table.plus(rules), self._merged(rules)), fresh=rules)

    def dry_run(
        self, terms: Sequence[CompiledRule], source: Source, *, by: str = "", strict: bool = False
    ) -> tuple[list[ArmedRule], list[str]]:
        """Return the rules that `install` would arm, and what is to be said of them; arm nothing.

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
        return rules, check(
            rules,
            self._points,
            self.names,
            before=self._covering,
            fellows=rules,
            coming=self.placing,
            strict=strict,
        )

    def reload(self, terms: Sequence[CompiledRule], source: Source, *, by: str = "") -> Armed:
        """Make ``terms`` all that ``source`` has armed; what did not change goes on as it stood.

        Raises `NotPermitted` where no thread can be started to end the rules.
        """
        self._start_threads([one.expires_after for one in terms], "arm it again")
        plan, told, remarks = arming_lock.change(self._reload, terms, source, by)
        told()
        return self._handle(plan, remarks, source)

    def _reload(
        self, terms: Sequence[CompiledRule], source: Source, by: str
    ) -> tuple[list[ArmedRule], Callable[[], None], list[str]]:
        self._finish()
        known: dict[tuple[object, ...], list[ArmedRule]] = {}
        for rule in self._table.plans[source]:
            known.setdefault(rule.identity, []).append(rule)
        made = self._make(terms, source, by)
        plan = [same.pop(0) if (same := known.get(rule.identity)) else rule for rule in made]
        fresh = [rule for rule, new in zip(plan, made, strict=True) if rule is new]
        remarks = check(
            fresh,
            self._points,
            self.names,
            before=lambda name: (r for r in self._covering(name) if r.source != source),
            fellows=made,
            early=self._early,
            coming=self.placing,
        )
        ranks = {rule: new.rank for rule, new in zip(plan, made, strict=True) if rule is not new}
        rest = [rule for left in known.values() for rule in left if rule.why is None]
        ended = self._endings(rest, "replaced", by)
        table = self._table.minus(rest).with_plan(source, plan)
        if self._early:
            self._remind_at = self.clock.monotonic() + _SECONDS_TO_APPEAR
        if self.enabled:
            table = table.plus(fresh)
            at = self._merged(fresh, rest, ranks)
            armed = [RuleArmed(rule) for rule in fresh]
        else:
            for rule in fresh:
                rule.end("disabled")
            at, armed = {}, []
        self._commit(Change(table, at, _ends(ended), ranks=ranks), fresh=fresh if armed else ())
        standing = self._stand()
        return plan, partial(self._announce, ended, *armed, standing), remarks

    def _start_threads(self, expiries: Collection[float | None], cure: str) -> None:
        """Raise `NotPermitted` if no thread can be started to end rules, which may expire."""
        if expiries and not self.housekeeper.start(inf if set(expiries) == {None} else -inf):
            raise NotPermitted(f"{NO_THREAD}, and {cure}")

    def disarm_unkept(self) -> None:
        """Disarm the rules from outside that no thread can end, and say so."""
        none = not self.housekeeper.start()
        outside = (rule for rule in self.rules() if rule.source in _READ_AGAIN)
        if unkept := [rule for rule in outside if none or rule.deadline is not None]:
            log(logging.ERROR, _OUTSIDE, len(unkept), NO_THREAD)
            self.remove(unkept, "failed", reason=NO_THREAD)

    def _handle(self, rules: list[ArmedRule], remarks: list[str], source: Source) -> Armed:
        handle = Armed(self, rules)
        try:
            for text in remarks:
                warn(text, source)
        except BaseException:
            handle.disarm()  # the warning is an error here, and the caller gets no handle
            raise
        return handle

    def _make(self, terms: Sequence[CompiledRule], source: Source, by: str) -> list[ArmedRule]:
        batch = next(self._batches)
        return [
            ArmedRule(one, source, (0 if one.scoped else _TIER[source], -batch, place), self, by)
            for place, one in enumerate(terms)
        ]

    # -- disarming ------------------------------------------------------------------------

    def remove(
        self, rules: Iterable[ArmedRule], why: EndReason, by: str = "", reason: str = ""
    ) -> None:
        """Disarm these rules, wherever they are armed; wakes all that sleep on them."""
        arming_lock.soon(partial(self._remove_now, tuple(rules), why, by, reason))

    def _remove_now(self, rules: Sequence[ArmedRule], why: EndReason, by: str, reason: str) -> None:
        told = arming_lock.change(self._remove, rules, why, by, reason)
        told()

    def _remove(
        self, rules: Sequence[ArmedRule], why: EndReason, by: str, reason: str
    ) -> Callable[[], None]:
        self._finish()
        armed = [rule for rule in rules if self._table.has(rule)]
        ended = self._disarm(armed, self._table, why, by, reason)
        return partial(self._announce, ended, self._stand())

    def _disarm(
        self, rules: Sequence[ArmedRule], table: Table, why: EndReason, by: str, reason: str = ""
    ) -> list[RuleDisarmed]:
        ended = self._endings(rules, why, by, reason)
        table = table.minus(rules)
        if why == "failed":
            table = table.remembering(rule for rule in rules if rule.source not in _STAYS)
        if table is not self._table:
            self._commit(Change(table, self._merged(gone=rules), _ends(ended)))
        return ended

    def _endings(
        self, rules: Iterable[ArmedRule], why: EndReason, by: str, reason: str = ""
    ) -> list[RuleDisarmed]:
        told: list[RuleDisarmed] = []

        def near(pattern: str) -> Sequence[str]:
            return self.nearest(pattern) if len(told) < HINTS else ()

        for rule in rules:
            never = not reason and why in ("disarmed", "expired") and rule.reaches == 0
            said = never_reached(self, rule, near) if never else reason
            told.append(RuleDisarmed(rule, "expired" if rule.overdue else why, by, said))
        return told

    def _announce(self, ended: Sequence[RuleDisarmed], *more: Notice) -> None:
        self.say(*self._due([one.rule for one in ended]), *ended, *more)

    def disarm(self, pattern: str, by: str = "", sources: Sequence[Source] = tuple(_TIER)) -> int:
        """Disarm what matches ``pattern``; return how many rules that touched."""
        if arming_lock.nested:
            arming_lock.request(Once(lambda: self._disarm_matching(pattern, by, sources)[1]))
            return self._touched(*self._matched(pattern, sources), self.names(pattern))
        touched, told = arming_lock.change(self._disarm_matching, pattern, by, sources)
        told()
        return touched

    def _disarm_matching(
        self, pattern: str, by: str, sources: Sequence[Source]
    ) -> tuple[int, Callable[[], None]]:
        self._finish()
        (whole, part), names = self._matched(pattern, sources), self.names(pattern)
        touched = self._touched(whole, part, names)
        armed = [rule for rule in whole if rule.why is None]
        ended, table = self._endings(armed, "disarmed", by), self._table.minus(armed)
        at, partly = self._merged(gone=armed), set(part)
        for name in names if part else ():
            rules = at.get(name, self._at.get(name, ()))
            if not partly.isdisjoint(rules):
                at[name] = tuple(rule for rule in rules if rule not in partly)
        struck = [rule for rule in whole if rule.why is not None]
        excluded = {rule: rule.without(pattern) for rule in part}
        change = Change(table, at, _ends(ended), struck=struck, excluded=excluded)
        self._commit(change, to_wake=part)
        return touched, partial(self._announce, ended, self._stand())

    def _matched(
        self, pattern: str, sources: Sequence[Source]
    ) -> tuple[list[ArmedRule], list[ArmedRule]]:
        """Return the rules that match ``pattern`` as a whole, and those that match in part."""
        whole, part = [], []
        held = [r for plan in self._table.plans.values() for r in plan if r.why == "disabled"]
        for rule in (r for r in [*self.rules(), *held] if r.source in sources):
            if matches(pattern, rule.pattern):
                whole.append(rule)
            elif is_glob(rule.pattern) and (is_glob(pattern) or matches(rule.pattern, pattern)):
                part.append(rule)
        return whole, part

    def _touched(
        self, whole: Sequence[ArmedRule], part: Sequence[ArmedRule], names: Collection[str]
    ) -> int:
        there = {rule for name in names for rule in self._at.get(name, ())} if part else ()
        return len(whole) + sum(
            rule in there if rule.why is None else any(map(rule.covers, names)) for rule in part
        )

    def remind(self) -> None:
        """Say which rules, armed before there were points, have found none after a while."""
        if self._remind_at is None or self._remind_at > self.clock.monotonic():
            return
        self._remind_at = None
        hints = HINTS
        for rule in self.rules():
            try:
                remarks = check(
                    [rule], self._points.copy(), self.names, coming=self.placing, hints=hints
                )
            except ChaosError as error:
                remarks = [str(error)]
            hints = max(0, hints - len(remarks))
            for text in remarks:
                log(logging.WARNING, "%s (armed by %s)", text, rule.source)

    def renew(self, source: Source, key: str, seconds: float) -> bool:
        """Have the rule of a source that has this key expire after so many seconds from now.

        Its counts stay. Return False if its old deadline came first, or no thread can end it.
        """
        deadline = self.clock.monotonic() + seconds
        with arming_lock:
            if not self._renew(source, key, deadline):
                return False
        if not self.housekeeper.start(deadline):
            self.disarm_unkept()
        found = (rule for rule in self._table.plans[source] if rule.terms.key == key)
        return all(rule.reason != NO_THREAD for rule in found)

    def _renew(self, source: Source, key: str, deadline: float) -> bool:
        found = [rule for rule in self._table.plans[source] if rule.terms.key == key]
        if any(rule.state == "expired" for rule in found):
            return False
        for rule in found:
            rule.deadline = deadline
        return True

    def deadlines(self, every: bool) -> list[float]:
        """Return when the armed rules expire; infinity for ``every`` one that does not."""
        at = [rule.deadline for rule in self._table.rules()]
        return [inf if one is None else one for one in at if every or one is not None]

    def expire(self) -> None:
        """Disarm the rules whose time has come, and tell of it."""
        self.end_due()
        ended = self._endings(tuple(self._expired), "expired", "")
        mine = [one for one in ended if self._expired.pop(one.rule, one) is None]
        for one in mine:
            one.rule.reason = one.reason
        if mine:
            with arming_lock:
                standing = self._stand()
            self._announce(mine, standing)

    def end_due(self) -> bool:
        """Disarm the rules whose time has come, and run no code of the program; return whether
        there are any, of which `expire` is to tell.
        """
        due = [rule for rule in self._table.rules() if rule.overdue]
        for rule in due:
            rule.wake()  # first: the lock may be held for long
        if due or self._change is not None:
            with arming_lock:
                due = arming_lock.change(self._end_due)
            for rule in due:
                rule.wake()
                rule.watched()
        return bool(due)

    def _end_due(self) -> list[ArmedRule]:
        self._finish()
        if due := [rule for rule in self._table.rules() if rule.overdue]:
            self._expired.update(dict.fromkeys(due))
            stay = (rule for rule in due if rule.source not in _STAYS)
            ended: list[tuple[ArmedRule, EndReason, str]] = [(rule, "expired", "") for rule in due]
            table = self._table.minus(due).remembering(stay)
            self._commit(Change(table, self._merged(gone=due), ended))
        return due

    def expire_soon(self) -> None:
        """Have what is overdue end, which a call has noticed, if need be here."""
        if not self.housekeeper.start(-inf):
            arming_lock.soon(self.expire)

    def release(self, pattern: str) -> int:
        """Release the paused calls at the matching points; return how many."""
        return sum(rule.release(pattern) for rule in self.rules())

    def fail(self, rule: ArmedRule, error: ChaosError) -> None:
        """Disarm a rule that turned out to be impossible at its first reach."""
        self.remove([rule], "failed", reason=str(error))

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
        """Allow arming again, and put back what env, file and store hold, as it stood.

        Raises `NotPermitted` where no thread can be started to end these rules.
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

    # -- looking --------------------------------------------------------------------------

    def rules(self, point: str | None = None) -> list[ArmedRule]:
        """Return the armed rules, or those of one point, in the order in which they are tried."""
        self._catch_up()
        if point is None:
            return sorted(self._table.rules(), key=_RANK)
        if point in self._points and self._change is None:
            return list(self._at.get(point, ()))
        return self._table.covering(point)

    def standing_at(self, name: str) -> _Rules:
        """Return the rules of one point; points with the same rules mostly share one tuple."""
        if self._change is None:
            return self._at.get(name, ())
        return tuple(self._table.covering(name))

    def ended(self) -> list[ArmedRule]:
        """Return the rules of environment and file that ended and stay so, what waits for `enable`,
        and the latest others that nobody disarmed: they expired, or failed at first reach."""
        self._catch_up()
        table = self._table
        held = [rule for plan in table.plans.values() for rule in plan if rule.why is not None]
        stay = [rule for rule in held if rule.source in _STAYS or rule.why == "disabled"]
        return [*table.gone, *stay]

    def flush(self) -> None:
        """Tell of the reaches since this was done last."""
        missed = [self._untold.popleft() for _ in range(len(self._untold))]
        self.say(*missed, *self._due(self.rules()))

    def _due(self, rules: Iterable[ArmedRule]) -> list[Notice]:
        with arming_lock:
            return _flushed(rules)

    # -- points ---------------------------------------------------------------------------

    def watch(self, *watches: ArmedRule) -> None:
        """Have these, and no others, reached first at every point; they never fire."""
        arming_lock.soon(Once(partial(self._watch, watches)))

    def _watch(self, watches: _Rules) -> None:
        self._finish()
        at = {name: self._at.get(name, ()) for name in tuple(self._points)}
        self._commit(Change(self._table._replace(watches=watches), at))

    def appear(self, point: Point) -> Point:
        """Add a point, and put on it what was armed before; return the one of its name."""
        if arming_lock.nested:
            found = self._points.setdefault(point.name, point)
            arming_lock.request(partial(arming_lock.change, self._look_at, point.name))
            return found
        return arming_lock.change(self._appear, point)

    def _appear(self, point: Point) -> Point:
        self._finish()
        if (found := self._points.get(point.name)) is not None:
            return found
        rules = tuple(self._table.covering(point.name))
        if rules or self.watches:
            self._commit(Change(self._table, {point.name: rules}), point=point)
        else:
            self._points[point.name] = point
        return point

    def _look_at(self, name: str) -> None:
        self._finish()
        self._commit(Change(self._table, {name: tuple(self._table.covering(name))}))

    def names(self, pattern: str) -> Collection[str]:
        """Return the names of the points that a name or glob matches."""
        return self._index.matching(pattern)

    def point(self, name: str) -> Point:
        """Return the point of this name, which is one."""
        return self._points[name]

    def nearest(self, pattern: str) -> Sequence[str]:
        """Return the names of points that look most like a name or glob."""
        return nearest(pattern, (*self._points.copy(), *self.placing))

    def kinds(self, name: str) -> Sequence[Kind]:
        """Return the kinds of a point's decorated callables; if there are none, all it may be."""
        live: Iterator[Kind] = (
            site.kind for site in self._points[name].core.sites if not site.gone
        )
        return tuple(dict.fromkeys(live)) or STATEMENTS

    @property
    def _early(self) -> bool:
        """Whether the program has made no point so far: those that a plan places come first."""
        return self._points.keys() <= self.placing.keys()

    def _covering(self, pattern: str) -> Iterator[ArmedRule]:
        yield from self._table.named.get(pattern, ())
        yield from itertools.islice(self._table.globs, LOOKED_THROUGH)

    def restart(self) -> None:
        """Begin anew in a forked child; what was to be told, the parent tells."""
        self._untold.clear()
        self._expired.clear()
        arming_lock.soon(partial(arming_lock.change, self._restart))
        self.say(replace(self._stand(), forked=True))

    def _restart(self) -> None:
        self._finish()
        begun = [*self._table.rules(), *self.ended()]
        self._commit(Change(self._table, dict(self._at), restarted=begun))


def _ends(told: Iterable[RuleDisarmed]) -> list[tuple[ArmedRule, EndReason, str]]:
    return [(one.rule, one.why, _in_words(one)) for one in told]


def _in_words(ended: RuleDisarmed) -> str:
    by = f"by {ended.by}" if ended.by and ended.why != "failed" else ""
    return "; ".join(filter(None, (by, ended.reason)))


def _flushed(rules: Iterable[ArmedRule]) -> list[Notice]:
    notices: list[Notice] = []
    for rule in rules:
        reaches, overflow = rule.reaches, rule.overflow
        # Read and set in a row, where nothing comes between, so that no notice is sent twice.
        if (flushed := rule.flushed) < reaches:
            rule.flushed = reaches
            notices.append(Reached(rule.pattern, reaches - flushed))
        if (flushed := rule.flushed_overflow) < overflow:
            rule.flushed_overflow = overflow
            notices.append(Overflowed(rule.pattern, overflow - flushed))
    return notices
