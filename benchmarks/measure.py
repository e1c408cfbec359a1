"""Compare two things by running them alternately, in many short repeats.

The order is reversed in every other round, so that a disturbance of the machine affects both alike.
Beside ours and its base runs the *control*, a second copy of the base; its distance from the base
is the noise.  Like ours, it runs next to the base in every round.  All three are built several
times, because the place of a copy in memory changes its speed by about a per cent; one build gives
one *part* of the samples.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.loops import Loop

__all__ = ["Effort", "Part", "Trio", "alternate", "quiet", "sample"]

_REPEAT_NS = 400_000
_WARM_UP_PASSES = 64  # CPython specialises a call site after about fifty
_WARM_UP_NS = 30_000_000


@dataclass(frozen=True, slots=True)
class Effort:
    """How many times things are built and run."""

    quick: bool
    builds: int
    """How many times ours, base and control are built."""
    rounds: int
    """How many times each build is run."""

    def few(self, quick: int, full: int) -> int:
        """Return the number of repeats of something slow."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Part:
    """The samples of one build; equal positions in the three belong to the same round."""

    ours: tuple[float, ...]
    base: tuple[float, ...]
    control: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Trio:
    """Three loops that run alternately."""

    ours: Loop
    base: Loop
    control: Loop


def sample(build: Callable[[ExitStack], Trio], effort: Effort) -> tuple[Part, ...]:
    """Build and run as many times as ``effort`` says; the stack disarms what a build armed."""
    parts = []
    kept = []  # so that no build reuses the memory of an earlier one
    with quiet():
        for _ in range(effort.builds):
            with ExitStack() as stack:
                kept.append(build(stack))
                parts.append(alternate(kept[-1], effort.rounds))
    return tuple(parts)


def alternate(trio: Trio, rounds: int) -> Part:
    """Run the three alternately, and return nanoseconds per call."""
    loops = (trio.ours, trio.base, trio.control)
    runs = [(loop.run, passes, loop.calls * passes) for loop in loops for passes in [_fit(loop)]]
    taken: tuple[list[float], ...] = ([], [], [])
    there, back = (0, 1, 2), (2, 1, 0)
    for number in range(rounds):
        for place in back if number % 2 else there:
            run, passes, calls = runs[place]
            taken[place].append(run(passes) / calls)
    ours, base, control = map(tuple, taken)
    return Part(ours, base, control)


def _fit(loop: Loop) -> int:
    """Warm the loop up, and return the number of passes of one short repeat."""
    passes, done, spent = 1, 0, 0
    while True:
        taken = loop.run(passes)
        done, spent = done + passes, spent + taken
        if done >= _WARM_UP_PASSES or spent >= _WARM_UP_NS:
            return max(1, round(_REPEAT_NS * passes / max(taken, 1)))
        passes = min(2 * passes, _WARM_UP_PASSES)


@contextmanager
def quiet() -> Iterator[None]:
    """Turn the garbage collector off."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
