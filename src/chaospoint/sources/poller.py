"""Watch a file by polling; inotify would miss symlinks that are replaced.

`look` only reads the state of the file system. `Poller.poll` does one round, and a thread repeats
it. A file that is refused is read and reported once, until it changes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

from chaospoint._kernel.rounds import Rounds
from chaospoint.errors import ChaosError
from chaospoint.models.refusal import unquoted

__all__ = ["FileSignature", "Poller", "look"]

_log = logging.getLogger("chaospoint")

_BRIEF_SECONDS = 0.05
_SHARE = 20  # loads that fail use at most a twentieth of a processor

_Content = TypeVar("_Content")


class FileSignature(NamedTuple):
    """The values that change when a file is written, replaced, or reached by another symlink.

    A copy may keep the size and the modification time; no program can set ``ctime_ns``.
    """

    realpath: str
    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int


def look(path: Path) -> FileSignature | None:
    """Return the signature of the file at ``path``, or None if it cannot be read."""
    try:
        realpath = os.path.realpath(path)
        stat = os.stat(realpath)
    except (OSError, ValueError):
        return None
    return FileSignature(
        realpath, stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size
    )


class Poller(Generic[_Content]):
    """Calls ``read`` when the file at ``path`` has changed, and ``load`` with its result.

    ``read(path)`` raises an error if the file is invalid, and ``load(content)`` if the content
    cannot be armed; either is logged as one WARNING. A file that ``read`` refuses is not read again
    until it changes, unless the cause is an `OSError`. Content that ``load`` refuses is tried again
    in later rounds, because the cause may lie outside the file. ``report(ok, reason)`` is called
    after every success, and after a failure if the file or the reason is new. ``after_round`` is
    called by the thread after each round. ``now`` is a monotonic clock, in seconds.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], _Content],
        load: Callable[[_Content], object],
        report: Callable[[bool, str], None],
        *,
        after_round: Callable[[], object] = lambda: None,
        interval_seconds: float = 1.0,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._path = path
        self._read = read
        self._load = load
        self._report = report
        self._after_round = after_round
        self._now = now
        self._loaded: FileSignature | None = None
        self._refused: FileSignature | None = None  # a file that `read` refused
        self._kept: tuple[FileSignature | None, _Content] | None = None  # read, but not loaded yet
        self._rests_until: tuple[FileSignature | None, float] | None = None
        self._failure: tuple[FileSignature | None, str] | None = None
        self.rounds = Rounds("chaospoint-poller", lambda: interval_seconds, self._round)

    @property
    def refusal(self) -> str | None:
        """Why the file was refused in the last round, or None if it is loaded."""
        failure = self._failure
        return None if failure is None else failure[1]

    def poll(self) -> bool:
        """Look at the file, load it if necessary, and return whether it was loaded.

        Two threads must not call this at the same time.
        """
        signature = look(
            self._path
        )  # before the load, so that the next round sees a change during it
        if self._is_done_with(signature):
            return False
        began = self._now()
        try:
            self._load(self._content(signature))
        except Exception as error:
            took = self._now() - began
            rest = took * _SHARE if took > _BRIEF_SECONDS else 0.0
            self._rests_until = signature, began + rest
            self._failed(signature, error)
            return False
        self._loaded, self._failure, self._kept = signature, None, None
        self._report(True, "")
        return True

    def _is_done_with(self, signature: FileSignature | None) -> bool:
        """Return whether loading the file again would give the same result, or must wait."""
        if self._failure is None:
            return signature is not None and signature == self._loaded
        if signature is not None and signature == self._refused:
            return True
        rests = self._rests_until
        return rests is not None and rests[0] == signature and self._now() < rests[1]

    def _content(self, signature: FileSignature | None) -> _Content:
        kept = self._kept
        if kept is not None and signature is not None and kept[0] == signature:
            return kept[1]
        self._kept = self._refused = None
        try:
            content = self._read(self._path)
        except ChaosError as error:
            if not isinstance(error.__cause__, OSError):
                self._refused = signature
            raise
        self._kept = signature, content
        return content

    def _round(self) -> None:
        try:
            self.poll()
            self._after_round()
        except Exception:
            _log.exception("the plan file %s could not be checked for changes", self._path)

    def _failed(self, signature: FileSignature | None, error: Exception) -> None:
        expected = isinstance(error, ChaosError)
        reason = (
            unquoted(error) if isinstance(error, ChaosError) else f"{type(error).__name__}: {error}"
        )
        if self._failure == (signature, reason):
            return
        unchanged, self._failure = self.refusal == reason, (signature, reason)
        if unchanged:
            _log.warning(
                "the plan file %s has changed and is still refused: %s", self._path, reason
            )
        else:
            _log.warning(
                "the plan file %s is refused%s: %s",
                self._path,
                "" if self._loaded is None else "; its previous rules stay armed",
                reason,
                exc_info=None if expected else error,
            )
        self._report(False, reason)
