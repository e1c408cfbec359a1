"""The file that holds the document of a directory, and the room that is kept to disable in."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from chaospoint.errors import StoreError
from chaospoint.stores.files import NEW, Directory, NoRoom

__all__ = ["DOCUMENT", "MOST", "WORKERS", "file_signature", "write"]

DOCUMENT: Final = "desired.json"
WORKERS: Final = "workers"
"""The directory of the workers' files."""

MOST: Final = 2**20
"""The longest document, in bytes."""

_RESERVE = "reserve"
_ROOM = 2**16  # bytes in the reserve: a document without rules, and with all its orders


def write(directory: Directory, data: bytes, *, reserved: bool) -> tuple[int, ...] | None:
    """Put the document in place, whole; return its signature, or None if it is in the reserve.

    ``reserved``: where the disk is full it may take the room of the reserve, and where a directory
    stands in its way that is renamed.
    """
    if reserved:
        for name in (DOCUMENT, DOCUMENT + NEW, _RESERVE):
            directory.set_aside(name)
    before = directory.find(DOCUMENT)
    after = before.st_mtime_ns if before else 0
    try:
        fd = directory.replace(DOCUMENT, data, sync=True, after=after)
    except NoRoom:
        if not reserved:
            raise
        with suppress(StoreError):
            directory.reuse(_RESERVE, DOCUMENT, data, after=after)
            return None
        raise
    signature = file_signature(fd)
    os.close(fd)
    # Room in which to disable when the disk is full; nothing else may take it.
    with suppress(StoreError):
        reserve = directory.find(_RESERVE)
        if reserve is None or reserve.st_size < _ROOM:
            os.close(directory.replace(_RESERVE, bytes(_ROOM), sync=True))
    return signature


def file_signature(fd: int) -> tuple[int, ...]:
    """Return what no two documents have in common: `Directory.replace` sees to their times."""
    found = os.fstat(fd)
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_ctime_ns
