"""A file is watched by looking at it: no inotify, which misses replaced symlinks.

`look` is pure in the file system's state; `Poller.poll` does one round and can be called by hand;
the thread only repeats it.  What a bad file says is told once while the file stays the same.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from chaospoint.errors import ChaosError
from chaospoint.rounds import Rounds

__all__ = ["FileSignature", "Poller", "look"]

_log = logging.getLogger("chaospoint")


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


class Poller:
    """Calls ``load`` when the file at ``path`` has changed, at each of its ``rounds``.

    ``load(path)`` raises what is wrong with the file; that ends there, in one WARNING. After a
    failure it is called again at every round, for the cure may lie outside the file.
    ``told(ok, reason)`` hears of every success, and of a failure when the file or the reason is
    new. ``after_round`` is called by the thread behind each look at the file.
    """

    def __init__(
        self,
        path: Path,
        load: Callable[[Path], object],
        told: Callable[[bool, str], None],
        *,
        after_round: Callable[[], object] = lambda: None,
        interval_seconds: float = 1.0,
    ) -> None:
        self._path = path
        self._load = load
        self._told = told
        self._after_round = after_round
        self._loaded: FileSignature | None = None
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
        if self._failure is None and signature is not None and signature == self._loaded:
            return False
        try:
            self._load(self._path)
        except Exception as error:
            self._failed(signature, error)
            return False
        self._loaded, self._failure = signature, None
        self._told(True, "")
        return True

    def _round(self) -> None:
        try:
            self.poll()
            self._after_round()
        except Exception:
            _log.exception("the plan file %s could not be looked at", self._path)

    def _failed(self, signature: FileSignature | None, error: Exception) -> None:
        expected = isinstance(error, ChaosError)
        words = str(error) if expected else f"{type(error).__name__}: {error}"
        if self._failure == (signature, words):
            return
        still, self._failure = self.refusal == words, (signature, words)
        if still:
            _log.warning("the plan file %s has changed and is still refused: %s", self._path, words)
        else:
            _log.warning(
                "the plan file %s is refused whole, what was armed before stays: %s",
                self._path,
                words,
                exc_info=None if expected else error,
            )
        self._told(False, words)
