"""The document file of a directory store, and the disk space reserved for disabling."""

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
    """Replace the document atomically; return its signature, or None if it used the reserve.

    ``reserved``: on a full disk, the document may use the reserve file, and a directory that has
    the name of a file is renamed.
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
    # Disk space for disabling when the disk is full; nothing else may use it.
    with suppress(StoreError):
        reserve = directory.find(_RESERVE)
        if reserve is None or reserve.st_size < _ROOM:
            os.close(directory.replace(_RESERVE, bytes(_ROOM), sync=True))
    return signature


def file_signature(fd: int) -> tuple[int, ...]:
    """Return a value that differs for each document, since `Directory.replace` advances mtime."""
    status = os.fstat(fd)
    return status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns
