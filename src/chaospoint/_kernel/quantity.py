"""Numbers with nouns, for messages."""

from __future__ import annotations

__all__ = ["quantity"]


def quantity(count: int, noun: str, plural: str = "") -> str:
    """Return ``1 call`` or ``2 calls``; ``plural``: the plural, if it is not formed with *s*."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
