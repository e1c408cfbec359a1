"""Files in a directory that only its owner can access, replaced atomically.

Every name is looked up in the open directory and no symbolic link is followed, so a file cannot
be exchanged between its check and its use. Needs POSIX. Raises only `StoreError`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from chaospoint.errors import StoreBusy, StoreError

fcntl: Any
try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None

__all__ = [
    "NEW",
    "Directory",
    "Missing",
    "NoRoom",
    "close",
    "close_inherited",
    "lock",
    "opened",
    "os_errors_as_store_errors",
    "read",
    "unlock",
    "unlocked",
]

NEW = ".new"
"""The suffix of a file that is not complete yet."""

_being_made: set[int] = set()
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Missing(StoreError):
    """The file or directory does not exist."""


class NoRoom(StoreError):
    """The disk or the user's quota is full."""


@contextmanager
def os_errors_as_store_errors(path: str) -> Iterator[None]:
    """Raise a `StoreError` about ``path`` in place of an `OSError`."""
    try:
        yield
    except OSError as error:
        number, problem = error.errno, f"{path}: {error.strerror or error}"
        if number == errno.ENOENT:
            raise Missing(f"{problem}: make it, or name another") from error
        if number in _NO_ROOM:
            raise NoRoom(f"{problem}: make room there") from error
        if number == errno.ENOTDIR:
            cure = "name the directory itself, not a link to it"
            raise StoreError(f"{path} is no directory, or is a symbolic link: {cure}") from error
        if number == errno.ELOOP:
            raise StoreError(f"{path} is a symbolic link: remove it") from error
        cure = f"user {os.geteuid()} has to be able to read and write it"
        raise StoreError(f"{problem}: {cure}") from error


def lock(fd: int, path: str) -> None:
    """Lock an open file or directory exclusively; raises `StoreBusy` if it is locked."""
    with os_errors_as_store_errors(path):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusy(f"somebody else is writing {path} at this moment: try again") from None


def unlock(fd: int) -> None:
    """Unlock an open file or directory, also for forked processes that share the descriptor."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def close(fd: int) -> None:
    """Close a file, which the program may have closed already (to become a daemon)."""
    with suppress(OSError):
        os.close(fd)


def close_inherited() -> None:
    """Close, in a forked child, the files that another thread of the parent was writing.

    Otherwise the child would keep the locks of the parent.
    """
    while _being_made:
        with suppress(OSError):
            os.close(_being_made.pop())


def unlocked(fd: int) -> bool:
    """Return whether no process had the open file locked; lock it (shared) until it is closed."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def read(fd: int, path: str, most: int) -> bytes:
    """Return the content of an open file; refuse more than ``most`` bytes."""
    with os_errors_as_store_errors(path), open(fd, "rb", closefd=False) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise StoreError(f"{path} has more than {most} bytes: remove it")
    return data


def _check(path: str, found: os.stat_result, owner: int) -> None:
    if found.st_uid != owner:
        raise StoreError(
            f"{path} belongs to user {found.st_uid}, and user {owner} is to use it: run as one "
            "user, or name another directory"
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise StoreError(f"{path} has mode {mode:04o}, so that others can use it: chmod go= {path}")


@dataclass(frozen=True, slots=True)
class Directory:
    """An open directory of mode 0700; its files belong to its owner and have mode 0600."""

    path: str
    fd: int
    owner: int
    group: int

    def path_of(self, name: str) -> str:
        """Return the path of a file, for messages."""
        return f"{self.path}/{name}"

    def find(self, name: str) -> os.stat_result | None:
        """Return the status of the file or directory ``name``, or None if it does not exist."""
        with os_errors_as_store_errors(self.path_of(name)), suppress(FileNotFoundError):
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        return None

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        with os_errors_as_store_errors(self.path_of(name)), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def set_aside(self, name: str) -> None:
        """Rename a directory that has the name of a file."""
        found = self.find(name)
        if found is not None and stat.S_ISDIR(found.st_mode):
            with os_errors_as_store_errors(self.path_of(name)):
                aside = f"{name}.{token_hex(4)}.aside"
                os.rename(name, aside, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    @contextmanager
    def file(self, name: str, flags: int = 0) -> Iterator[int]:
        """Open a file, and close it afterwards."""
        path = self.path_of(name)
        with os_errors_as_store_errors(path):
            # Non-blocking, because opening a pipe waits for its other end.
            flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(name, flags, dir_fd=self.fd)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise StoreError(f"{path} is no regular file: remove it")
            _check(path, found, self.owner)
            yield fd
        finally:
            close(fd)

    @contextmanager
    def directory(self, name: str, *, make: bool = False) -> Iterator[Directory]:
        """Open a directory in this one, and close it afterwards."""
        with _opened(self.path_of(name), name, self, make=make) as found:
            yield found

    def replace(self, name: str, data: bytes, *, sync: bool = False, after: int = 0) -> int:
        """Replace the file ``name`` atomically; return the new file, open and locked.

        With ``sync``, the data is on the disk before the replacement. The modification time is
        later than ``after``, in nanoseconds.
        """
        temporary = name + NEW
        self.remove(temporary)  # left by a writer that was killed
        with os_errors_as_store_errors(self.path_of(temporary)):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(temporary, flags, 0o600, dir_fd=self.fd)
        _being_made.add(fd)
        try:
            lock(fd, self.path_of(temporary))
            with os_errors_as_store_errors(self.path_of(temporary)):
                self.own(fd, 0o600)
                self._settle(fd, temporary, name, data, sync=sync, after=after)
        except BaseException:
            close(fd)
            with suppress(StoreError):
                self.remove(temporary)
            raise
        finally:
            _being_made.discard(fd)
        return fd

    def reuse(self, reserve: str, name: str, data: bytes, *, after: int = 0) -> None:
        """Overwrite the file ``reserve`` and rename it to ``name``; needs no new disk space."""
        with self.file(reserve, os.O_RDWR) as fd, os_errors_as_store_errors(self.path_of(reserve)):
            self._settle(fd, reserve, name, data, sync=True, after=after)

    def _settle(
        self, fd: int, temporary: str, name: str, data: bytes, *, sync: bool, after: int
    ) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.ftruncate(fd, len(data))
        if sync:
            os.fsync(fd)
        if os.fstat(fd).st_mtime_ns <= after:
            os.utime(fd, ns=(after + 1, after + 1))
        os.replace(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def own(self, fd: int, mode: int) -> None:
        """Set the mode of a new file regardless of the umask; as root, also set its owner."""
        os.fchmod(fd, mode)
        if os.geteuid() == 0:
            os.fchown(fd, self.owner, self.group)


@contextmanager
def opened(path: str, *, make: bool = False) -> Iterator[Directory]:
    """Open a directory that only its owner can use, and close it afterwards.

    With ``make``, create it and its parents if missing. Root may use a directory of any owner.
    """
    if fcntl is None:
        raise StoreError(f"{path}: a store in a directory needs a POSIX system, and this is none")
    if make and not os.path.isdir(path):
        with os_errors_as_store_errors(path):
            _make(os.path.dirname(path))
    with _opened(path, path, None, make=make) as found:
        yield found


def _make(path: str) -> None:
    """Create the parents of a directory, each with mode 0700."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        _make(os.path.dirname(path))
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)


@contextmanager
def _opened(path: str, name: str, inside: Directory | None, *, make: bool) -> Iterator[Directory]:
    at, made = inside.fd if inside else None, False
    with os_errors_as_store_errors(path):
        if make:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=at)
                made = True
        fd = os.open(name, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        with os_errors_as_store_errors(path):
            if made and inside:
                inside.own(fd, 0o700)
            elif made:
                os.fchmod(fd, 0o700)  # regardless of the umask
        found = os.fstat(fd)
        us = os.geteuid()
        owner = inside.owner if inside else us or found.st_uid
        _check(path, found, owner)
        yield Directory(path, fd, owner, found.st_gid)
    finally:
        close(fd)
