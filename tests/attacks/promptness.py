"""How long an order to disable may take: one second, or more where the machine itself is slow."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import monotonic

PROMISED_SECONDS = 1.0
_TIMES_PLAIN = 20


def seconds(act: Callable[[], object]) -> float:
    """Return how long it takes."""
    began = monotonic()
    act()
    return monotonic() - began


def most_seconds(act: Callable[[], object]) -> float:
    """Return how long it may take under attack; call this before the attack."""
    plain = median(seconds(act) for _ in range(5))
    return max(PROMISED_SECONDS, _TIMES_PLAIN * plain)


def at_best(act: Callable[[], object], tries: int = 3) -> float:
    """Return how long it takes under an attack that lasts, without the hiccups of the machine."""
    return min(seconds(act) for _ in range(tries))
