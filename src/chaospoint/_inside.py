"""Inside chaospoint's own code every point is transparent.

While the flag is set in a context, calls that reach a point pass through and are not counted: an
observer that logs through a decorated handler, or the admin endpoint, never meets chaos.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["inside", "transparent"]

inside: ContextVar[bool] = ContextVar("chaospoint_inside", default=False)


@contextmanager
def transparent() -> Iterator[None]:
    """Make every point transparent in this context and in the tasks it starts."""
    token = inside.set(True)
    try:
        yield
    finally:
        inside.reset(token)
