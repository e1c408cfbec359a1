"""Measure calls of an armed function at which no rule fires.

The rules fire at one reach in 10,000, and the injected value equals the value of the call, so the
loop needs no exception handler.  A firing takes some microseconds, which is less than a nanosecond
per call; most repeats have no firing, so the median does not show it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from contextvars import copy_context
from functools import partial
from typing import Any

import chaospoint
from benchmarks.budget import Budget
from benchmarks.budget import Kind as Of
from benchmarks.kinds import ASYNC_GENERATOR, COROUTINE, FUNCTION, GENERATOR, Kind, trio
from benchmarks.loops import Loop, loop
from benchmarks.measure import Trio, sample
from benchmarks.row import Row

__all__ = ["RARELY", "rows"]

RARELY = 0.0001
PASSES = Budget(Of.EXTRA, 150.0)
WHERE = Budget(Of.EXTRA, 600.0)
CONTEXT = Budget(Of.EXTRA, 150.0)

REPORTED = Budget(Of.EXTRA)

_KEYWORDS = Kind("keywords", "@place\ndef it(**rest):\n    return 7\n", "it(k=1)")
_TENANT = Kind("where", "@place\ndef it(tenant):\n    return 7\n", 'it("other")')


def rows() -> Iterator[Row]:
    """Yield the rows."""
    for kind in (FUNCTION, COROUTINE, GENERATOR, ASYNC_GENERATOR):
        build = trio(kind, partial(_rare, kind))
        yield Row("armed, does not fire", kind.name, PASSES, partial(sample, build))
    others: tuple[tuple[str, Kind, dict[str, Any]], ...] = (
        ("function with **kwargs", _KEYWORDS, {}),
        ("function, two rules", FUNCTION, {"copies": 2}),
        ("function, after the call", FUNCTION, {"when": "after"}),
    )
    for name, kind, keys in others:
        build = trio(kind, partial(_rare, kind, **keys))
        yield Row("armed, does not fire", name, REPORTED, partial(sample, build))
    for name in ("with point:", "point.hit()"):
        yield Row("armed, does not fire", name, REPORTED, partial(sample, partial(_used, name)))
    yield Row(
        "armed, does not fire",
        "where that does not match",
        WHERE,
        partial(sample, trio(_TENANT, _elsewhere)),
    )
    yield Row(
        "armed, does not fire",
        "armed in another context",
        CONTEXT,
        partial(sample, trio(FUNCTION, _other_context)),
    )


def _rare(kind: Kind, stack: ExitStack, **keys: Any) -> Any:
    returns = [7] if kind in (GENERATOR, ASYNC_GENERATOR) else 7
    return _armed(kind, stack, returns=returns, probability=RARELY, seed=7, **keys)


def _used(statement: str, stack: ExitStack) -> Trio:
    class Empty(nullcontext[None]):
        def hit(self, /, **labels: object) -> None:
            """Do nothing."""

    def using(point: object) -> Loop:
        return loop(statement + " pass" * statement.endswith(":"), {"point": point})

    registry = chaospoint.Registry()
    point = registry.point("bench.point")
    stack.enter_context(
        chaospoint.armed("bench.point", registry=registry, latency=0, probability=RARELY, seed=7)
    )
    base, control = (nullcontext(), nullcontext()) if "with" in statement else (Empty(), Empty())
    return Trio(using(point), using(base), using(control))


def _elsewhere(stack: ExitStack) -> Any:
    return _armed(_TENANT, stack, exception=TimeoutError, where={"tenant": "acme"})


def _other_context(stack: ExitStack) -> Any:
    registry = chaospoint.Registry()
    it = FUNCTION.make(registry.point("bench.point"))
    arm = partial(
        chaospoint.arm,
        "bench.point",
        exception=TimeoutError,
        scope="context",
        registry=registry,
    )
    other = copy_context()
    handle = other.run(arm)
    stack.callback(handle.disarm)
    try:
        other.run(it)
    except TimeoutError:
        return it
    raise RuntimeError("the rule does not act in its own context")


def _armed(kind: Kind, stack: ExitStack, copies: int = 1, **keys: Any) -> Any:
    registry = chaospoint.Registry()
    it = kind.make(registry.point("bench.point"))
    for _ in range(copies):
        stack.enter_context(chaospoint.armed("bench.point", registry=registry, **keys))
    return it
