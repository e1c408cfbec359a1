"""What is armed, and on what: every change of it, whole and in one place.

A change builds the new state of each point it concerns and then swaps it in, under the `arming`
lock; sleepers are woken and observers told after the lock is released.  Rules of the sources that
are read again (all but code and tests) are remembered when they end, so that reading the same text
again does not bring back what was disarmed, spent or expired.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING

from chaospoint import _bug, _scope
from chaospoint._aim import STATEMENTS
from chaospoint._armed import Armed
from chaospoint._check import check, unplaced, waiting
from chaospoint._epoch import ArmedRule, Ending, Source
from chaospoint._fork import boards
from chaospoint._inside import transparent
from chaospoint._keeper import Keeper
from chaospoint._lock import arming
from chaospoint._names import is_glob, matcher, matches, nearest
from chaospoint._notice import (
    Notice,
    Overflowed,
    Reached,
    RuleArmed,
    RuleDisarmed,
    Standing,
    Switched,
)
from chaospoint._point import ArmedPoint, Point
from chaospoint._remark import remark
from chaospoint._say import say
from chaospoint._searches import Searches
from chaospoint.errors import ChaosError, NotPermitted

if TYPE_CHECKING:
    from chaospoint._aim import Kind
    from chaospoint._clock import Clock
    from chaospoint._injection import Injection, Observer
    from chaospoint._terms import Terms

__all__ = ["Board"]

# What is scoped to a context stands at 0, before all of these.
_TIER: dict[Source, int] = {"code": 1, "test": 1, "http": 2, "store": 2, "env": 3, "file": 4}
_READ_AGAIN: tuple[Source, ...] = ("http", "store", "env", "file")
_STAYS: tuple[Source, ...] = ("env", "file")  # it is shown there for as long as it is written
_SECONDS_TO_APPEAR = 10.0
_LOOKED_THROUGH = 100  # globs, for remarks on what cannot fire
_REMEMBERED = 32
_HINTS = 10  # looking for near names is slow, and nobody reads a thousand of them


class Board:
    """The armed rules of one registry, their order, and the master switch."""

    def __init__(self, points: dict[str, Point], clock: Clock) -> None:
        # Faults and deadlines go by the one, which a test may change; our own waits by the other.
        self.clock = self.timer = clock
        self.enabled = True
        self._remind_at: float | None = None
        self.has_defaults = False  # once: who takes a default observer away means it
        self.observe: tuple[Callable[[Injection], None], ...] = ()
        self.observe_first: tuple[Callable[[Injection], None], ...] = ()  # of a rule
        self.observers: tuple[Observer, ...] = ()
        self._notice: tuple[Callable[[Notice], None], ...] = ()
        self._points = points
        self._named: dict[str, list[ArmedRule]] = {}
        self._globs: list[ArmedRule] = []
        self._plans: dict[Source, list[ArmedRule]] = {source: [] for source in _READ_AGAIN}
        self._batches = itertools.count(1)
        self._changes = itertools.count(1)
        self._counts: Counter[Source] = Counter()
        self._gone: deque[ArmedRule] = deque(maxlen=_REMEMBERED)
        self._latest: tuple[ArmedRule, ...] = ()  # what was set last
        self.watches: tuple[ArmedRule, ...] = ()  # they stand at every point, before all rules
        self.keeper = Keeper(self)  # the thread that expires and flushes
        boards.add(self)

    # -- observers ------------------------------------------------------------------------

    def add_observer(self, *observers: Observer, defaults: bool = False) -> None:
        """Tell ``observers`` of what happens from now on; these may be the ``defaults``."""
        with arming:
            self._observe((*self.observers, *observers), self.has_defaults or defaults)
            standing = self._stand()
        arming.later(partial(self.say, standing))

    def remove_observer(self, observer: Observer) -> None:
        """Tell ``observer`` no more."""
        with arming:
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
        """Tell the observers that have ``notice``; never under the lock."""
        if not notices:
            return
        with transparent():
            for tell in self._notice:
                for notice in notices:
                    try:
                        tell(notice)
                    except Exception:
                        kind = type(notice).__name__
                        _bug.report(f"telling an observer of {kind}", "mend the observer")

    def _stand(self) -> Standing:
        return Standing(next(self._changes), self.enabled, dict(self._counts))

    # -- arming ---------------------------------------------------------------------------

    def install(
        self,
        terms: Sequence[Terms],
        source: Source,
        *,
        by: str = "",
        strict: bool = False,
    ) -> Armed:
        """Arm ``terms`` before all that this source armed.

        Raises `NotPermitted` while disabled, `UnknownPoint` if ``strict`` and a rule has no point
        yet, `UnsupportedFault` if none of a rule's points can express it; nothing is armed then.
        """
        with arming:
            rules, remarks = self.tried(terms, source, by=by, strict=strict)
            self._add(rules)
            standing = self._stand()
        _scope.enter(rule for rule in rules if rule.terms.scoped)
        self.say(*map(RuleArmed, rules), standing)
        return self._handle(rules, remarks, source)

    def tried(
        self, terms: Sequence[Terms], source: Source, *, by: str = "", strict: bool = False
    ) -> tuple[list[ArmedRule], list[str]]:
        """Return the rules that `install` would arm, and what is to be said of them; arm nothing.

        Raises what `install` raises.
        """
        with arming:
            if not self.enabled:
                raise NotPermitted(
                    "chaospoint is disabled, so nothing can be armed: call chaospoint.enable(), "
                    "or POST /v1/enable, first"
                )
            rules = self._make(terms, source, by)
            return rules, check(
                rules,
                self._points,
                self.names,
                before=self._covering,
                fellows=rules,
                strict=strict,
            )

    def reload(self, terms: Sequence[Terms], source: Source, *, by: str = "") -> Armed:
        """Make ``terms`` all that ``source`` has armed; what did not change goes on as it stood."""
        with arming:
            known: dict[tuple[object, ...], list[ArmedRule]] = {}
            for rule in self._plans[source]:
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
                early=not self._points,
            )
            for rule, new in zip(plan, made, strict=True):
                rule.rank = new.rank
            gone = [rule for rest in known.values() for rule in rest]
            ended = self._remove([rule for rule in gone if rule.why is None], "replaced", by)
            self._plans[source] = plan
            if not self._points:
                self._remind_at = self.clock.monotonic() + _SECONDS_TO_APPEAR
            if self.enabled:
                self._add(fresh)
                self._rebuild(rule for rule in plan if rule.why is None)
                told = [RuleArmed(rule) for rule in fresh]
            else:
                for rule in fresh:
                    rule.end("disabled")
                told = []
            standing = self._stand()
        self._told(ended)
        self.say(*told, standing)
        return self._handle(plan, remarks, source)

    def _handle(self, rules: list[ArmedRule], remarks: list[str], source: Source) -> Armed:
        handle = Armed(self, rules)
        try:
            for text in remarks:
                remark(text, source)
        except BaseException:
            handle.disarm()  # the warning is an error here, and the caller gets no handle
            raise
        return handle

    def _make(self, terms: Sequence[Terms], source: Source, by: str) -> list[ArmedRule]:
        batch = next(self._batches)
        return [
            ArmedRule(one, source, (0 if one.scoped else _TIER[source], -batch, place), self, by)
            for place, one in enumerate(terms)
        ]

    def _add(self, rules: Iterable[ArmedRule]) -> None:
        rules = list(rules)
        for rule in rules:
            if is_glob(rule.pattern):
                self._globs.append(rule)
            else:
                self._named.setdefault(rule.pattern, []).append(rule)
            self._counts[rule.source] += 1
        self._rebuild(rules)
        if rules:
            deadlines = [rule.deadline for rule in rules if rule.deadline is not None]
            arming.later(partial(self.keeper.start, min(deadlines, default=inf)))

    # -- disarming ------------------------------------------------------------------------

    def remove(
        self, rules: Iterable[ArmedRule], why: Ending, by: str = "", reason: str = ""
    ) -> None:
        """Disarm these rules, wherever they are armed; wakes all that sleep on them."""
        with arming:
            ended = self._remove([rule for rule in rules if rule.why is None], why, by, reason)
            standing = self._stand()
        self._told(ended, standing)

    def disarm(self, pattern: str, by: str = "", sources: Sequence[Source] = tuple(_TIER)) -> int:
        """Disarm what matches ``pattern``; return how many rules that touched."""
        with arming:
            whole, part = [], []
            held = [r for plan in self._plans.values() for r in plan if r.why == "disabled"]
            for rule in (r for r in [*self.rules(), *held] if r.source in sources):
                if matches(pattern, rule.pattern):
                    whole.append(rule)
                elif is_glob(rule.pattern) and (is_glob(pattern) or matches(rule.pattern, pattern)):
                    part.append(rule)
            touched = len(whole) + sum(self._takes(rule, pattern) for rule in part)
            for rule in part:
                rule.exclude(pattern)
            for rule in whole:
                if rule.why is not None:
                    rule.why = "disarmed"  # so that enabling does not bring it back
            whole = [rule for rule in whole if rule.why is None]
            self._rebuild(part)
            ended = self._remove(whole, "disarmed", by)
            standing = self._stand()
        for rule in part:
            rule.wake()
        self._told(ended, standing)
        return touched

    def _takes(self, rule: ArmedRule, pattern: str) -> bool:
        return any(rule.covers(name) and matches(pattern, name) for name in self._points)

    def remind(self) -> None:
        """Say which rules, armed before there were points, have found none after a while."""
        if self._remind_at is None or self._remind_at > self.clock.monotonic():
            return
        self._remind_at = None
        for rule in self.rules():
            try:
                remarks = check([rule], self._points.copy(), self.names)
            except ChaosError as error:
                remarks = [str(error)]
            for text in remarks:
                say(logging.WARNING, "%s (armed by %s)", text, rule.source)

    def renew(self, source: Source, key: str, seconds: float) -> bool:
        """Have the rule of a source that has this key expire after so many seconds from now.

        Its counts stay. Return False if its old deadline came first.
        """
        deadline = self.clock.monotonic() + seconds
        with arming:
            found = [rule for rule in self._plans[source] if rule.terms.key == key]
            if any(rule.why == "expired" for rule in found):
                return False
            for rule in found:
                rule.deadline = deadline
            arming.later(partial(self.keeper.start, deadline))
        return True

    def expire(self) -> None:
        """Disarm the rules whose time has come."""
        now = self.clock.monotonic()
        due = [r for r in self.rules() if r.deadline is not None and r.deadline <= now]
        if due:
            self.remove(due, "expired")

    def release(self, pattern: str) -> int:
        """Let go of the calls that are paused at the matching points; return how many."""
        return sum(rule.release(pattern) for rule in self.rules())

    def fail(self, rule: ArmedRule, error: ChaosError) -> None:
        """Disarm a rule that turned out to be impossible at its first reach."""
        self.remove([rule], "failed", reason=str(error))

    def _remove(
        self, rules: Sequence[ArmedRule], why: Ending, by: str = "", reason: str = ""
    ) -> list[RuleDisarmed]:
        told: list[RuleDisarmed] = []
        if not rules:
            return told
        for rule in rules:
            said, where = reason, rule.terms.where is not None
            if rule.reaches == 0 and why in ("disarmed", "expired"):
                names = self.names(rule.pattern)
                lost = [unplaced(rule, self._points[name]) for name in names] if where else []
                if not names:
                    said = waiting(rule, self.nearest(rule.pattern) if len(told) < _HINTS else ())
                elif lost and all(lost):
                    said = f"no decorated function there has {lost[0][0]!r}, which `where` asks for"
            told.append(RuleDisarmed(rule, why, by, said))
            rule.end(why, said or (f"by {by}" if by else ""))
            if why in ("expired", "failed") and rule.source not in _STAYS:
                self._gone.append(rule)
            self._counts[rule.source] -= 1
        for pattern in {rule.pattern for rule in rules if not is_glob(rule.pattern)}:
            self._named[pattern] = [rule for rule in self._named[pattern] if rule.why is None]
            if not self._named[pattern]:
                del self._named[pattern]
        self._globs = [rule for rule in self._globs if rule.why is None]
        self._rebuild(rules)
        return told

    def _told(self, ended: Sequence[RuleDisarmed], *more: Notice) -> None:
        for one in ended:
            one.rule.wake()
            one.rule.watched()
        self.say(*self._due([one.rule for one in ended]), *ended, *more)

    # -- the master switch ----------------------------------------------------------------

    def disable(self, by: str = "") -> None:
        """Stop every effect now, disarm everything, and refuse to arm until enabled."""
        with arming:
            was, self.enabled = self.enabled, False
            ended = self._remove(self.rules(), "disabled", by)
            standing = self._stand()
        self._told(ended, *([Switched(False, by)] if was else []), standing)

    def enable(self, by: str = "") -> None:
        """Allow arming again, and put back what env, file and store hold, as it stood."""
        with arming:
            was, self.enabled = self.enabled, True
            back: list[ArmedRule] = []
            for source, plan in self._plans.items():
                heirs = [r.successor() if r.why == "disabled" else r for r in plan]
                back += [heir for heir, rule in zip(heirs, plan, strict=True) if heir is not rule]
                self._plans[source] = heirs
            self._add(back)
            standing = self._stand()
        if not was:
            self.say(Switched(True, by), *map(RuleArmed, back), standing)
        self.expire()

    # -- looking --------------------------------------------------------------------------

    def rules(self, point: str | None = None) -> list[ArmedRule]:
        """Return the armed rules, or those of one point, in the order in which they are tried."""
        with arming:
            if point is not None:
                return self._rules_at(point)
            found = [rule for named in self._named.values() for rule in named] + self._globs
        return sorted(found, key=attrgetter("rank"))

    def _rules_at(self, name: str) -> list[ArmedRule]:
        found = [*self._named.get(name, ()), *self._globs]
        found = [rule for rule in found if rule.covers(name)]
        if len(found) > 1:
            found.sort(key=attrgetter("rank"))
        return found

    def ended(self) -> list[ArmedRule]:
        """Return the rules of environment and file that ended and stay so, what waits for `enable`,
        and the latest others that nobody disarmed: they expired, or failed at first reach."""
        with arming:
            held = [rule for plan in self._plans.values() for rule in plan if rule.why is not None]
            stay = [rule for rule in held if rule.source in _STAYS or rule.why == "disabled"]
            return [*self._gone, *stay]

    def flush(self) -> None:
        """Tell of the reaches since this was done last."""
        self.say(*self._due(self.rules()))

    def _due(self, rules: Iterable[ArmedRule]) -> list[Notice]:
        notices: list[Notice] = []
        with arming:
            for rule in rules:
                reaches, overflow = rule.reaches, rule.overflow
                if reaches > rule.flushed:
                    notices.append(Reached(rule.pattern, reaches - rule.flushed))
                if overflow > rule.flushed_overflow:
                    notices.append(Overflowed(rule.pattern, overflow - rule.flushed_overflow))
                rule.flushed, rule.flushed_overflow = reaches, overflow
        return notices

    # -- points ---------------------------------------------------------------------------

    def watch(self, *watches: ArmedRule) -> None:
        """Have these, and no others, reached first at every point; they never fire."""
        with arming:
            self.watches = watches
            for point in self._points.values():
                self._set(point)

    def appear(self, point: Point) -> None:
        """Put on a new point what was armed before it was there; call it under the lock."""
        if self._named.get(point.name) or self._globs or self.watches:
            self._set(point)

    def _rebuild(self, rules: Iterable[ArmedRule]) -> None:
        for name in {name for rule in rules for name in self.names(rule.pattern)}:
            self._set(self._points[name])

    def names(self, pattern: str) -> list[str]:
        """Return the names of the points that a name or glob matches."""
        if is_glob(pattern):
            return list(filter(matcher(pattern), self._points))
        return [pattern] if pattern in self._points else []

    def point(self, name: str) -> Point:
        """Return the point of this name, which is one."""
        return self._points[name]

    def nearest(self, pattern: str) -> Sequence[str]:
        """Return the names of points that look most like a name or glob."""
        return nearest(pattern, self._points.copy())

    def kinds(self, name: str) -> Sequence[Kind]:
        """Return the kinds of a point's decorated callables; if there are none, all it may be."""
        live = (site.kind for site in self._points[name].core.sites if not site.gone)
        return tuple(dict.fromkeys(live)) or STATEMENTS

    def _covering(self, pattern: str) -> Iterator[ArmedRule]:
        yield from self._named.get(pattern, ())
        yield from itertools.islice(self._globs, _LOOKED_THROUGH)

    def _set(self, point: Point) -> None:
        core = point.core
        rules = tuple(self._rules_at(core.name))
        if self.watches:
            rules = (*self.watches, *rules)
        if rules == self._latest:
            rules = self._latest  # one tuple for all the points of a glob
        core.rules = self._latest = rules
        late = any(rule.terms.after for rule in rules)
        core.before = Searches(rules, point, after=False) if rules else None
        core.after = Searches(rules, point, after=True) if late else None
        point.__class__ = ArmedPoint if rules else Point
        for site in core.sites:
            try:
                site.rebuild()
            except Exception:
                _bug.report(f"patching {site}")

    def restart(self) -> None:
        """Begin anew in a forked child, under a fresh lock."""
        with arming:
            for rule in itertools.chain(self.rules(), self.ended()):
                rule.restart()
            self._rebuild(self.rules())
            standing = self._stand()
        self.say(replace(standing, forked=True))
