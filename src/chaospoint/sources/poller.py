"""A file is watched by looking at it: no inotify, which misses replaced symlinks.

`look` is pure in the file system's state; `Poller.poll` does one round and can be called by hand;
the thread only repeats it.  What a bad file says is read once and told once while the file stays
the same.
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
_SHARE = 20  # a load that fails takes a twentieth of a processor at the most

_Content = TypeVar("_Content")


class FileSignature(NamedTuple):
    """What changes when a file does: written in place, replaced, or behind a moved symlink.

    A copy may keep size and modification time; no program can set the time of the last change.
    """

    realpath: str
    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int


def look(path: Path) -> FileSignature | None:
    """Return the signature of the file at ``path``, or None where nothing can be seen."""
    try:
        realpath = os.path.realpath(path)
        stat = os.stat(realpath)
    except (OSError, ValueError):
        return None
    return FileSignature(
        realpath, stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size
    )


class Poller(Generic[_Content]):
    """Calls ``read`` when the file at ``path`` has changed, and ``load`` with what that returns.

    ``read(path)`` raises what is wrong with the file, and ``load(content)`` what is wrong with
    putting it in force; that ends there, in one WARNING. What ``read`` refuses is not read again
    until the file changes, unless an `OSError` caused it; what ``load`` refuses is loaded again at
    later rounds, because the cure may lie outside the file. ``told(ok, reason)`` hears of every
    success, and of a failure when the file or the reason is new. ``after_round`` is called by the
    thread behind each look at the file. ``now`` is a monotonic clock.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], _Content],
        load: Callable[[_Content], object],
        told: Callable[[bool, str], None],
        *,
        after_round: Callable[[], object] = lambda: None,
        interval_seconds: float = 1.0,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._path = path
        self._read = read
        self._load = load
        self._told = told
        self._after_round = after_round
        self._now = now
        self._loaded: FileSignature | None = None
        self._refused: FileSignature | None = None  # what is wrong is in the file
        self._kept: tuple[FileSignature | None, _Content] | None = None  # read, and not in force
        self._rests_until: tuple[FileSignature | None, float] | None = None
        self._failure: tuple[FileSignature | None, str] | None = None
        self.rounds = Rounds("chaospoint-poller", lambda: interval_seconds, self._round)

    @property
    def refusal(self) -> str | None:
        """Why the file was refused when it was read last, or None if it was taken."""
        failure = self._failure
        return None if failure is None else failure[1]

    def poll(self) -> bool:
        """Look once, and load if there is reason to; return whether a plan was loaded.

        Not to be called by two threads at once.
        """
        signature = look(self._path)  # before the load: what changes meanwhile is seen next time
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
        self._told(True, "")
        return True

    def _is_done_with(self, signature: FileSignature | None) -> bool:
        """Whether nothing else can come of the file as it is, or not yet."""
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
            _log.exception("the plan file %s could not be looked at", self._path)

    def _failed(self, signature: FileSignature | None, error: Exception) -> None:
        expected = isinstance(error, ChaosError)
        words = (
            unquoted(error) if isinstance(error, ChaosError) else f"{type(error).__name__}: {error}"
        )
        if self._failure == (signature, words):
            return
        still, self._failure = self.refusal == words, (signature, words)
        if still:
            _log.warning("the plan file %s has changed and is still refused: %s", self._path, words)
        else:
            _log.warning(
                "the plan file %s is rejected%s: %s",
                self._path,
                "" if self._loaded is None else "; its previous rules stay armed",
                words,
                exc_info=None if expected else error,
            )
        self._told(False, words)
