"""The one thread of the kernel: it expires rules and flushes counts, and only while any is armed.

It starts with the first armed rule and ends by itself when a look finds none; a rule's deadline
may thus be met late by what the machine's scheduler takes, and counts are a second old at most.
"""

from __future__ import annotations

import logging
from math import inf
from threading import RLock, Thread, current_thread
from typing import TYPE_CHECKING

from chaospoint import _bug
from chaospoint._bell import Bell
from chaospoint._say import say

if TYPE_CHECKING:
    from chaospoint._board import Board

__all__ = ["Keeper"]

_SECONDS_BETWEEN_FLUSHES = 1.0
_UNKEPT = "what is armed acts, and does not expire until something else is armed"


class Keeper:
    """Looks after one board."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._lock = RLock()  # a signal handler that arms may come in the middle
        self._look = Bell()
        self._thread: Thread | None = None
        self._last: Thread | None = None  # what was started last, whether it runs or not
        self._stopping = False
        self._fresh = False  # something was armed since the thread looked
        self._wakes_at = inf  # while the thread is awake, or there is none

    def start(self, deadline: float = inf) -> None:
        """Look after what was armed just now, the first of which expires at ``deadline``."""
        failed = False
        with self._lock:
            self._fresh = True
            if self._thread is None and not self._stopping:
                self._join_last()
                self._thread = Thread(target=self._run, name="chaospoint-keeper", daemon=True)
                self._last = self._thread
                try:
                    self._thread.start()
                except RuntimeError:
                    self._thread = self._last = None
                    failed = True
            elif deadline < self._wakes_at:
                self._look.set()  # waking a thread costs more than arming does
        if failed:
            say(logging.ERROR, "no thread could be started to look after rules: %s", _UNKEPT)

    def stop(self) -> None:
        """End the thread and wait until it is gone; `resume` lets it start again."""
        with self._lock:
            self._stopping = True
            self._look.set()
        self._join_last(1.0)  # an observer may be waiting for what the forking thread holds

    def _join_last(self, timeout: float | None = None) -> None:
        # Also where it has said that it ends: it is there for a moment longer.
        if self._last is not None and self._last is not current_thread():
            self._last.join(timeout)

    def resume(self) -> None:
        """Allow the thread again after `stop`, and start it if anything is armed."""
        with self._lock:
            self._stopping = False
        if self._board.rules():
            self.start()

    def renew(self) -> None:
        """Forget thread and locks, in a forked child; `resume` starts a thread again."""
        self._lock, self._look = RLock(), Bell()
        self._thread = self._last = None

    def _run(self) -> None:
        while True:
            with self._lock:
                self._look.clear()
                self._fresh, self._wakes_at = False, inf
            try:
                self._board.expire()
                self._board.remind()
                self._board.flush()
            except Exception:
                _bug.report("looking after armed rules")
            rules = self._board.rules()
            with self._lock:
                if self._stopping or not (rules or self._fresh):
                    self._thread = None
                    return
                now = self._board.clock.monotonic()
                deadlines = [rule.deadline for rule in rules if rule.deadline is not None]
                until = self._wakes_at = min([now + _SECONDS_BETWEEN_FLUSHES, *deadlines])
            self._board.timer.wait(self._look, max(0.0, until - now))
