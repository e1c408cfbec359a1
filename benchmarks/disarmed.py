"""Measure calls of disarmed functions, also after they were armed a thousand times."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import chaospoint
from benchmarks.budget import Budget
from benchmarks.budget import Kind as Of
from benchmarks.kinds import FUNCTION, KINDS, Kind, Place, bare, trio
from benchmarks.loops import Loop, loop
from benchmarks.measure import Effort, Part, Trio, sample
from benchmarks.row import Row

__all__ = ["rows"]

_CYCLES = 1_000

CALL = Budget(Of.RATIO, 1.03)
# From 3.13 on, a function whose __code__ was assigned no longer gets specialised call sites.
AFTER_CYCLES = Budget(Of.EXTRA, 12.0) if sys.version_info >= (3, 13) else CALL
BLOCK = Budget(Of.RATIO, 1.0)
STATEMENT = Budget(Of.RATIO, 1.1)


def placed() -> Place:
    """Return the decorator of a disarmed point in a registry of its own."""
    return chaospoint.Registry().point("bench.point")


def rows(place: Callable[[], Place] = placed) -> Iterator[Row]:
    """Yield the rows; ``place`` returns the decorator to measure."""
    yield Row("A/A", "call against call", Budget(Of.RATIO), _calls(FUNCTION, lambda: bare))
    for kind in KINDS:
        yield Row("disarmed", kind.name, CALL, _calls(kind, place))
    for kind in KINDS:
        name = f"{kind.name}, after {_CYCLES:,} cycles"
        build = trio(kind, partial(_cycled, kind))
        yield Row("disarmed", name, AFTER_CYCLES, partial(_fewer, build))
    yield Row("disarmed", "with point:", BLOCK, partial(sample, _block))
    yield Row(
        "disarmed", "a builtin, which is wrapped", Budget(Of.RATIO), partial(sample, _builtin)
    )
    for text in ("hit()", 'hit(tenant="a")'):
        yield Row("disarmed", f"point.{text}", STATEMENT, partial(sample, _statement(text)))


def _calls(kind: Kind, place: Callable[[], Place]) -> Any:
    return partial(sample, trio(kind, lambda _: kind.make(place())))


def _fewer(build: Callable[[ExitStack], Trio], effort: Effort) -> tuple[Part, ...]:
    # The thousand cycles take longer than the measurements after them.
    return sample(build, replace(effort, builds=effort.few(4, 12), rounds=effort.few(60, 150)))


def _cycled(kind: Kind, _: ExitStack) -> object:
    registry = chaospoint.Registry()
    it = kind.make(registry.point("bench.point"))
    for _cycle in range(_CYCLES):
        chaospoint.arm("bench.point", exception=TimeoutError, registry=registry).disarm()
    return it


def _block(_: ExitStack) -> Trio:
    def entering(block: object) -> Loop:
        return loop("with block: pass", {"block": block})

    point = chaospoint.Registry().point("bench.point")
    return Trio(entering(point), entering(nullcontext()), entering(nullcontext()))


def _builtin(_: ExitStack) -> Trio:
    def calling(function: object) -> Loop:
        return loop("function(())", {"function": function})

    wrapped = chaospoint.Registry().point("bench.point")(len)
    return Trio(calling(wrapped), calling(len), calling(len))


def _statement(text: str) -> Callable[[ExitStack], Trio]:
    def hitting(target: object) -> Loop:
        return loop(f"target.{text}", {"target": target})

    def build(_: ExitStack) -> Trio:
        point = chaospoint.Registry().point("bench.point")
        return Trio(hitting(point), hitting(_empty()), hitting(_empty()))

    return build


def _empty() -> object:
    class Empty:
        __slots__ = ()

        def hit(self, /, **labels: object) -> None:
            """Do nothing."""

    return Empty()
