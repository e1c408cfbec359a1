"""What is armed and does not fire costs a call and a bounded number of nanoseconds.

The rules fire one reach in 10,000, and what fires returns the very value that the call would, so
the loop needs no handler.  A firing takes some microseconds, less than a nanosecond a call, and
most repeats have none, so the median does not show it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from typing import Any

import chaospoint
from benchmarks.budget import Budget
from benchmarks.budget import Kind as Of
from benchmarks.kinds import ASYNC_GENERATOR, COROUTINE, FUNCTION, GENERATOR, Kind, trio
from benchmarks.measure import sample
from benchmarks.row import Row

__all__ = ["RARELY", "rows"]

RARELY = 0.0001
PASSES = Budget(Of.EXTRA, 150.0)
WHERE = Budget(Of.EXTRA, 600.0)
CONTEXT = Budget(Of.EXTRA, 150.0)

_TENANT = Kind("where", "@place\ndef it(tenant):\n    return 7\n", 'it("other")')


def rows() -> Iterator[Row]:
    """Yield the rows."""
    for kind in (FUNCTION, COROUTINE, GENERATOR, ASYNC_GENERATOR):
        build = trio(kind, partial(_rare, kind))
        yield Row("armed, does not fire", kind.name, PASSES, partial(sample, build))
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


def _rare(kind: Kind, stack: ExitStack) -> Any:
    returns = [7] if kind in (GENERATOR, ASYNC_GENERATOR) else 7
    return _armed(kind, stack, returns=returns, probability=RARELY, seed=7)


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


def _armed(kind: Kind, stack: ExitStack, **keys: Any) -> Any:
    registry = chaospoint.Registry()
    it = kind.make(registry.point("bench.point"))
    stack.enter_context(chaospoint.armed("bench.point", registry=registry, **keys))
    return it
