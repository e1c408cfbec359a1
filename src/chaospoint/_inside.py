"""Inside chaospoint's own code every point is transparent.

While the flag is set in a context, calls that reach a point pass through and are not counted: an
observer that logs through a decorated handler, or the admin endpoint, never meets chaos.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import TypeVar

__all__ = ["inside", "transparent", "transparently"]

_T = TypeVar("_T")

inside: ContextVar[bool] = ContextVar("chaospoint_inside", default=False)


class transparent:  # noqa: N801 - used as a function is
    """Make every point transparent in this context and in the tasks it starts."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = inside.set(True)

    def __exit__(self, *exc: object) -> None:
        inside.reset(self._token)


def transparently(call: Callable[..., _T], *args: object) -> _T:
    """Call ``call`` with every point transparent.

    It runs in a copy of the context, so no interruption can leave points transparent behind it;
    context variables that it sets are gone when it returns.
    """
    return copy_context().run(_call, call, args)


def _call(call: Callable[..., _T], args: tuple[object, ...]) -> _T:
    inside.set(True)
    return call(*args)
