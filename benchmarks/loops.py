"""A timed loop runs one statement a known number of times, and hardly anything else.

The statement stands a hundred times in the body, so that the loop itself is below one per cent of
the cheapest call there is and nothing has to be subtracted.  Each loop is compiled anew: CPython
keeps what it has learnt about a call in the code that makes it, and two loops must not share that.
An ``async`` loop is driven without an event loop, for what is measured never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from itertools import repeat
from textwrap import indent
from time import perf_counter_ns
from typing import Any

__all__ = ["UNROLLED", "Loop", "loop"]

UNROLLED = 100

_TEMPLATE = """
{head} _loop(_passes):
    _began = _clock()
    for _ in _repeat(None, _passes):
{body}
    return _clock() - _began
"""


@dataclass(frozen=True, slots=True)
class Loop:
    """A compiled loop: ``run`` takes the number of passes and returns nanoseconds."""

    run: Callable[[int], int]
    calls: int
    """How often one pass runs the statement."""


def loop(
    statement: str,
    names: Mapping[str, object],
    *,
    awaits: bool = False,
    unrolled: int = UNROLLED,
    clock: Callable[[], int] = perf_counter_ns,
) -> Loop:
    """Compile a loop around ``statement``, which finds ``names`` as a module's globals.

    ``awaits``: the statement uses ``await`` or ``async``.
    """
    body = indent("\n".join([statement] * unrolled), " " * 8)
    source = _TEMPLATE.format(head="async def" if awaits else "def", body=body)
    made: dict[str, Any] = {**names, "_clock": clock, "_repeat": repeat}
    exec(compile(source, "<timed loop>", "exec"), made)
    run: Callable[[int], Any] = made["_loop"]
    return Loop((lambda passes: _end(run(passes))) if awaits else run, unrolled)


def _end(coroutine: Coroutine[Any, Any, int]) -> int:
    try:
        coroutine.send(None)
    except StopIteration as end:
        taken: int = end.value
        return taken
    coroutine.close()
    raise RuntimeError("the measured statement waited for an event loop")
