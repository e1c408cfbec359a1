"""Random numbers as a pure function: the same seed, purpose and ordinal always give the same one.

No random generator is shared, so a draw does not depend on the order of threads or on other draws.
It uses SHA-2 and not ``hash()``, which differs between builds of Python.

A rule does not draw a number at each reach.  Its *schedule* (seed, skip, every, probability and
times) determines the increasing sequence of ordinals that fire, without a clock, lock, global or
I/O.  So ``times`` is exact, a run can be repeated, and a reach compares only two integers: its own
ordinal and the next one that fires.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice, takewhile
from math import log, log1p
from random import Random, SystemRandom

__all__ = ["NEVER", "Draws", "RecordingDraws", "Schedule", "decide", "derive", "draw_seed"]


def derive(seed: int, *parts: object) -> int:
    """Return a 63-bit seed made from ``seed`` and ``parts``, stable across processes."""
    text = "\x1f".join(map(str, (seed, *parts)))
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def draw_seed() -> int:
    """Return a new seed that is short enough to type; ``random.seed`` does not affect it."""
    return SystemRandom().getrandbits(32) or 1


class Draws:
    """The draws of one firing."""

    __slots__ = ("_ordinal", "_seed")

    def __init__(self, seed: int, ordinal: int) -> None:
        self._seed = seed
        self._ordinal = ordinal

    def uniform(self, purpose: str) -> float:
        """Return a number in [0, 1) for this purpose: ``outcome``, ``jitter`` or ``choice``."""
        # 53 bits, like random.random().
        return (derive(self._seed, purpose, self._ordinal) >> 10) * 2.0**-53


NEVER = 2**62
"""An ordinal that no process reaches."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a rule fires.

    The first ``skip`` reaches do not fire. Of the rest, every ``every``-th is a candidate. A
    candidate fires with ``probability``, until ``times`` reaches have fired.
    """

    seed: int
    skip: int = 0
    every: int = 1
    probability: float = 1.0
    times: int | None = None


def decide(schedule: Schedule) -> Iterator[int]:
    """Return the ordinals that fire, in increasing order; the first reach has ordinal 1."""
    every, skip = schedule.every, schedule.skip
    if schedule.probability >= 1.0:
        return islice(range(skip + every, NEVER, every), schedule.times)
    ordinals = (skip + every * nth for nth in _candidates(schedule))
    return islice(takewhile(NEVER.__gt__, ordinals), schedule.times)


def _candidates(schedule: Schedule) -> Iterator[int]:
    """Yield the numbers of the candidates that fire; the first candidate has number 1.

    The gaps between the successes of independent trials have a geometric distribution, so one draw
    gives the next success, however rare it is (inversion; Devroye, Non-Uniform Random Variate
    Generation, X.2).
    """
    p = schedule.probability
    if p <= 0.0:
        return
    scale = log1p(-p)
    draw = Random(f"{schedule.seed}/fire").random
    nth = 0
    while nth < NEVER:
        # 1 - draw() is in (0, 1]; min() keeps an infinite quotient from int().
        nth += 1 + int(min(log(1.0 - draw()) / scale, NEVER))
        yield nth


class RecordingDraws(Draws):
    """Draws that record in ``drawn`` whether any number was drawn."""

    __slots__ = ("drawn",)

    def __init__(self, seed: int, ordinal: int) -> None:
        super().__init__(seed, ordinal)
        self.drawn = False

    def uniform(self, purpose: str) -> float:
        self.drawn = True
        return super().uniform(purpose)
