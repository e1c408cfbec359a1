"""Where the desired state is kept, and how a change of it is known to be in force everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from chaospoint.errors import StoreError

if TYPE_CHECKING:
    from chaospoint.stores.store import Store

__all__ = ["directory_of", "open_store"]


def directory_of(url: str) -> str:
    """Return the path that ``file:///absolute/path`` names; raises `StoreError` for others."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.startswith("/"):
        raise StoreError(f"{url!r} is no store: write file:///absolute/path/of/a/directory")
    return path


def open_store(url: str) -> Store:
    """Return the store at ``url``: ``file:///absolute/path``; raises `StoreError` for others.

    Nothing is read or made yet.
    """
    from chaospoint.stores.directory import DirectoryStore  # it loads pydantic

    return DirectoryStore(directory_of(url))
