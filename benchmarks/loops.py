"""Compile a timed loop, which runs one statement a known number of times.

The body repeats the statement a hundred times, so that the loop itself takes less than one per cent
of the cheapest call and nothing has to be subtracted.  Each loop is compiled anew, because CPython
keeps its specialisation of a call in the calling code, and two loops must not share it.  An
``async`` loop runs without an event loop, because the measured statements never wait.
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
    """How many times one pass runs the statement."""


def loop(
    statement: str,
    names: Mapping[str, object],
    *,
    awaits: bool = False,
    unrolled: int = UNROLLED,
    clock: Callable[[], int] = perf_counter_ns,
) -> Loop:
    """Compile a loop around ``statement``, with ``names`` as its globals.

    ``awaits``: the statement uses ``await`` or ``async``.
    """
    body = indent("\n".join([statement] * unrolled), " " * 8)
    source = _TEMPLATE.format(head="async def" if awaits else "def", body=body)
    namespace: dict[str, Any] = {**names, "_clock": clock, "_repeat": repeat}
    exec(compile(source, "<timed loop>", "exec"), namespace)
    run: Callable[[int], Any] = namespace["_loop"]
    return Loop((lambda passes: _end(run(passes))) if awaits else run, unrolled)


def _end(coroutine: Coroutine[Any, Any, int]) -> int:
    try:
        coroutine.send(None)
    except StopIteration as end:
        taken: int = end.value
        return taken
    coroutine.close()
    raise RuntimeError("the measured statement waited for an event loop")
