"""Where the desired state is kept, and how a change of it is known to be in force everywhere."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from chaospoint.errors import StoreError
from chaospoint.stores.directory import DirectoryStore
from chaospoint.stores.store import Store

__all__ = ["open_store"]


def open_store(url: str) -> Store:
    """Return the store at ``url``: ``file:///absolute/path``; raises `StoreError` for others.

    Nothing is read or made yet.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.startswith("/"):
        raise StoreError(f"{url!r} is no store: write file:///absolute/path/of/a/directory")
    return DirectoryStore(path)
