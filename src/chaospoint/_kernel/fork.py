"""The hooks around a fork.

Before a fork, the threads of chaospoint end, and then its locks are taken.  So the child finds no
change half made, and no lock held by a thread that does not exist there.  In the child all counts
start from zero.  The threads start again in both processes.  A hook of the program that runs before
a fork must not wait for a thread that is arming a rule.

A signal handler may raise inside a hook, and Python only reports that.  So each hook completes its
work and raises the interruption afterwards.  ``_held`` lists the locks to release; the step that
takes a lock also adds it to the list.

`begin_anew` does the same work in a process that was forked in C, without these hooks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import partial
from operator import methodcaller
from typing import Protocol
from weakref import WeakSet

from chaospoint._kernel.lock import Lock, arming_lock

__all__ = ["Guard", "begin_anew", "engines", "guards"]


class Threads(Protocol):
    """Threads that end before a fork and start again after it."""

    def stop(self) -> None:
        """End them, wait until they have ended, and do not start them before `resume`."""

    def resume(self) -> object:
        """Allow them to start, and start them if there is work."""

    def renew(self) -> None:
        """Discard them and their locks, in a forked child."""


class Forked(Protocol):
    """The part of an engine that the hooks use."""

    @property
    def housekeeper(self) -> Threads:
        """The threads."""
        ...

    def restart(self) -> None:
        """Reset all counts in a forked child."""

    def flush(self) -> None:
        """Report the reaches since the last call to the observers."""

    def names(self, pattern: str) -> Collection[str]:
        """Return the names of the points that a name or glob matches."""
        ...


class Guard(Protocol):
    """A lock that is held over a fork and made anew in the child."""

    @property
    def lock(self) -> Lock:
        """The lock."""
        ...

    def renew(self) -> None:
        """Start with a fresh lock."""


engines: WeakSet[Forked] = WeakSet()
"""All engines of the process."""

guards: list[Guard] = [arming_lock]
"""The locks to hold during a fork, in the order in which they are taken."""

_forking = Lock()  # one fork at a time: the end of another one would start the threads again
_held: list[Lock] = []
_release = methodcaller("release")
_renewed = False  # whether the first of the two hooks has renewed this child


def _complete(*steps: Callable[[], object]) -> None:
    """Complete all steps; raise the exception that interrupted one of them at the end.

    The ``try`` statements are nested and not in a loop, because the interpreter handles signals
    where a loop jumps back to its start.
    """
    left = list(steps)
    try:
        _take(left)
    except BaseException:
        try:
            _take(left)
        except BaseException:
            try:
                _take(left)
            except BaseException:
                _take(left)
        raise


def _take(left: list[Callable[[], object]]) -> None:
    while left:
        left[0]()
        del left[0]


def _hold(lock: Lock) -> None:
    if any(held is lock for held in _held):
        return  # taken before an interruption
    for _ in iter(lock.acquire, None):  # no signal is handled between this line and the next
        _held.append(lock)
        return


def _take_turn() -> None:
    if not _forking.owned:
        for _ in iter(_forking.acquire, None):
            return


def _stop() -> None:
    for engine in _all_engines():
        engine.housekeeper.stop()


def _hold_all() -> None:
    for guard in tuple(guards):
        _hold(guard.lock)


def _release_all() -> None:
    try:
        for _ in map(
            _release, iter(_held.pop, None)
        ):  # pops and releases without a signal in between
            pass
    except IndexError:
        pass


def _resume() -> None:
    for engine in _all_engines():
        engine.housekeeper.resume()


def _end_turn() -> None:
    while _forking.owned:
        _forking.release()


def _all_engines() -> list[Forked]:
    with arming_lock:
        return list(engines)


def _before() -> None:
    global _renewed
    _renewed = False
    _complete(_take_turn, _stop, _hold_all)


def _in_parent() -> None:
    if _forking.owned:  # otherwise the first hook has done the work
        _complete(_release_all, _resume, _end_turn)


def _in_child() -> None:
    # If a lock is still held, then by this thread: a signal handler forked in the middle of one of
    # its changes, and this change continues in the child.
    _complete(_release_all, partial(_renew_locks, keep_own=True), _renew_engines)


def _in_child_again() -> None:
    # Comparing process ids would not do: in a new namespace a child may have that of its parent.
    if not _renewed:
        _in_child()


def _renew_locks(*, keep_own: bool) -> None:
    _forking.renew()
    for guard in tuple(guards):
        if not (keep_own and guard.lock.owned):
            guard.renew()


def _renew_engines() -> None:
    global _renewed
    for engine in list(engines):
        engine.housekeeper.renew()
        engine.restart()
        engine.housekeeper.resume()
    _renewed = True


def begin_anew() -> None:
    """Renew everything in a child that was forked without the hooks; call it without a lock."""
    _held.clear()  # the threads that held these locks do not exist here
    _complete(partial(_renew_locks, keep_own=False), _renew_engines)


# Each hook is registered twice.  A signal that arrived during the fork is handled where the first
# hook begins, and may end it before its first line; then the second one does the work.
if hasattr(os, "register_at_fork"):
    for in_child in (_in_child, _in_child_again):
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=in_child)
