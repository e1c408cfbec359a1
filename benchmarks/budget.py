"""A budget says how far a figure may go, and of which kind the figure is; it is never made looser.

A limit in time is one of a machine on which a plain call takes what `pace` says, and is stretched
for one that is slower at the moment.

A figure is worked out round by round, from values that were measured next to each other, and its
median stands for it.  The same sum over control and base gives the noise: how far that median lies
from what equal things would give, and how far it could lie, going by how the builds differ.
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
    """What is worked out of ours and base, both being what one call, or one thing, takes."""

    RATIO = "ratio"  # ours / base
    RATE = "rate"  # base / ours: calls a second against calls a second
    EXTRA = "extra"  # ours - base
    VALUE = "value"  # ours alone


class Verdict(StrEnum):
    """What a budget says of a figure."""

    MET = "met"
    NOISE = "within the noise"
    MISSED = "missed"
    FAILED = "not measured"  # it could not be measured, or what was measured came out wrong
    REPORTED = "reported"  # no limit


@dataclass(frozen=True, slots=True)
class Budget:
    """The limit of a figure, in its own unit; None where the figure is only reported."""

    kind: Kind
    limit: float | None = None
    at_least: bool = False

    def stretched(self, times: float) -> Budget:
        """Return the same for a machine that is slower at the moment."""
        return self if self.limit is None else replace(self, limit=self.limit * times)


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, the same of control against base, and the noise that this shows."""

    value: Spread
    control: Spread
    noise: float


_SUMS: dict[Kind, tuple[Callable[[float, float], float], float]] = {
    Kind.RATIO: (truediv, 1.0),
    Kind.RATE: (lambda ours, base: base / ours, 1.0),
    Kind.EXTRA: (sub, 0.0),
    # For a value control and base are two halves of the same repeats, so that they can be compared.
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
    """Work out the figure and its noise."""
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
    """Return about two standard errors of a median, as the notches of a box plot show it.

    (McGill, Tukey and Larsen, Variations of Box Plots, 1978.)  Rounds of one build are alike in
    what the build is like, so it is builds that count, if there are several.
    """
    values = [median(part) for part in parts] if len(parts) > 1 else list(parts[0])
    found = spread(values)
    return 1.57 * (found.high - found.low) / sqrt(len(values))


def _flat(parts: Iterable[Iterable[float]]) -> Iterable[float]:
    return (value for part in parts for value in part)


_FORGIVEN = 0.05  # of the limit at the most: where more is noise, nothing is known


def verdict_on(budget: Budget, figure: Figure) -> Verdict:
    """Hold the figure against the budget."""
    if budget.limit is None:
        return Verdict.REPORTED
    over = figure.value.median - budget.limit
    if budget.at_least:
        over = -over
    if over <= 0:
        return Verdict.MET
    forgiven = min(figure.noise, _FORGIVEN * budget.limit)
    return Verdict.NOISE if over <= forgiven else Verdict.MISSED
