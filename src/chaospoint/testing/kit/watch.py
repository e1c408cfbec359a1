"""Count every call that reaches a point, whether or not a rule is armed there.

A watch is a rule that precedes all others at every point, matches every call and never fires, so
other rules behave as without it. It also covers points that are created later. While a watch runs,
every decorated function runs its trampoline; use it in tests only.
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

OnReach = Callable[["Placed", "Kind"], None]


class Watch:
    """Counts the calls at all points of ``registry`` between `start` and `stop`.

    ``after``: count successful ends of calls instead of beginnings; statements have no end.
    ``on_reach`` is called for each, on the calling thread, with the point (with the declared
    exceptions, for a decorated function) and the kind of the placement; points do not act within
    it. Safe from any thread.
    """

    def __init__(
        self, registry: Registry, *, after: bool = False, on_reach: OnReach | None = None
    ) -> None:
        self._registry = registry
        self._rule = _Watching(registry, _EVERYWHERE._replace(after=after), on_reach)

    def start(self) -> None:
        """Start counting at all points, including those created later."""
        with arming_lock:
            engine = self._registry.engine
            engine.watch(*engine.watches, self._rule)

    def stop(self) -> None:
        """Stop counting and keep the counts; stopping twice is allowed."""
        with arming_lock:
            engine = self._registry.engine
            engine.watch(*(rule for rule in engine.watches if rule is not self._rule))

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def reaches(self, pattern: str) -> int:
        """Return the number of calls at the points that a name or glob matches."""
        return sum(self.counts(pattern).values())

    def counts(self, pattern: str = "*") -> Counter[str]:
        """Return the number of calls by point; points without calls are absent."""
        counts: Counter[str] = Counter()
        match = matcher(pattern)
        for place in self._rule.places():
            if place.reaches and match(place.point.name):
                counts[place.point.name] += place.reaches
        return counts


class _Watching(ArmedRule):
    """The rule at the points; it counts reaches separately for each placement."""

    __slots__ = ("_on_reach", "_places")

    def __init__(self, registry: Registry, terms: CompiledRule, on_reach: OnReach | None) -> None:
        super().__init__(terms, "test", (0, 0, 0), registry.engine)
        self.faults = ()  # so that no placement counts as unable to express it
        self._on_reach = on_reach
        self._places: dict[tuple[object, ...], _Place] = {}

    def tally_at(self, point: Placed, kind: Kind) -> Tally:
        key = (point.name, kind, point.raises)
        return self._places.setdefault(key, _Place(point, kind, self._on_reach))

    def places(self) -> list[_Place]:
        return list(self._places.values())


class _Place(Tally):
    """Counts the reaches of one kind of placement of one point; nothing is ever due."""

    def __init__(self, point: Placed, kind: Kind, on_reach: OnReach | None) -> None:
        super().__init__(_EVERYWHERE.schedule)
        self.point = point
        self.due = NEVER
        self._kind: Kind = kind
        self._on_reach = on_reach
        if on_reach is None:
            self._taken = self.ordinals
        else:
            self._taken, self.ordinals = counter(), self

    @property
    def reaches(self) -> int:
        return counted(self._taken)

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        """Take one ordinal. This runs within the program's own call, so it must not raise."""
        try:
            if self._on_reach is not None:
                transparently(self._on_reach, self.point, self._kind)
        except Exception:
            reporting.report_bug(f"watching {self.point.name!r}")
        return next(self._taken)
