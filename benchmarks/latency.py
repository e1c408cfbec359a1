"""Measure injected latency against a plain sleep of the same length.

The name of each row has the length.  The figure is the time that chaospoint adds to the sleep,
including the firing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from time import perf_counter_ns
from typing import Any

import chaospoint
from benchmarks.budget import Budget
from benchmarks.budget import Kind as Of
from benchmarks.kinds import COROUTINE, FUNCTION, Kind
from benchmarks.measure import Effort, Part
from benchmarks.row import Row

__all__ = ["GROUP", "rows"]

GROUP = "injected latency, against a plain sleep"
_MILLISECONDS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_FEWER = (1, 10, 100)


def rows() -> Iterator[Row]:
    """Yield the rows."""
    for way, sample in (("sync", _sync), ("async", _async)):
        for asked in _MILLISECONDS:
            yield Row(
                GROUP,
                f"{asked} ms, {way}",
                Budget(Of.EXTRA),
                partial(sample, asked / 1_000),
                at=float(asked),
                slow=asked not in _FEWER,
            )


def _rounds(seconds: float, effort: Effort) -> int:
    return min(20, max(4, round(effort.few(100, 300) / 1_000 / seconds)))


def _armed(kind: Kind, seconds: float, stack: ExitStack) -> Callable[[], Any]:
    registry = chaospoint.Registry()
    it: Callable[[], Any] = kind.make(registry.point("bench.point"))
    stack.enter_context(chaospoint.armed("bench.point", latency=seconds, registry=registry))
    return it


def _sync(seconds: float, effort: Effort) -> Sequence[Part]:
    with ExitStack() as stack:
        injected = _armed(FUNCTION, seconds, stack)
        sleep = partial(time.sleep, seconds)
        taken: tuple[list[int], ...] = ([], [], [])
        for run, kept in _turns((injected, sleep, sleep), taken, _rounds(seconds, effort)):
            began = perf_counter_ns()
            run()
            kept.append(perf_counter_ns() - began)
    return _part(taken)


def _async(seconds: float, effort: Effort) -> Sequence[Part]:
    async def measure(injected: Callable[[], Coroutine[Any, Any, object]]) -> Sequence[Part]:
        sleep = partial(asyncio.sleep, seconds)
        taken: tuple[list[int], ...] = ([], [], [])
        for run, kept in _turns((injected, sleep, sleep), taken, _rounds(seconds, effort)):
            began = perf_counter_ns()
            await run()
            kept.append(perf_counter_ns() - began)
        return _part(taken)

    with ExitStack() as stack:
        return asyncio.run(measure(_armed(COROUTINE, seconds, stack)))


def _turns(
    runs: Sequence[Callable[[], Any]], taken: Sequence[list[int]], rounds: int
) -> Iterator[tuple[Callable[[], Any], list[int]]]:
    pairs = list(zip(runs, taken, strict=True))
    for nth in range(rounds):
        yield from reversed(pairs) if nth % 2 else pairs


def _part(taken: Sequence[Sequence[int]]) -> Sequence[Part]:
    ours, base, control = map(tuple, taken)
    return (Part(ours, base, control),)
