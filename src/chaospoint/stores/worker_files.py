"""The files of the workers, one each. A worker whose file is not locked is dead.

A process keeps the lock on its worker's file while it lives. The operating system releases the
lock when the process ends for any reason.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from time import time
from typing import Any

from chaospoint._kernel.lock import Lock
from chaospoint.errors import StoreError
from chaospoint.models import strict_json
from chaospoint.stores.files import (
    NEW,
    Directory,
    NoRoom,
    close_inherited,
    os_errors_as_store_errors,
    read,
    unlocked,
)
from chaospoint.stores.store import Worker

__all__ = ["WorkerFiles", "all_workers"]

_MOST = 2**20  # bytes in a file
_MOST_GENERATIONS = 2**62
_LEFT_SECONDS = 60.0  # an older incomplete file has no writer any more

_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_BLANK = asdict(Worker("", 0))


@dataclass(frozen=True, slots=True)
class _Held:
    """The file of a worker of this process: open, and locked."""

    fd: int
    data: bytes
    found: os.stat_result

    @property
    def is_open(self) -> bool:
        """Whether the descriptor still refers to this file; a daemon closes all descriptors."""
        try:
            return os.path.samestat(os.fstat(self.fd), self.found)
        except OSError:
            return False

    def is_at(self, found: os.stat_result | None) -> bool:
        """Whether ``found`` is the status of this file, and the file is still open."""
        return found is not None and os.path.samestat(found, self.found) and self.is_open

    def write_over(self, data: bytes) -> None:
        """Overwrite the content in place; a concurrent reader may see a mixture."""
        os.pwrite(self.fd, data, 0)
        os.ftruncate(self.fd, len(data))

    def close(self) -> None:
        """Close the file without unlocking it, because a parent may share the lock."""
        if self.is_open:
            with suppress(OSError):
                os.close(self.fd)


class WorkerFiles:
    """The workers of this process, and the locks on their files; safe from any thread."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._held: dict[str, _Held] = {}

    def report(self, folder: Directory, worker: Worker) -> None:
        """Write the worker if it changed; otherwise only update the time of the file."""
        name = _name(worker.id)
        data = json.dumps(asdict(replace(worker, seconds_silent=0.0))).encode()
        with self._guard:
            held = self._held.get(worker.id)
            if held and held.data == data and held.is_at(folder.find(name)):
                with os_errors_as_store_errors(folder.path_of(name)):
                    os.utime(held.fd)
                return
            try:
                fd = folder.replace(name, data)
            except NoRoom:
                if not held or not held.is_at(folder.find(name)):
                    raise
                with os_errors_as_store_errors(folder.path_of(name)):
                    held.write_over(data)  # this needs no new disk space
                self._held[worker.id] = replace(held, data=data)
                return
            self._held[worker.id] = _Held(fd, data, os.fstat(fd))
            if held:
                held.close()  # only now: an unlocked file counts as that of a dead worker

    def leave(self, folder: Directory, worker_id: str) -> None:
        """Remove the file."""
        name = _name(worker_id)
        with self._guard:
            held = self._held.get(worker_id)
            if held and held.is_at(folder.find(name)):
                folder.remove(name)

    def let_go(self, worker_id: str) -> None:
        """Unlock the file."""
        with self._guard:
            held = self._held.pop(worker_id, None)
            if held:
                held.close()

    def renew(self) -> None:
        """Close, in a forked child, the files of the parent."""
        self._guard = Lock()
        close_inherited()
        for held in self._held.values():
            held.close()
        self._held = {}


def all_workers(folder: Directory) -> tuple[Worker, ...]:
    """Return the workers whose processes are alive, in the order of their start."""
    with os_errors_as_store_errors(folder.path):
        names = os.listdir(folder.fd)
    found = [worker for name in names if (worker := _worker(folder, name))]
    return tuple(sorted(found, key=lambda one: (one.started_at, one.id)))


def _name(worker_id: str) -> str:
    if not _ID.fullmatch(worker_id):
        raise StoreError(
            f"{worker_id!r} cannot be the id of a worker: write up to 64 letters and digits"
        )
    return f"{worker_id}.json"


def _worker(folder: Directory, name: str) -> Worker | None:
    """Return the worker in a file; remove the file of a dead worker."""
    worker_id, _, kind = name.partition(".")
    try:
        while _ID.fullmatch(worker_id) and kind in ("json", "json" + NEW):
            with folder.file(name) as fd:
                found = os.fstat(fd)
                silent = max(0.0, time() - found.st_mtime)
                if kind != "json" and silent < _LEFT_SECONDS:
                    break  # it may be about to be locked
                if not unlocked(fd):
                    data = read(fd, folder.path_of(name), _MOST)
                    return _parsed(data, worker_id, silent) if kind == "json" else None
                still = folder.find(name)
                if still and os.path.samestat(still, found):
                    folder.remove(name)
                    break
            # Replaced after it was opened: the worker is alive, and has locked the new file.
    except StoreError:
        pass  # not a file of a worker, or the worker has just left
    return None


def _parsed(data: bytes, worker_id: str, silent: float) -> Worker | None:
    """Return the worker in the data, or None; ignore keys of newer versions."""
    try:
        said: Any = strict_json.loads(data)
        known = {key: said[key] for key in _BLANK.keys() & said.keys()}
        known["points"] = tuple(known["points"])
        worker = Worker(**{**known, "seconds_silent": silent})
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
    right = all(type(getattr(worker, key)) is type(value) for key, value in _BLANK.items())
    named = all(isinstance(point, str) for point in worker.points)
    if right and named and worker.id == worker_id and 0 <= worker.generation < _MOST_GENERATIONS:
        return worker
    return None
