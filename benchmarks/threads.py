"""Measure the calls per second of eight threads at one armed point, against one thread.

The row fails unless every call is counted: after the last round, the reaches, the injections and
the exceptions that the callers caught must match the seeded schedule exactly.  Each thread runs
long enough for the interpreter to switch between them many times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count, takewhile
from threading import Barrier, Thread
from time import perf_counter_ns
from typing import Any

import chaospoint
from benchmarks.armed import RARELY
from benchmarks.budget import Budget
from benchmarks.budget import Kind as Of
from benchmarks.kinds import FUNCTION
from benchmarks.loops import Loop, loop
from benchmarks.measure import Effort, Part, quiet
from benchmarks.row import Row

# No public function returns all ordinals of a seed.
from chaospoint._kernel.chance import Schedule, decide

__all__ = ["check_counts", "rows"]

_THREADS = 8
_NS_EACH = 25_000_000  # five times the interpreter's switch interval

RARE = Budget(Of.RATE, 0.75, at_least=True)
OFTEN = Budget(Of.RATE, 0.65, at_least=True)
OFTEN_PROBABILITY = 0.3


def rows() -> Iterator[Row]:
    """Yield the rows."""
    group = f"{_THREADS} threads, calls a second against one thread"
    yield Row(group, "fires rarely", RARE, partial(_sample, probability=RARELY))
    yield Row(group, "probability 0.3", OFTEN, partial(_sample, probability=OFTEN_PROBABILITY))
    yield Row(
        group,
        "probability 0.3, max_active 4",
        Budget(Of.RATE),
        partial(_sample, probability=OFTEN_PROBABILITY, max_active=4),
    )


def _sample(effort: Effort, **keys: Any) -> Sequence[Part]:
    registry = chaospoint.Registry()
    point = registry.point("bench.point")
    it = FUNCTION.make(point)
    caught = count()
    loops = [
        loop("try: it()\nexcept TimeoutError: next(caught)", {"it": it, "caught": caught})
        for _ in range(_THREADS)
    ]
    ours: list[float] = []
    base: list[float] = []
    control: list[float] = []
    armed = chaospoint.armed(
        "bench.point", exception=TimeoutError, seed=7, registry=registry, **keys
    )
    with armed as handle, quiet():
        warm = 64
        passes = max(1, round(_NS_EACH * warm / loops[0].run(warm)))
        many = partial(_together, loops, passes)
        one = partial(_together, loops[:1], passes)
        turns = ((ours, many), (base, one), (control, one))
        for nth in range(effort.few(8, 30)):
            for kept, run in reversed(turns) if nth % 2 else turns:
                kept.append(run())
        seed = point.explain().rules[0].seed
    runs = warm + passes * sum((_THREADS * len(ours), len(base), len(control)))
    check_counts(
        runs * loops[0].calls,
        Schedule(seed, probability=keys["probability"]),
        (handle.reaches, handle.injections, handle.overflow, next(caught)),
    )
    return (Part(tuple(ours), tuple(base), tuple(control)),)


def check_counts(calls: int, schedule: Schedule, counts: tuple[int, int, int, int]) -> None:
    """Raise unless reaches, injections plus overflow, and caught exceptions are exactly right."""
    reaches, injections, overflow, caught = counts
    due = sum(1 for _ in takewhile(lambda ordinal: ordinal <= calls, decide(schedule)))
    if (reaches, injections + overflow, caught) != (calls, due, injections):
        raise RuntimeError(
            f"wrong counts: {calls} calls, {due} of them due, gave {reaches} reaches, "
            f"{injections} injections, {overflow} passed at max_active, {caught} caught"
        )


def _together(loops: Sequence[Loop], passes: int) -> float:
    """Run each loop in its own thread, all at once; return nanoseconds per call."""
    start = Barrier(len(loops))
    times: list[tuple[int, int]] = []

    def run(loop: Loop) -> None:
        start.wait()
        began = perf_counter_ns()
        loop.run(passes)
        times.append((began, perf_counter_ns()))

    threads = [Thread(target=run, args=[loop]) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(times) != len(loops):
        raise RuntimeError("a thread ended before its calls were made")
    wall = max(ended for _, ended in times) - min(began for began, _ in times)
    return wall / (passes * sum(loop.calls for loop in loops))
