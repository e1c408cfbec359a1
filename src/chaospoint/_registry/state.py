"""The state of a registry: the table in force, and the unfinished part of its latest change.

Three objects work together here.  A `Change` holds the new `Table` and everything that makes rules
and points agree with it.  `State` swaps one reference, which puts the change in force, and carries
out the rest.  Each step of the rest can be repeated, so a change that a signal handler interrupts
is finished by the first thread that looks.  If a step could not be repeated, an interruption would
leave points that disagree with the table.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from chaospoint._kernel.lock import arming_lock
from chaospoint._registry.points import Points
from chaospoint._registry.table import RANK, Change, Table

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule, Source
    from chaospoint._kernel.point import Point
    from chaospoint._registry.table import Rules

__all__ = ["REMAINS", "REREAD", "State"]

# A rule from a source that is read again is remembered after its end, so reading the same text
# again does not arm it again.
REREAD: tuple[Source, ...] = ("http", "store", "env", "file")
REMAINS: tuple[Source, ...] = ("env", "file")  # these rules are listed while their text is there


class State:
    """The table of a registry and its points, and the change that may not be finished."""

    def __init__(self, points: dict[str, Point]) -> None:
        self.points = Points(points)
        self._table = Table(None, {}, (), dict.fromkeys(REREAD, ()), {}, (), ())
        self._change: Change | None = None  # the latest one, unless it is finished

    off = property(
        attrgetter("_table.off"), doc="Who disabled the registry, and why; None while enabled."
    )
    watches = property(attrgetter("_table.watches"), doc="The rules that every point tries first.")

    @property
    def enabled(self) -> bool:
        """The master switch."""
        return self._table.off is None

    def rules(self, point: str | None = None) -> list[ArmedRule]:
        """Return the armed rules, or those of one point, in the order in which they are tried."""
        self._catch_up()
        if point is None:
            return sorted(self._table.rules(), key=RANK)
        if point in self.points.by_name and self._change is None:
            return list(self.points.at.get(point, ()))
        return self._table.covering(point)

    def standing_at(self, name: str) -> Rules:
        """Return the rules of one point; points with the same rules mostly share one tuple."""
        if self._change is None:
            return self.points.at.get(name, ())
        return tuple(self._table.covering(name))

    def ended(self) -> list[ArmedRule]:
        """Return the rules that ended and are still listed.

        These are the rules of environment and file, the rules that `enable` brings back, and the
        latest others that expired or failed at their first reach.
        """
        self._catch_up()
        table = self._table
        held = [rule for plan in table.plans.values() for rule in plan if rule.why is not None]
        stay = [rule for rule in held if rule.source in REMAINS or rule.why == "disabled"]
        return [*table.gone, *stay]

    def _put_in_force(self, change: Change, point: Point | None) -> None:
        """Put a change in force, and a new ``point`` in its place."""
        if point is not None:
            name = point.name
            self.points.by_name[name] = point
        # No handler runs between these two assignments.
        self._change, self._table = change, change.table
        self._finish()

    def _finish(self) -> None:
        """Finish the latest change; call it under the lock before any other change."""
        if (change := self._change) is None:
            return
        for end in change.ended:
            if not end.rule.ended:
                end.rule.end(end.why, end.detail)
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
            self.points.put(name, rules, change.table.watches)
            del change.at[name]
        self._change = None

    def _catch_up(self) -> None:
        """Finish a change that was interrupted, or wait for the one that another thread makes."""
        if self._change is not None and not arming_lock.owned:
            arming_lock.change(self._finish)
        arming_lock.carry_out()
