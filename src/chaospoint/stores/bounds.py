"""The limits of the texts in a store."""

from __future__ import annotations

from typing import Final

__all__ = ["MOST_TEXT", "kept"]


MOST_TEXT: Final = 400
"""The most characters a store keeps of a user's name or of a reason."""


def kept(text: str) -> str:
    """Return the text as a store can keep it: cut to `MOST_TEXT`, and valid UTF-8."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"
