"""Record which points a program reaches in a run without faults."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chaospoint._kernel.names import matcher
from chaospoint._kernel.placement import STATEMENTS
from chaospoint.testing.exploring.cases import Reach
from chaospoint.testing.kit.watch import Watch

if TYPE_CHECKING:
    from chaospoint._kernel.placement import Kind, Placed
    from chaospoint._registry.registry import Registry

__all__ = ["Recording", "none_reached", "recording"]

_MIN_LIMIT = 5.0
_TIMES_LONGER = 20.0
_SHOWN = 5


class Recording:
    """The reaches and the successful ends of calls in one run, in order, and its length.

    ``seconds``: the real time that the run took.
    """

    def __init__(self) -> None:
        self.reaches: list[Reach] = []
        self.ends: list[Reach] = []
        self.seconds = 0.0

    @property
    def points(self) -> Counter[str]:
        """The number of reaches, by point."""
        return Counter(reach.point for reach in self.reaches)

    @property
    def limit(self) -> float:
        """The seconds after which a run with a fault counts as hung."""
        return max(_MIN_LIMIT, _TIMES_LONGER * self.seconds)


@contextmanager
def recording(registry: Registry) -> Iterator[Recording]:
    """Record the reaches and ends of calls within the block, in all threads."""
    recorded = Recording()
    reaches: list[tuple[Placed, Kind]] = []
    ends: list[tuple[Placed, Kind]] = []

    begin = time.perf_counter()
    with (
        Watch(registry, on_reach=lambda *reach: reaches.append(reach)),
        Watch(registry, after=True, on_reach=lambda *end: ends.append(end)),
    ):
        try:
            yield recorded
        finally:
            recorded.seconds = time.perf_counter() - begin
            # Only now: the exceptions of a block are known once all blocks of its point exist.
            recorded.reaches = [_reach(registry, *reach) for reach in reaches]
            recorded.ends = [_reach(registry, *end) for end in ends]


def _reach(registry: Registry, placed: Placed, kind: Kind) -> Reach:
    # The watch of a block gets the point and not the placement that declares the exceptions.
    point = registry.find(placed.name) if kind in STATEMENTS and not placed.raises else None
    return Reach(placed.name, placed.raises if point is None else point.core.raises)


def none_reached(registry: Registry, points: str, recorded: Recording) -> list[str]:
    """Return one sentence if no point was reached that ``points`` matches, with similar names."""
    match = matcher(points)
    if any(match(point) for point in recorded.points):
        return []
    message = f"no point that {points!r} matches was reached"
    if similar := registry.nearest(points):
        message += f"; the nearest: {', '.join(similar)}"
    if reached := sorted(recorded.points)[:_SHOWN]:
        message += f"; reached were {', '.join(reached)}"
    return [message]
