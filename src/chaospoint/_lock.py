"""The one lock under which things are armed, disarmed and patched.

One function may carry points of several registries, so there is one lock and not one for each.
It is never held across an effect, an observer or any other foreign code but the pure `effects` of
kinds.  A call takes it in two cases alone: to disarm a rule that turns out impossible, and to patch
a function at its first call that was decorated while armed.
Around a fork it is held, so that the child finds nothing half built, and made anew in the child.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from threading import RLock, get_ident

from chaospoint._inside import inside

__all__ = ["arming"]


class _Arming:
    __slots__ = ("_depth", "_later", "_lock", "_owner", "_token")

    _later: list[Callable[[], None]]

    def __init__(self) -> None:
        self._token: Token[bool] | None = None
        self.renew()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1
        self._owner = get_ident()
        if self._depth == 1:
            # A finalizer may come in the middle, and must not reach what is half built.
            self._token = inside.set(True)

    def __exit__(self, *exc: object) -> None:
        self._depth -= 1
        later = []
        if self._depth == 0:
            self._owner = 0
            later, self._later = self._later, []
            self._reset()
        self._lock.release()
        for call in later:
            call()

    def later(self, call: Callable[[], None]) -> None:
        """Have ``call`` called once this thread has let go of the lock; at once if it has not got
        it.  What writes to the log does it so: a handler is foreign code.
        """
        if self._owner == get_ident():
            self._later.append(call)
        else:
            call()

    def _reset(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            inside.reset(token)

    def renew(self) -> None:
        """Start with a fresh lock: in a forked child the old one may be held by nobody."""
        self._reset()
        self._lock = RLock()
        self._depth = 0
        self._owner = 0
        self._later = []


arming = _Arming()
