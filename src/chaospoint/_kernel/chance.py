"""Chance as a pure function: the same seed, purpose and ordinal give the same draw, for ever.

No generator is shared and nothing is consumed, so a draw depends neither on which thread came
first nor on what else was drawn.  Uses SHA-2, never ``hash()``, which differs between builds.

When a rule fires is decided without clock, lock, global or I/O.  A trigger is not a dice thrown at
each reach but a *schedule*: seed, skip, every, probability and times are a pure function to the
rising list of ordinals that fire.  So ``times`` is exact by construction, reproducing a run is
free, and the test on the hot path is one comparison of integers: is my ordinal below the next one
that fires?
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
    """Return a fresh seed, short enough to be typed again; not affected by ``random.seed``."""
    return SystemRandom().getrandbits(32) or 1


class Draws:
    """The draws of one firing, one stream per purpose."""

    __slots__ = ("_ordinal", "_seed")

    def __init__(self, seed: int, ordinal: int) -> None:
        self._seed = seed
        self._ordinal = ordinal

    def uniform(self, purpose: str) -> float:
        """Return a number in [0, 1) for this purpose: ``outcome``, ``jitter`` or ``choice``."""
        # 53 bits, as random.random() has.
        return (derive(self._seed, purpose, self._ordinal) >> 10) * 2.0**-53


NEVER = 2**62
"""An ordinal that no process lives to see."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The trigger of a rule.

    Of the reaches that match, the first ``skip`` pass; of the rest every ``every``-th is a
    candidate; a candidate fires with ``probability``; at most ``times`` fire.
    """

    seed: int
    skip: int = 0
    every: int = 1
    probability: float = 1.0
    times: int | None = None


def decide(schedule: Schedule) -> Iterator[int]:
    """Return the ordinals, from 1, at which ``schedule`` fires, in rising order."""
    every, skip = schedule.every, schedule.skip
    if schedule.probability >= 1.0:
        return islice(range(skip + every, NEVER, every), schedule.times)
    ordinals = (skip + every * nth for nth in _candidates(schedule))
    return islice(takewhile(NEVER.__gt__, ordinals), schedule.times)


def _candidates(schedule: Schedule) -> Iterator[int]:
    """Yield which candidates fire: 1 is the first.

    The gaps between successes of independent trials are geometric, so one draw gives the next
    success, however rare (inversion; Devroye, Non-Uniform Random Variate Generation, X.2).
    """
    p = schedule.probability
    if p <= 0.0:
        return
    scale = log1p(-p)
    draw = Random(f"{schedule.seed}/fire").random
    nth = 0
    while nth < NEVER:
        # 1 - draw() lies in (0, 1]; the bound keeps an infinite quotient out of int().
        nth += 1 + int(min(log(1.0 - draw()) / scale, NEVER))
        yield nth


class RecordingDraws(Draws):
    """Draws that remember whether anything was drawn."""

    __slots__ = ("drawn",)

    def __init__(self, seed: int, ordinal: int) -> None:
        super().__init__(seed, ordinal)
        self.drawn = False

    def uniform(self, purpose: str) -> float:
        self.drawn = True
        return super().uniform(purpose)
