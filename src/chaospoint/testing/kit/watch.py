"""Counts every call that arrives at a point, also where nothing is armed.

A watch stands at every point before all rules, matches every call and never fires, so it changes
nothing that a rule does; points that are made later are watched, too. While it is on, every
decorated function runs a trampoline: that is for tests, and for no service.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from chaospoint._kernel import reporting
from chaospoint._kernel.armed_rule import ArmedRule
from chaospoint._kernel.chance import NEVER, Schedule
from chaospoint._kernel.compiled_rule import CompiledRule
from chaospoint._kernel.context import transparently
from chaospoint._kernel.lock import arming_lock
from chaospoint._kernel.names import matcher
from chaospoint._kernel.tally import Tally, counted, counter
from chaospoint.faults.failpoints import Off

if TYPE_CHECKING:
    from chaospoint._kernel.placement import Kind, Placed
    from chaospoint._registry.registry import Registry

__all__ = ["Watch"]

_EVERYWHERE = CompiledRule("*", "watch", (Off(),), Schedule(seed=0, probability=0.0))

Told = Callable[["Placed", "Kind"], None]


class Watch:
    """Counts the calls at all points of ``registry`` between `start` and `stop`.

    ``after``: the clean ends of calls instead of their beginnings; statements have none. ``told``
    is called at each, on the calling thread, with the point (of a decorated function: with what
    that placement raises) and the kind of the placement; points are transparent to it. Safe from
    any thread.
    """

    def __init__(
        self, registry: Registry, *, after: bool = False, told: Told | None = None
    ) -> None:
        self._registry = registry
        self._rule = _Watching(registry, _EVERYWHERE._replace(after=after), told)

    def start(self) -> None:
        """Begin to count, at every point that there is and will be."""
        with arming_lock:
            engine = self._registry.engine
            engine.watch(*engine.watches, self._rule)

    def stop(self) -> None:
        """Count no more; what was counted stays. No error if it was stopped before."""
        with arming_lock:
            engine = self._registry.engine
            engine.watch(*(one for one in engine.watches if one is not self._rule))

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def reaches(self, pattern: str) -> int:
        """Return how many calls arrived at the points that a name or glob matches."""
        return sum(self.counts(pattern).values())

    def counts(self, pattern: str = "*") -> Counter[str]:
        """Return how many calls arrived, by point; points that none arrived at are left out."""
        found: Counter[str] = Counter()
        match = matcher(pattern)
        for place in self._rule.places():
            if place.reaches and match(place.point.name):
                found[place.point.name] += place.reaches
        return found


class _Watching(ArmedRule):
    """What stands at the points: a rule whose reaches are counted for each placement apart."""

    __slots__ = ("_places", "_told")

    def __init__(self, registry: Registry, terms: CompiledRule, told: Told | None) -> None:
        super().__init__(terms, "test", (0, 0, 0), registry.engine)
        self.faults = ()  # where a placement has no clean end, nothing is left out
        self._told = told
        self._places: dict[tuple[object, ...], _Place] = {}

    def tally_at(self, point: Placed, kind: Kind) -> Tally:
        key = (point.name, kind, point.raises)
        return self._places.setdefault(key, _Place(point, kind, self._told))

    def places(self) -> list[_Place]:
        return list(self._places.values())


class _Place(Tally):
    """Counts the reaches of one kind of placement of one point; nothing is ever due."""

    def __init__(self, point: Placed, kind: Kind, told: Told | None) -> None:
        super().__init__(_EVERYWHERE.schedule)
        self.point = point
        self.due = NEVER
        self._kind: Kind = kind
        self._told = told
        if told is None:
            self._taken = self.ordinals
        else:
            self._taken, self.ordinals = counter(), self

    @property
    def reaches(self) -> int:
        return counted(self._taken)

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        """Take one ordinal; this is on the way of the program's own call, and raises nothing."""
        try:
            if self._told is not None:
                transparently(self._told, self.point, self._kind)
        except Exception:
            reporting.report_bug(f"watching {self.point.name!r}")
        return next(self._taken)
