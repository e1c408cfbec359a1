"""Two things are compared by turns, in many short repeats, with the order swapped every round.

What disturbs the machine then disturbs both alike.  Beside ours and its base runs the *control*, a
second, separate copy of the base: how far it is from the base is the noise.  As ours does, it runs
next to the base in every round.  All three are built several times over, since where a copy lies
in memory is good for a per cent; one build is one *part* of the samples.
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
    """How much is measured."""

    quick: bool
    builds: int
    """How often ours, base and control are built anew."""
    rounds: int
    """How often each build is run."""

    def few(self, quick: int, full: int) -> int:
        """Return how often something is repeated that takes long."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of one build: in each place of the three, what was measured in the same round."""

    ours: tuple[float, ...]
    base: tuple[float, ...]
    control: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Trio:
    """What is run by turns."""

    ours: Loop
    base: Loop
    control: Loop


def sample(build: Callable[[ExitStack], Trio], effort: Effort) -> tuple[Part, ...]:
    """Build and run as often as ``effort`` says; the stack undoes what a build has armed."""
    parts = []
    kept = []  # or the next build would lie where this one lay
    with quiet():
        for _ in range(effort.builds):
            with ExitStack() as stack:
                kept.append(build(stack))
                parts.append(alternate(kept[-1], effort.rounds))
    return tuple(parts)


def alternate(trio: Trio, rounds: int) -> Part:
    """Run the three by turns, and return nanoseconds a call."""
    loops = (trio.ours, trio.base, trio.control)
    runs = [(one.run, passes, one.calls * passes) for one in loops for passes in [_fit(one)]]
    taken: tuple[list[float], ...] = ([], [], [])
    there, back = (0, 1, 2), (2, 1, 0)
    for nth in range(rounds):
        for place in back if nth % 2 else there:
            run, passes, calls = runs[place]
            taken[place].append(run(passes) / calls)
    ours, base, control = map(tuple, taken)
    return Part(ours, base, control)


def _fit(loop: Loop) -> int:
    """Warm the loop up, and return how many passes make a short repeat."""
    passes, done, spent = 1, 0, 0
    while True:
        taken = loop.run(passes)
        done, spent = done + passes, spent + taken
        if done >= _WARM_UP_PASSES or spent >= _WARM_UP_NS:
            return max(1, round(_REPEAT_NS * passes / max(taken, 1)))
        passes = min(2 * passes, _WARM_UP_PASSES)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the garbage collector out of what is measured."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
