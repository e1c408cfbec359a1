"""How much text a store keeps."""

from __future__ import annotations

from typing import Final

__all__ = ["MOST_TEXT", "kept"]


MOST_TEXT: Final = 400
"""How many characters a store keeps of who did something, and why."""


def kept(text: str) -> str:
    """Return the text as an order to disable is written with: never too long to be kept, and
    without what no file can hold."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"
