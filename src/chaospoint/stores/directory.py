"""The store of one host: a directory, with the document in a file, and a file for each worker.

Whoever changes the document holds a lock on the directory itself: there is no lock file to be lost,
or to lack room.
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

_TRIES = 8  # to read the document while others take over orders


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the document was when it was read last, or what was wrong with it."""

    signature: tuple[int, ...] = ()
    desired: Desired = field(default_factory=Desired)
    problem: str = ""


class DirectoryStore:
    """Keeps the document in the directory ``path``, which is made when something is written.

    Safe from any thread and process; of one user, and root. The directory has to be on a disk of
    this host, its owner's alone, and no symbolic link.
    """

    shared = True

    def __init__(self, path: str) -> None:
        if "\0" in path:
            raise StoreError(f"{path!r} is no path: leave the null character out")
        self._path = os.path.abspath(path)
        self.url = "file://" + quote(os.fsencode(self._path))
        self._seen = _Seen()  # replaced whole, so it takes no lock
        self._last_halted: tuple[Desired, tuple[Halt, ...], Desired] | None = None  # as well
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
                # Its generation is lost, and no worker may take the next one for an old one.
                current = Desired().no_older_than(self._latest_known())
            made = edit(current.no_older_than(at_least))
            if (heeded := tuple(one.id for one in orders)) != made.heeded:
                made = made.model_copy(update={"heeded": heeded})
            self._write(directory, made)
            for one in orders:
                with suppress(StoreError):  # it is named in the document, and counts no more
                    remove(directory, one)
            return made

    def halt(self, *, by: str, now: float, reason: str = "", at_least: int = 0) -> Desired:
        """Turn the switch off without the lock, which a process that is stopped may hold."""
        with opened(self._path, make=True) as directory:
            known = max(at_least, self._latest_known())
            write_halt(directory, generation=known, by=by, now=now, reason=reason)
            return self._read(directory)

    def report(self, worker: Worker) -> None:
        """Take note of a worker of this process."""
        with (
            opened(self._path, make=True) as directory,
            directory.directory(WORKERS, make=True) as folder,
        ):
            self._own.report(folder, worker)

    def leave(self, worker_id: str) -> None:
        """Forget a worker of this process; others are not this store's to forget."""
        try:
            with opened(self._path) as directory, directory.directory(WORKERS) as folder:
                self._own.leave(folder, worker_id)
        except Missing:
            pass
        finally:
            self._own.let_go(worker_id)

    def workers(self) -> tuple[Worker, ...]:
        """Return the workers whose processes live."""
        try:
            with opened(self._path) as directory, directory.directory(WORKERS) as folder:
                return all_workers(folder)
        except Missing:
            return ()

    def renew(self) -> None:
        """Close in a forked child what the parent holds, and forget its workers."""
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
            unlock(directory.fd)  # a child that was forked meanwhile holds it, too

    def _read(self, directory: Directory) -> Desired:
        """Return what counts; without the lock, so that others may write meanwhile."""
        for _ in range(_TRIES):
            orders = halts(directory)
            desired = self._halted(directory, orders)
            # Of an order that is gone by now, the document may say no more that it was taken over.
            if not orders or set(orders) <= set(halts(directory)):
                return desired
        raise StoreBusy(f"{directory.path} changed each time it was read: try again")

    def _halted(self, directory: Directory, orders: tuple[Halt, ...]) -> Desired:
        """Return the document as the orders leave it that were listed before; raises `Missing` if
        there is neither."""
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
        parsed = Desired.parse(data)  # what nobody could read is not written
        signature = write(directory, data, reserved=not made.enabled)
        if signature is not None:
            self._seen = _Seen(signature, parsed)

    def _latest_known(self) -> int:
        try:
            return max((one.generation for one in self.workers()), default=0)
        except StoreError:
            return 0
