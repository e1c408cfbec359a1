"""A process that was forked in C, without Python's hooks, is noticed where a rule is about to fire.

uWSGI forks its workers so.  Asking the system for the number of the process takes a third of a
microsecond on some machines, so Linux is asked for a page of memory that a child finds wiped.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from os import getpid
from typing import Protocol

from chaospoint._kernel import fork, reporting

__all__ = ["after_fork_in_c", "known", "made_anew"]


class _Mark(Protocol):
    """``mark[0]`` is true in the process that set it, and false in a child."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...


class _Number:
    """A mark that asks for the number of the process."""

    def __init__(self) -> None:
        self._number = getpid()

    def __getitem__(self, index: int) -> int:
        return getpid() == self._number

    def __setitem__(self, index: int, value: int) -> None:
        self._number = getpid()


_WIPE_ON_FORK = 18  # MADV_WIPEONFORK, which the module mmap does not name


def _mark() -> _Mark:
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_WIPE_ON_FORK)
    except (AttributeError, OSError, ValueError):  # another system, or an old kernel
        return _Number()
    page[0] = 1
    return page


known = _mark()
"""``known[0]`` is true unless this process is a child that was not yet made anew."""

after_fork_in_c: list[Callable[[], object]] = []
"""What begins anew in such a child after the kernel, in this order."""

_first: dict[int, object] = {}  # of the threads of a process that find it not made anew


def made_anew() -> bool:
    """Begin everything anew if this process is such a child; return whether it was.

    Call it from any thread that holds no lock of chaospoint.
    """
    if known[0]:
        return False
    me = object()
    if _first.setdefault(getpid(), me) is not me:
        return False  # another thread is at it
    try:
        if known[0]:
            return False  # another thread has done it meanwhile
        known[0] = 1
        for begin in (fork.begin_anew, *after_fork_in_c):
            try:
                begin()
            except Exception:
                reporting.report_bug("beginning anew in a forked process")
        return True
    finally:
        _first.clear()


def _in_child() -> None:
    known[0] = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
