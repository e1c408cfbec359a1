"""What happens around a fork, in one order: chaospoint's threads end, then its locks are held.

So a child finds nothing half built and no lock held by a thread that it does not have.  In the
child every rule starts anew, and the threads start again in both processes.  A hook of the host
that runs before a fork must not wait for a thread that is arming something.

A signal handler may raise in the middle of a hook, and Python only reports that.  Each hook is
finished all the same, and raises what interrupted it when it is done.  What it has to undo stands
in ``_held``, where each lock is noted by the same step that takes it.

A process that was forked in C, without these hooks, is made anew by `begin_anew`.
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
    """Threads that end before a fork, and start again after it."""

    def stop(self) -> None:
        """End them and wait until they are gone; `resume` lets them start again."""

    def resume(self) -> object:
        """Allow them again, and start them if there is anything to do."""

    def renew(self) -> None:
        """Forget them and their locks, in a forked child."""


class Forked(Protocol):
    """What has threads to end, and rules that start anew in a child."""

    @property
    def housekeeper(self) -> Threads:
        """The threads."""
        ...

    def restart(self) -> None:
        """Begin anew in a forked child."""

    def flush(self) -> None:
        """Tell the observers of the reaches since this was done last."""

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
"""What is looked after over a fork."""

guards: list[Guard] = [arming_lock]
"""The locks to hold, in the order in which they are taken."""

_forking = Lock()  # a second thread that forks would find the threads running again
_held: list[Lock] = []
_release = methodcaller("release")
_made_anew = False  # this child was, by the first of its two hooks


def _surely(*steps: Callable[[], object]) -> None:
    """Take each step to its end, and raise what interrupted one of them when all are done.

    The tries are nested, because the interpreter looks for signals where a loop begins again.
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
        return  # it was taken before an interruption
    for _ in iter(lock.acquire, None):  # nothing comes between the two lines
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
        for _ in map(_release, iter(_held.pop, None)):  # nothing comes between the two
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
    global _made_anew
    _made_anew = False
    _surely(_take_turn, _stop, _hold_all)


def _in_parent() -> None:
    if _forking.owned:  # else the first hook did it all, and another thread may fork already
        _surely(_release_all, _resume, _end_turn)


def _in_child() -> None:
    # A lock that is still held is held by this thread: a signal handler forked in the middle of
    # one of its changes, and that goes on in the child.
    _surely(_release_all, partial(_renew_locks, keep_own=True), _renew_engines)


def _in_child_again() -> None:
    # The numbers of processes say nothing: a child may have that of its parent in a new namespace.
    if not _made_anew:
        _in_child()


def _renew_locks(*, keep_own: bool) -> None:
    _forking.renew()
    for guard in tuple(guards):
        if not (keep_own and guard.lock.owned):
            guard.renew()


def _renew_engines() -> None:
    global _made_anew
    for engine in list(engines):
        engine.housekeeper.renew()
        engine.restart()
        engine.housekeeper.resume()
    _made_anew = True


def begin_anew() -> None:
    """Make everything anew in a child that was forked without the hooks; call it under no lock."""
    _held.clear()  # of threads that do not exist here
    _surely(partial(_renew_locks, keep_own=False), _renew_engines)


# Once, because a module is imported once; and each hook twice, because the signals that came during
# the fork are handled where the next function begins, and that one does nothing then.
if hasattr(os, "register_at_fork"):
    for in_child in (_in_child, _in_child_again):
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=in_child)
