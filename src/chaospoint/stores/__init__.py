"""Keep the desired state of a service, and apply it in each of its processes."""

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

    Opening a store neither reads nor creates anything.
    """
    from chaospoint.stores.directory import DirectoryStore  # it loads pydantic

    return DirectoryStore(directory_of(url))
