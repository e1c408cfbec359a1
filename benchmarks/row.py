"""The rows of the table: what to measure, the budget, and the result.

A row that cannot be measured is reported, and the others go on.
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
    """The unit of a row's samples."""

    NANOSECONDS = "ns"
    BYTES = "B"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to measure; ``sample`` measures it."""

    group: str
    name: str
    budget: Budget
    sample: Callable[[Effort], Sequence[Part]]
    unit: Unit = Unit.NANOSECONDS
    at: float | None = None
    """The position on the axis of its chart, if the chart has a numeric axis."""
    slow: bool = False
    """Whether a quick run leaves it out."""

    @property
    def title(self) -> str:
        """The unique name in the table."""
        return f"{self.group}: {self.name}"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a row."""

    row: Row
    verdict: Verdict
    ours: Spread | None = None
    base: Spread | None = None
    figure: Figure | None = None
    tries: int = 1
    error: str = ""
    slowness: float = 1.0
    """The factor by which its limit is multiplied, if it is a limit in time."""


def measured(row: Row, effort: Effort) -> Result:
    """Measure once."""
    try:
        before = slowness()
        parts = row.sample(effort)
        slow = (before + slowness()) / 2
        figure = figure_of(row.budget.kind, parts)
        ours = spread(value for part in parts for value in part.ours)
        base = spread(value for part in parts for value in part.base)
    except Exception as error:  # a peer failed, a count is wrong, or a package is missing
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
    show: Callable[[Row], None] = lambda _: None,
    rest: Callable[[], object] = lambda: None,
) -> list[Result]:
    """Measure each row; measure rows that missed again after all others, up to ``tries`` times.

    A row has to miss every time, so that a disturbance of a minute does not count.
    ``show`` is called with each row before it is measured, ``rest`` before each repeated round.
    """
    results = []
    for row in rows:
        show(row)
        results.append(measured(row, effort))
    for nth in range(2, tries + 1):
        if any(result.verdict is Verdict.MISSED for result in results):
            rest()
        for place, result in enumerate(results):
            if result.verdict is Verdict.MISSED:
                show(result.row)
                results[place] = replace(measured(result.row, effort), tries=nth)
    return results
