"""How slow the machine is at the moment: what a plain call takes, against where budgets were set.

Machines that are shared run at half their speed for minutes. A limit in time that was set at one
speed says nothing at another, so it is stretched by this, measured right before and after the row.
"""

from __future__ import annotations

from statistics import median
from timeit import Timer

__all__ = ["REFERENCE_NS", "slowness"]

REFERENCE_NS = 13.5
"""What a plain call takes where the budgets were set."""

_CALLS = 100
_REPEATS = 15


def slowness() -> float:
    """Return how many times as long a plain call takes here and now, 1 at the least."""
    timer = Timer("f()\n" * _CALLS, "def f(): return 7")
    timer.timeit(64)  # CPython specialises a call site after about fifty
    taken = median(timer.repeat(_REPEATS, _CALLS)) / _CALLS**2 * 1e9
    return max(1.0, taken / REFERENCE_NS)
