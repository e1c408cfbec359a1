"""Budgets: the limit of each figure.  A budget is never relaxed.

A limit in time assumes a machine on which a plain call takes `pace.REFERENCE_NS`; it grows in
proportion on a machine that is slower at the moment.

A figure is computed in each round, from values that were measured next to each other; the median
of the rounds is reported.  The same computation over control and base gives the noise: the distance
of that median from the value of equal things, plus the uncertainty that differences between builds
cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import sqrt
from operator import sub, truediv
from statistics import median, quantiles

from benchmarks.measure import Part

__all__ = ["Budget", "Figure", "Kind", "Spread", "Verdict", "figure_of", "spread", "verdict_on"]


class Kind(StrEnum):
    """How a figure is computed from ours and base, the costs of one call or of one object."""

    RATIO = "ratio"  # ours / base
    RATE = "rate"  # base / ours: calls a second against calls a second
    EXTRA = "extra"  # ours - base
    VALUE = "value"  # ours alone


class Verdict(StrEnum):
    """The result of checking a figure against its budget."""

    MET = "met"
    NOISE = "within the noise"
    MISSED = "missed"
    FAILED = "not measured"  # it could not be measured, or the measured code gave a wrong result
    REPORTED = "reported"  # no limit


@dataclass(frozen=True, slots=True)
class Budget:
    """The limit of a figure, in its unit; None if the figure is only reported."""

    kind: Kind
    limit: float | None = None
    at_least: bool = False

    def stretched(self, times: float) -> Budget:
        """Return the budget for a machine that is slower by the factor ``times``."""
        return self if self.limit is None else replace(self, limit=self.limit * times)


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, the same figure of control against base, and the noise that follows from it."""

    value: Spread
    control: Spread
    noise: float


_SUMS: dict[Kind, tuple[Callable[[float, float], float], float]] = {
    Kind.RATIO: (truediv, 1.0),
    Kind.RATE: (lambda ours, base: base / ours, 1.0),
    Kind.EXTRA: (sub, 0.0),
    # Control and base of a value are two halves of the same repeats, so that they are comparable.
    Kind.VALUE: (sub, 0.0),
}


def spread(values: Iterable[float]) -> Spread:
    """Return the median and the quartiles."""
    values = tuple(values)
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(median(values), low, high)


def figure_of(kind: Kind, parts: Sequence[Part]) -> Figure:
    """Compute the figure and its noise."""
    work_out, equal = _SUMS[kind]
    controls = [tuple(map(work_out, part.control, part.base)) for part in parts]
    if kind is Kind.VALUE:
        values = [part.ours for part in parts]
    else:
        values = [tuple(map(work_out, part.ours, part.base)) for part in parts]
    control = spread(_flat(controls))
    noise = abs(control.median - equal) + _uncertainty(controls)
    return Figure(spread(_flat(values)), control, noise)


def _uncertainty(parts: Sequence[Sequence[float]]) -> float:
    """Return about two standard errors of a median, like the notches of a box plot.

    (McGill, Tukey and Larsen, Variations of Box Plots, 1978.)  Rounds of one build share the
    properties of that build, so builds are counted instead of rounds if there are several.
    """
    values = [median(part) for part in parts] if len(parts) > 1 else list(parts[0])
    quartiles = spread(values)
    return 1.57 * (quartiles.high - quartiles.low) / sqrt(len(values))


def _flat(parts: Iterable[Iterable[float]]) -> Iterable[float]:
    return (value for part in parts for value in part)


_FORGIVEN = 0.05  # the largest share of the limit that noise can excuse


def verdict_on(budget: Budget, figure: Figure) -> Verdict:
    """Check the figure against the budget."""
    if budget.limit is None:
        return Verdict.REPORTED
    over = figure.value.median - budget.limit
    if budget.at_least:
        over = -over
    if over <= 0:
        return Verdict.MET
    forgiven = min(figure.noise, _FORGIVEN * budget.limit)
    return Verdict.NOISE if over <= forgiven else Verdict.MISSED
