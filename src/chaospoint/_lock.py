"""The one lock under which things are armed, disarmed and patched.

One function may carry points of several registries, so there is one lock and not one for each.
It is never held across an effect, an observer or any other foreign code, and nobody takes it on
the way of a call.  Around a fork it is held, so that the child finds nothing half built, and made
anew in the child.
"""

from __future__ import annotations

from threading import RLock

__all__ = ["arming"]


class _Arming:
    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Start with a fresh lock: in a forked child the old one may be held by nobody."""
        self._lock = RLock()


arming = _Arming()
