"""Chance as a pure function: the same seed, purpose and ordinal give the same draw, for ever.

No generator is shared and nothing is consumed, so a draw depends neither on which thread came
first nor on what else was drawn.  Uses SHA-2, never ``hash()``, which differs between builds.
"""

from __future__ import annotations

import random
from hashlib import sha256

__all__ = ["Draws", "derive", "draw_seed"]


_system = random.SystemRandom()


def derive(seed: int, *parts: object) -> int:
    """Return a 63-bit seed made from ``seed`` and ``parts``, stable across processes."""
    text = "\x1f".join(map(str, (seed, *parts)))
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def draw_seed() -> int:
    """Return a fresh seed, short enough to be typed again; not affected by ``random.seed``."""
    return _system.getrandbits(32) or 1


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
