"""A row of the table: what is measured, under which budget; and what came of it.

A row that cannot be measured says so and stops nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from benchmarks.budget import (
    Budget,
    Figure,
    Kind,
    Spread,
    Verdict,
    figure_of,
    spread,
    verdict_on,
)
from benchmarks.measure import Effort, Part
from benchmarks.pace import slowness

__all__ = ["TRIES", "Result", "Row", "Unit", "judge", "measured"]

TRIES = 3


class Unit(StrEnum):
    """What the samples of a row are counted in."""

    NANOSECONDS = "ns"
    BYTES = "B"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to measure, ``sample`` being how."""

    group: str
    name: str
    budget: Budget
    sample: Callable[[Effort], Sequence[Part]]
    unit: Unit = Unit.NANOSECONDS
    at: float | None = None
    """Where it stands on the axis of its chart, if that is a number."""
    slow: bool = False
    """Whether a quick run leaves it out."""

    @property
    def title(self) -> str:
        """The name that is unique in the table."""
        return f"{self.group}: {self.name}"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a row."""

    row: Row
    verdict: Verdict
    ours: Spread | None = None
    base: Spread | None = None
    figure: Figure | None = None
    tries: int = 1
    error: str = ""
    slowness: float = 1.0
    """By how much its limit is stretched, if that is one of time."""


def measured(row: Row, effort: Effort) -> Result:
    """Measure once."""
    try:
        before = slowness()
        parts = row.sample(effort)
        slow = (before + slowness()) / 2
        figure = figure_of(row.budget.kind, parts)
        ours = spread(value for part in parts for value in part.ours)
        base = spread(value for part in parts for value in part.base)
    except Exception as error:  # of a peer, of a count that is wrong, of what is not installed
        text = " ".join(str(error).split())
        return Result(row, Verdict.FAILED, error=f"{type(error).__name__}: {text}")
    in_time = row.unit is Unit.NANOSECONDS and row.budget.kind in (Kind.EXTRA, Kind.VALUE)
    stretched = slow if in_time and row.budget.limit is not None else 1.0
    verdict = verdict_on(row.budget.stretched(stretched), figure)
    return Result(row, verdict, ours, base, figure, slowness=stretched)


def judge(
    rows: Iterable[Row],
    effort: Effort,
    tries: int = 1,
    tell: Callable[[Row], None] = lambda _: None,
    rest: Callable[[], object] = lambda: None,
) -> list[Result]:
    """Measure each row; those that missed again, after all others, until ``tries`` are used up.

    So a miss is a miss each time, and what disturbed the machine for a minute is over by then:
    ``rest`` is called before each round of these.
    """
    results = []
    for row in rows:
        tell(row)
        results.append(measured(row, effort))
    for nth in range(2, tries + 1):
        if any(result.verdict is Verdict.MISSED for result in results):
            rest()
        for place, result in enumerate(results):
            if result.verdict is Verdict.MISSED:
                tell(result.row)
                results[place] = replace(measured(result.row, effort), tries=nth)
    return results
