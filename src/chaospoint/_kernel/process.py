"""Detect, when a rule is about to fire, that the process was forked in C without Python's hooks.

uWSGI forks its workers in this way.  ``os.getpid`` takes a third of a microsecond on some machines.
So on Linux the parent sets a byte in a page of memory that the kernel clears in child processes.
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
    """``mark[0]`` is true in the process that set it, and false in its children."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...


class _Number:
    """A mark that compares process ids."""

    def __init__(self) -> None:
        self._number = getpid()

    def __getitem__(self, index: int) -> int:
        return getpid() == self._number

    def __setitem__(self, index: int, value: int) -> None:
        self._number = getpid()


_WIPE_ON_FORK = 18  # MADV_WIPEONFORK, which the module mmap does not define


def _mark() -> _Mark:
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_WIPE_ON_FORK)
    except (AttributeError, OSError, ValueError):  # another system, or an old kernel
        return _Number()
    page[0] = 1
    return page


known = _mark()
"""``known[0]`` is true unless this process is a child that is not yet renewed."""

after_fork_in_c: list[Callable[[], object]] = []
"""Functions to call in such a child after the kernel is renewed, in this order."""

_first: dict[int, object] = {}  # by process id, a token of the first thread that renews it


def made_anew() -> bool:
    """Renew everything if this process is such a child; return whether it was.

    The calling thread must not hold a lock of chaospoint.
    """
    if known[0]:
        return False
    me = object()
    if _first.setdefault(getpid(), me) is not me:
        return False  # another thread is doing it
    try:
        if known[0]:
            return False  # another thread has done it
        known[0] = 1
        for begin in (fork.begin_anew, *after_fork_in_c):
            try:
                begin()
            except Exception:
                reporting.report_bug("renewing the state in a forked process")
        return True
    finally:
        _first.clear()


def _in_child() -> None:
    known[0] = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
