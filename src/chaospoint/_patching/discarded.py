"""A wrapper that was thrown away, so that nothing acts there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaospoint._kernel.point import Point

__all__ = ["discarded"]


def discarded(point: Point) -> str:
    """Say that the wrapper made for a point was thrown away, and what to do."""
    return (
        f"{point.core.discarded} was decorated with {point.name!r}, and the wrapper that this "
        "returned was thrown away, so nothing acts there: use it in place of what it wraps, as in "
        f"`module.name = chaospoint.point({point.name!r})(module.name)`, or name the function "
        "under `placements` in a plan file"
    )
