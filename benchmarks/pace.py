"""Measure how slow the machine is at the moment, by the time of a plain call.

Shared machines run at half their speed for minutes.  Limits in time are multiplied by the slowness,
which is measured right before and after each row.
"""

from __future__ import annotations

from statistics import median
from timeit import Timer

__all__ = ["REFERENCE_NS", "slowness"]

REFERENCE_NS = 13.5
"""The nanoseconds of a plain call on the machine for which the budgets were set."""

_CALLS = 100
_REPEATS = 15


def slowness() -> float:
    """Return the time of a plain call divided by `REFERENCE_NS`, and at least 1."""
    timer = Timer("f()\n" * _CALLS, "def f(): return 7")
    timer.timeit(64)  # CPython specialises a call site after about fifty
    taken = median(timer.repeat(_REPEATS, _CALLS)) / _CALLS**2 * 1e9
    return max(1.0, taken / REFERENCE_NS)
