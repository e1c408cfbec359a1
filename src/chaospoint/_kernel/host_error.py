"""Tell an exception that the host threw into our code from one that a bug in it raised."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

__all__ = ["is_of_host"]

_BARE = (StopIteration, StopAsyncIteration, MemoryError, AssertionError, RecursionError)
"""What our own code, or the interpreter on its behalf, raises without arguments."""


def is_of_host(error: BaseException, *, foreign: bool = False) -> bool:
    """Whether the host threw ``error`` into our code, as time limits are.

    Either one of its signal handlers raised it, or it was raised from another thread by
    `PyThreadState_SetAsyncExc`, which makes the exception without arguments.  So does foreign code
    in C, which leaves no frame: where such code was just called, say ``foreign``, and only signal
    handlers count.
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
    """Yield the code of the functions that handle signals now."""
    import signal

    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        handler = getattr(handler, "func", handler)  # of a partial
        handler = getattr(handler, "__func__", handler)  # of a method
        if not hasattr(handler, "__code__"):
            handler = type(handler).__call__  # of an object that is called
        code = getattr(handler, "__code__", None)
        if isinstance(code, CodeType):
            yield code
