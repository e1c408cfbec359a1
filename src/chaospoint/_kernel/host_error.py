"""Distinguish exceptions that the program throws into chaospoint's code from bugs in that code."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

__all__ = ["is_of_host"]

_BARE = (StopIteration, StopAsyncIteration, MemoryError, AssertionError, RecursionError)
"""Exceptions that our own code, or the interpreter in it, raises without arguments."""


def is_of_host(error: BaseException, *, foreign: bool = False) -> bool:
    """Whether the program threw ``error`` into our code, as time limits do.

    Either a signal handler raised it, or another thread raised it with
    `PyThreadState_SetAsyncExc`, which creates the exception without arguments.  Code of the program
    that is written in C looks the same, because it leaves no frame.  So pass ``foreign`` if code of
    the program was just called; then only signal handlers count.
    """
    frames = list(_frames(error))
    if not frames:
        return False
    if not {frame.f_code for frame in frames}.isdisjoint(_signal_handlers()):
        return True
    if foreign:
        return False
    module = frames[-1].f_globals.get("__name__", "")
    ours = module == "chaospoint" or module.startswith("chaospoint.")
    return ours and not error.args and not isinstance(error, _BARE)


def _frames(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _signal_handlers() -> Iterator[CodeType]:
    """Yield the code of the current signal handlers."""
    import signal

    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        handler = getattr(handler, "func", handler)  # a partial
        handler = getattr(handler, "__func__", handler)  # a method
        if not hasattr(handler, "__code__"):
            handler = type(handler).__call__  # a callable object
        code = getattr(handler, "__code__", None)
        if isinstance(code, CodeType):
            yield code
