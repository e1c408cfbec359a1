"""Inside chaospoint's own code every point is transparent.

While the flag is set in a context, calls that reach a point pass through and are not counted: an
observer that logs through a decorated handler, or the admin endpoint, never meets chaos.
"""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["inside", "transparent"]

inside: ContextVar[bool] = ContextVar("chaospoint_inside", default=False)


class transparent:  # noqa: N801 - used as a function is
    """Make every point transparent in this context and in the tasks it starts."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = inside.set(True)

    def __exit__(self, *exc: object) -> None:
        inside.reset(self._token)
