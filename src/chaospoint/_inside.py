"""Inside chaospoint's own code every point is transparent.

While the flag is set in a context, calls that reach a point pass through and are not counted: an
observer that logs through a decorated handler, or the admin endpoint, never meets chaos.
"""

from __future__ import annotations

from _io import _IOBase
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TypeVar

__all__ = ["inside", "transparent", "transparently"]

_T = TypeVar("_T")

inside: ContextVar[bool] = ContextVar("chaospoint_inside", default=False)

_set = partial(inside.set, True)
_call_all = deque[object](maxlen=0).extend  # calls what a map holds, in C, and returns None


class transparent(_IOBase):  # noqa: N801 - used as a function is
    """Make every point transparent in this context and in the tasks it starts.

    A signal handler that raises cannot leave the flag set.  It is set by an iteration, where the
    interpreter does not look for signals, and taken back by C code: ``__exit__`` of the base class
    calls ``close``.
    """

    closed = True  # for the base class, which would close it once more in the end

    def __enter__(self) -> None:  # type: ignore[override]
        self.close = partial(_call_all, map(inside.set, (inside.get(),)))  # type: ignore[method-assign]
        for _ in iter(_set, None):
            return


def transparently(call: Callable[..., _T], *args: object) -> _T:
    """Call ``call`` with every point transparent.

    It runs in a copy of the context, so no interruption can leave points transparent behind it;
    context variables that it sets are gone when it returns.
    """
    return copy_context().run(_call, call, args)


def _call(call: Callable[..., _T], args: tuple[object, ...]) -> _T:
    inside.set(True)
    return call(*args)
