"""The store of one host: a directory with one file for the document and one for each worker.

A writer locks the directory itself, so that no lock file can be lost or fail on a full disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import quote

from chaospoint.errors import LimitExceeded, StoreBusy, StoreError
from chaospoint.stores.desired import Desired
from chaospoint.stores.document import DOCUMENT, MOST, WORKERS, file_signature, write
from chaospoint.stores.files import Directory, Missing, lock, opened, read, unlock
from chaospoint.stores.halts import Halt, halts, remove, write_halt
from chaospoint.stores.store import Edit, Worker
from chaospoint.stores.worker_files import WorkerFiles, all_workers

__all__ = ["DirectoryStore"]

_TRIES = 8  # reads of the document while other processes take over halts


@dataclass(frozen=True, slots=True)
class _Seen:
    """The latest reading of the document: its content, or the problem with it."""

    signature: tuple[int, ...] = ()
    desired: Desired = field(default_factory=Desired)
    problem: str = ""


class DirectoryStore:
    """Keeps the document in the directory ``path``; the first write creates the directory.

    Safe from any thread, and from any process of the owner or root. The directory must be on a
    local disk and accessible to its owner only, and must not be a symbolic link.
    """

    shared = True

    def __init__(self, path: str) -> None:
        if "\0" in path:
            raise StoreError(f"{path!r} is no path: leave the null character out")
        self._path = os.path.abspath(path)
        self.url = "file://" + quote(os.fsencode(self._path))
        self._seen = _Seen()  # replaced in one assignment, so it needs no lock
        self._last_halted: tuple[Desired, tuple[Halt, ...], Desired] | None = None  # likewise
        self._locked: set[int] = set()
        self._own = WorkerFiles()

    def read(self) -> Desired:
        """Return the document."""
        try:
            with opened(self._path) as directory:
                return self._read(directory)
        except Missing:
            return Desired()

    def update(self, edit: Edit, *, at_least: int = 0, ignore_unreadable: bool = False) -> Desired:
        """Replace the document by what ``edit`` makes of it."""
        with opened(self._path, make=True) as directory, self._alone(directory):
            orders = halts(directory)
            try:
                current = self._halted(directory, orders)
            except StoreError as error:
                if not (ignore_unreadable or isinstance(error, Missing)):
                    raise
                # Its generation is lost; the next one must be newer than any worker has seen.
                current = Desired().no_older_than(self._latest_known())
            made = edit(current.no_older_than(at_least))
            if (heeded := tuple(one.id for one in orders)) != made.heeded:
                made = made.model_copy(update={"heeded": heeded})
            self._write(directory, made)
            for one in orders:
                with suppress(StoreError):  # the document names it, so it no longer counts
                    remove(directory, one)
            return made

    def halt(self, *, by: str, now: float, reason: str = "", at_least: int = 0) -> Desired:
        """Disable the store without the lock, which a suspended process may hold."""
        with opened(self._path, make=True) as directory:
            known = max(at_least, self._latest_known())
            write_halt(directory, generation=known, by=by, now=now, reason=reason)
            return self._read(directory)

    def report(self, worker: Worker) -> None:
        """Record a worker of this process."""
        with (
            opened(self._path, make=True) as directory,
            directory.directory(WORKERS, make=True) as folder,
        ):
            self._own.report(folder, worker)

    def leave(self, worker_id: str) -> None:
        """Remove a worker of this process; leave the workers of other processes."""
        try:
            with opened(self._path) as directory, directory.directory(WORKERS) as folder:
                self._own.leave(folder, worker_id)
        except Missing:
            pass
        finally:
            self._own.let_go(worker_id)

    def workers(self) -> tuple[Worker, ...]:
        """Return the workers whose processes are alive."""
        try:
            with opened(self._path) as directory, directory.directory(WORKERS) as folder:
                return all_workers(folder)
        except Missing:
            return ()

    def renew(self) -> None:
        """Close, in a forked child, the files of the parent, and forget its workers."""
        self._own.renew()
        for fd in self._locked:
            with suppress(OSError):
                os.close(fd)
        self._locked = set()

    @contextmanager
    def _alone(self, directory: Directory) -> Iterator[None]:
        lock(directory.fd, directory.path)
        self._locked.add(directory.fd)
        try:
            yield
        finally:
            self._locked.discard(directory.fd)
            unlock(directory.fd)  # closing is not enough: a child forked meanwhile shares the lock

    def _read(self, directory: Directory) -> Desired:
        """Return the document with all halts applied; take no lock, so writers can go on."""
        for _ in range(_TRIES):
            orders = halts(directory)
            desired = self._halted(directory, orders)
            # If a halt was removed during the read, a newer document may have replaced this one.
            if not orders or set(orders) <= set(halts(directory)):
                return desired
        raise StoreBusy(f"{directory.path} changed each time it was read: try again")

    def _halted(self, directory: Directory, orders: tuple[Halt, ...]) -> Desired:
        """Return the document with these halts applied; raises `Missing` without either."""
        try:
            current = self._current(directory)
        except StoreError:
            if not orders:
                raise
            current = Desired()
        fresh = tuple(one for one in orders if one.id not in current.heeded)
        if not fresh:
            return current
        last = self._last_halted
        if last is None or (last[0] is not current and last[0] != current) or last[1] != fresh:
            made = current
            for one in fresh:
                made = made.no_older_than(one.generation - 1)
                made = made.disable(by=one.by, now=one.at, reason=one.reason)
            self._last_halted = last = current, fresh, made
        return last[2]

    def _current(self, directory: Directory) -> Desired:
        path = directory.path_of(DOCUMENT)
        with directory.file(DOCUMENT) as fd:
            signature = file_signature(fd)
            seen = self._seen
            if seen.signature != signature:
                data = read(fd, path, MOST)
                try:
                    seen = _Seen(signature, Desired.parse(data))
                except StoreError as error:
                    seen = _Seen(signature, problem=str(error))
                self._seen = seen
        if seen.problem:
            raise StoreError(f"{path}: {seen.problem}; to start anew disable, or remove the file")
        return seen.desired

    def _write(self, directory: Directory, made: Desired) -> None:
        data = made.text().encode()
        if len(data) > MOST:
            raise LimitExceeded(
                f"the document would have {len(data)} bytes, and a store holds {MOST} at most: "
                "disarm some rules, or write shorter ones"
            )
        parsed = Desired.parse(data)  # never write a document that cannot be read back
        signature = write(directory, data, reserved=not made.enabled)
        if signature is not None:
            self._seen = _Seen(signature, parsed)

    def _latest_known(self) -> int:
        try:
            return max((one.generation for one in self.workers()), default=0)
        except StoreError:
            return 0
