"""A number with its noun, as messages say it."""

from __future__ import annotations

__all__ = ["quantity"]


def quantity(count: int, one: str, many: str = "") -> str:
    """Return ``1 call`` or ``2 calls``; ``many``: the plural, if it takes more than an *s*."""
    return f"{count} {one if count == 1 else many or one + 's'}"
