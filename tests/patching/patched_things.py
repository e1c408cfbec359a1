"""Decorated things in a module, which other processes can import, pickle and call."""

from __future__ import annotations

import enum
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import chaospoint
from chaospoint import Registry

HERE = Registry()
"""The points of this module; in another process another one, on which nothing is armed."""

THERE = HERE.point("p")


@THERE
def double(number: int) -> int:
    """Say twice as much."""
    return 2 * number


@THERE
async def adouble(number: int) -> int:
    return 2 * number


@THERE
def items(number: int) -> Iterator[int]:
    yield from (number, 2 * number)


@THERE
async def aitems(number: int) -> AsyncIterator[int]:
    yield number
    yield 2 * number


@dataclass
class Basket:
    number: int

    @THERE
    def double(self) -> int:
        return 2 * self.number

    @classmethod
    @THERE
    def of(cls, number: int) -> Basket:
        return cls(number)

    @THERE
    @staticmethod
    def half(number: int) -> int:
        return number // 2


class Counted:
    """Knows by itself how it is pickled, in decorated methods."""

    def __init__(self) -> None:
        self.number = 1

    @THERE
    def __getstate__(self) -> dict[str, int]:
        return {"number": self.number + 1}

    @THERE
    def __setstate__(self, state: dict[str, int]) -> None:
        self.number = state["number"] * 10


class Coin(enum.Enum):
    HEADS = 1

    @THERE
    def shown(self) -> str:
        return self.name.lower()


@THERE
def where(number: int) -> tuple[int, int, bool, int]:
    """Say which process this is, and what of chaospoint is armed in it."""
    point = HERE.point("p")
    return 2 * number, os.getpid(), point.armed, len(HERE.rules())


def count_while_armed(number: int) -> tuple[int, int]:
    """Arm in whatever process this is, call, and tell the result and the reaches."""
    with chaospoint.armed("p", registry=HERE, latency=0) as armed:
        return double(number), armed.injections
