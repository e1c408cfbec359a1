"""End rules: by hand, by name or glob, at their deadline, or because they failed.

Every change ends in `_commit`, under the arming lock.  After the lock is released, the thread that
made the change wakes the calls that the ended rules hold, and notifies the observers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from chaospoint._kernel.context import transparently
from chaospoint._kernel.lock import Once, arming_lock
from chaospoint._kernel.reporting import log
from chaospoint._registry.checks import HINTS
from chaospoint._registry.housekeeping import NO_THREAD
from chaospoint._registry.notices import Notice, RuleDisarmed
from chaospoint._registry.runtime import Runtime
from chaospoint._registry.state import REMAINS, REREAD
from chaospoint._registry.table import Change, Table
from chaospoint._registry.unreached import never_reached

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule, EndReason, Source
    from chaospoint._kernel.clock import Clock
    from chaospoint._kernel.point import Point
    from chaospoint.errors import ChaosError

__all__ = ["TIERS", "Disarming"]

# Rules that are scoped to a context come before all of these, at 0.
TIERS: dict[Source, int] = {"code": 1, "test": 1, "http": 2, "store": 2, "env": 3, "file": 4}
_UNKEPT = (
    "a rule does not fire after its deadline, but calls that it holds stay held until it is "
    "disarmed"
)
_OUTSIDE = "rules from outside are disarmed, %d in all: %s"


class Disarming(Runtime):
    """The part of the engine that puts changes in force and ends rules."""

    def __init__(self, points: dict[str, Point], clock: Clock) -> None:
        super().__init__(points, clock)
        self._expired: dict[ArmedRule, None] = {}  # their observers are not notified yet

    def _commit(
        self,
        change: Change,
        *,
        fresh: Sequence[ArmedRule] = (),
        to_wake: Iterable[ArmedRule] = (),
        point: Point | None = None,
    ) -> None:
        """Put a change in force, and a new ``point`` in its place; the last step of a change."""
        # Before the swap, because an interruption right after it must not lose this request. Each
        # change requests it for its own rules: those of an earlier change may not have ended yet.
        to_wake = (*(end.rule for end in change.ended), *to_wake)
        arming_lock.request(partial(transparently, self._attend, to_wake, fresh))
        self._put_in_force(change, point)

    def _attend(self, to_wake: Sequence[ArmedRule], fresh: Sequence[ArmedRule]) -> None:
        """Finish the latest change, and do the work that has to wait until the lock is released."""
        with arming_lock:  # waits for the change that requested this, which another thread may make
            pass
        self._catch_up()
        for rule in to_wake:
            rule.wake()
            rule.watched()
        if fresh:
            deadlines = [rule.deadline for rule in fresh if rule.deadline is not None]
            if not self.housekeeper.start(min(deadlines, default=inf)):
                log(logging.ERROR, "no thread could be started for the armed rules: %s", _UNKEPT)
                self.disarm_unkept()

    def remove(
        self, rules: Iterable[ArmedRule], why: EndReason, by: str = "", reason: str = ""
    ) -> None:
        """Disarm these rules everywhere, and wake the calls that sleep on them."""
        arming_lock.soon(partial(self._remove_now, tuple(rules), why, by, reason))

    def _remove_now(self, rules: Sequence[ArmedRule], why: EndReason, by: str, reason: str) -> None:
        arming_lock.change(self._remove, rules, why, by, reason)()

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
            table = table.remembering(rule for rule in rules if rule.source not in REMAINS)
        if table is not self._table:
            self._commit(Change(table, self.points.differences(self._table, gone=rules), ended))
        return ended

    def _endings(
        self, rules: Iterable[ArmedRule], why: EndReason, by: str, reason: str = ""
    ) -> list[RuleDisarmed]:
        notices: list[RuleDisarmed] = []

        def near(pattern: str) -> Sequence[str]:
            return self.points.nearest(pattern) if len(notices) < HINTS else ()

        for rule in rules:
            never = not reason and why in ("disarmed", "expired") and rule.reaches == 0
            detail = never_reached(self.points, rule, near) if never else reason
            notices.append(RuleDisarmed(rule, "expired" if rule.overdue else why, by, detail))
        return notices

    def _announce(self, ended: Sequence[RuleDisarmed], *more: Notice) -> None:
        self.say(*self._counts([notice.rule for notice in ended]), *ended, *more)

    def disarm(self, pattern: str, by: str = "", sources: Sequence[Source] = tuple(TIERS)) -> int:
        """Disarm the rules that match ``pattern``; return how many rules this changed."""
        if arming_lock.nested:
            arming_lock.request(Once(lambda: self._disarm_matching(pattern, by, sources)[1]))
            return self.points.touched(
                *self._table.matching(pattern, sources), self.points.names(pattern)
            )
        touched, announce = arming_lock.change(self._disarm_matching, pattern, by, sources)
        announce()
        return touched

    def _disarm_matching(
        self, pattern: str, by: str, sources: Sequence[Source]
    ) -> tuple[int, Callable[[], None]]:
        self._finish()
        (whole, part), names = self._table.matching(pattern, sources), self.points.names(pattern)
        touched = self.points.touched(whole, part, names)
        armed = [rule for rule in whole if rule.why is None]
        ended, table = self._endings(armed, "disarmed", by), self._table.minus(armed)
        at, partly = self.points.differences(self._table, gone=armed), set(part)
        for name in names if part else ():
            rules = at.get(name, self.points.at.get(name, ()))
            if not partly.isdisjoint(rules):
                at[name] = tuple(rule for rule in rules if rule not in partly)
        struck = [rule for rule in whole if rule.why is not None]
        excluded = {rule: rule.without(pattern) for rule in part}
        change = Change(table, at, ended, struck=struck, excluded=excluded)
        self._commit(change, to_wake=part)
        return touched, partial(self._announce, ended, self._stand())

    def disarm_unkept(self) -> None:
        """Disarm the rules from outside that no thread can expire, and log it."""
        none = not self.housekeeper.start()
        outside = (rule for rule in self.rules() if rule.source in REREAD)
        if unkept := [rule for rule in outside if none or rule.deadline is not None]:
            log(logging.ERROR, _OUTSIDE, len(unkept), NO_THREAD)
            self.remove(unkept, "failed", reason=NO_THREAD)

    def unkept(self, source: Source) -> bool:
        """Whether rules of a source were disarmed because no thread could expire them."""
        return any(rule.reason == NO_THREAD for rule in self._table.plans[source])

    def renew(self, source: Source, key: str, seconds: float) -> bool:
        """Set the deadline of the rule of a source with this key to ``seconds`` from now.

        Its counts stay.  Return False if it has expired already, or if no thread can expire it.
        """
        deadline = self.clock.monotonic() + seconds
        with arming_lock:
            if not self._renew(source, key, deadline):
                return False
        if not self.housekeeper.start(deadline):
            self.disarm_unkept()
        renewed = (rule for rule in self._table.plans[source] if rule.terms.key == key)
        return all(rule.reason != NO_THREAD for rule in renewed)

    def _renew(self, source: Source, key: str, deadline: float) -> bool:
        rules = [rule for rule in self._table.plans[source] if rule.terms.key == key]
        if any(rule.state == "expired" for rule in rules):
            return False
        for rule in rules:
            rule.deadline = deadline
        return True

    def deadlines(self, every: bool) -> list[float]:
        """Return the deadlines of the armed rules; ``every`` adds infinity for other rules."""
        deadlines = [rule.deadline for rule in self._table.rules()]
        return [inf if at is None else at for at in deadlines if every or at is not None]

    def expire(self) -> None:
        """Disarm the rules that are due, and notify the observers."""
        self.end_due()
        ended = self._endings(tuple(self._expired), "expired", "")
        # `pop` decides which thread notifies, if several threads expire the same rule.
        notices = [notice for notice in ended if self._expired.pop(notice.rule, notice) is None]
        for notice in notices:
            notice.rule.reason = notice.reason
        if notices:
            with arming_lock:
                standing = self._stand()
            self._announce(notices, standing)

    def end_due(self) -> bool:
        """Disarm the rules that are due, without running code of the program.

        Return whether there were any; `expire` then notifies the observers.
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
            stay = (rule for rule in due if rule.source not in REMAINS)
            ended = [RuleDisarmed(rule, "expired") for rule in due]
            table = self._table.minus(due).remembering(stay)
            self._commit(Change(table, self.points.differences(self._table, gone=due), ended))
        return due

    def expire_soon(self) -> None:
        """End overdue rules, which a call noticed; in this thread if no other can be started."""
        if not self.housekeeper.start(-inf):
            arming_lock.soon(self.expire)

    def release(self, pattern: str) -> int:
        """Release the paused calls at the matching points; return their number."""
        return sum(rule.release(pattern) for rule in self.rules())

    def fail(self, rule: ArmedRule, error: ChaosError) -> None:
        """Disarm a rule whose first reach showed that it cannot work."""
        self.remove([rule], "failed", reason=str(error))
