"""The warning for a wrapper that the program did not keep, and that therefore never acts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaospoint._kernel.point import Point

__all__ = ["discarded"]


def discarded(point: Point) -> str:
    """Return the text of the warning for a point."""
    return (
        f"{point.core.discarded} was decorated with {point.name!r}, and the wrapper that this "
        "returned was thrown away, so no rule acts there: use it in place of the original, as in "
        f"`module.name = chaospoint.point({point.name!r})(module.name)`, or name the function "
        "under `placements` in a plan file"
    )
