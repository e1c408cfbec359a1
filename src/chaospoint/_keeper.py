"""The one thread of the kernel: it expires rules and flushes counts, and only while any is armed.

It starts with the first armed rule and ends by itself when a look finds none; a rule's deadline
may thus be met late by what the machine's scheduler takes, and counts are a second old at most.
"""

from __future__ import annotations

import logging
from math import inf
from threading import Thread, current_thread
from typing import TYPE_CHECKING

from chaospoint import _bug
from chaospoint._bell import Bell
from chaospoint._inside import inside
from chaospoint._lock import Lock, arming
from chaospoint._say import say
from chaospoint._start import Start

if TYPE_CHECKING:
    from chaospoint._board import Board

__all__ = ["Keeper"]

_SECONDS_BETWEEN_FLUSHES = 1.0
_UNKEPT = "what is armed acts, and does not expire until something else is armed"


class Keeper:
    """Looks after one board."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._lock = Lock()
        self._look = Bell()
        self._thread: Thread | None = None
        self._starts: list[Start] = []  # an older one may be there for a moment longer
        self._stopping = False
        self._fresh = False  # something was armed since the thread looked
        self._wakes_at = inf  # while the thread is awake, or there is none

    def start(self, deadline: float = inf) -> None:
        """Look after what was armed just now, the first of which expires at ``deadline``."""
        try:
            with self._lock:
                start = self._called(deadline)
            if start is not None:
                start.finish()
        except RuntimeError:
            say(logging.ERROR, "no thread could be started to look after rules: %s", _UNKEPT)

    def _called(self, deadline: float) -> Start | None:
        """Have the thread look, or return the start of a new one."""
        self._fresh = True
        last = self._starts[-1] if self._starts else None
        if last is not None and last.error is not None:
            self._thread = None
        if self._thread is None and not self._stopping:
            thread = Thread(target=self._run, name="chaospoint-keeper", daemon=True)
            start = Start(thread)
            self._starts = [*(older for older in self._starts if not older.over), start]
            start.begin()
            self._thread = thread  # one whose start is interrupted before this ends at once
            return start
        if deadline < self._wakes_at:
            self._look.set()  # waking a thread costs more than arming does
        return None

    def stop(self) -> None:
        """End the thread and wait until it is gone; `resume` lets it start again."""
        with self._lock:
            self._stopping = True
            self._look.set()
        for start in self._starts:
            if start.thread is not current_thread():
                start.join(1.0)  # an observer may be waiting for what the forking thread holds

    def resume(self) -> None:
        """Allow the thread again after `stop`, and start it if anything is armed."""
        with self._lock:
            self._stopping = False
        if self._board.rules():
            self.start()

    def renew(self) -> None:
        """Forget thread and locks, in a forked child; `resume` starts a thread again."""
        self._lock, self._look = Lock(), Bell()
        self._thread, self._starts = None, []

    def _run(self) -> None:
        inside.set(True)
        while True:
            with self._lock:
                if self._thread is not current_thread():
                    return  # starting it was interrupted, and another one runs or will
                self._look.clear()
                self._fresh, self._wakes_at = False, inf
            for duty in (
                arming.carry_out,
                self._board.expire,
                self._board.remind,
                self._board.flush,
            ):
                try:
                    duty()
                except BaseException:  # an observer may raise SystemExit, which ends nothing here
                    _bug.report("looking after armed rules")
            rules = self._board.rules()
            deadlines = [rule.deadline for rule in rules if rule.deadline is not None]
            with self._lock:
                if self._stopping or not (rules or self._fresh):
                    self._thread = None
                    return
                now = self._board.clock.monotonic()
                until = self._wakes_at = min([now + _SECONDS_BETWEEN_FLUSHES, *deadlines])
            self._board.timer.wait(self._look, max(0.0, until - now))
