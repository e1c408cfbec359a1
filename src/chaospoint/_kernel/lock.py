"""The lock under which what is armed changes, and the requests that wait until it is free.

One function may carry points of several registries, so there is one lock and not one for each.
It is never held across an effect, an observer or other foreign code, except the pure `effects` of
kinds.  A call takes it in two cases only: to disarm a rule that turns out to be impossible, and to
patch a function at its first call that was decorated while armed.

Signal handlers raise between any two steps of a change, and finalizers and handlers themselves
arm and disarm.  Four rules keep that safe:

* `Lock` is taken and released by C code, so no handler runs between taking it and the block that
  releases it.
* A change runs in a copy of the context.  The points are transparent in that copy, so nothing has
  to be undone when the change ends.
* A thread never enters a change in the middle of its own.  What comes in between leaves a request,
  which the same thread carries out as soon as it has released the lock.
* What has to happen after a change is noted as a request *before* the change takes effect.  An
  interrupted change is finished by the first thread that looks: the same one on its way out, the
  next change, or the housekeeper.
"""

from __future__ import annotations

from _thread import get_ident
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from chaospoint._kernel.context import transparently
from chaospoint.errors import NotPermitted

__all__ = ["Lease", "Lock", "Once", "arming_lock"]

_T = TypeVar("_T")
_iter = iter  # which may become a point
_TRIES = 5  # a request that fails each time must not fail every later change, too


if TYPE_CHECKING:

    class _RLock:
        """What is used of the class in C, which the type checker's stubs declare final."""

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
        def release(self) -> None: ...
        def __exit__(self, *exc: object) -> None: ...
        def _is_owned(self) -> bool: ...
        def _at_fork_reinit(self) -> None: ...

else:
    from _thread import RLock as _RLock


class Lock(_RLock):
    """A reentrant lock that no signal handler can leave held.

    ``with`` on a lock of the standard library leaks it on CPython 3.14 if a handler raises between
    ``__enter__`` and the block.  Here the lock is taken by the iteration itself, and the
    interpreter looks for signals neither there nor on the way back to the block; it is released by
    the C code of the base class.

    Call a function in the block rather than write a loop there: CPython leaves the jump from the
    end of an ``if`` to the beginning of its loop out of the block, and looks for signals at it.
    """

    def __enter__(self) -> bool:
        for _ in _iter(self.acquire, None):
            return True
        raise AssertionError("acquire() never returns None")

    @property
    def owned(self) -> bool:
        """Whether this thread holds the lock."""
        return self._is_owned()

    def renew(self) -> None:
        """Start afresh in a forked child, where the thread that held the lock may not exist."""
        self._at_fork_reinit()


class Lease(Protocol):
    """What is armed for as long as something exists."""

    def end(self) -> None:
        """Disarm it, now that its owner is gone; doing so twice does no harm."""


class _Arming(Lock):
    def __init__(self) -> None:
        self._changing = False
        # In order, and how often each failed.  A plain item assignment cannot be interrupted.
        self.requests: dict[Callable[[], object], int] = {}
        self._later: deque[Callable[[], object]] = deque()
        self._carrying_out: set[int] = set()  # the threads that do
        self.abandoned: deque[Lease] = deque()

    @property
    def lock(self) -> Lock:
        """The lock itself."""
        return self

    @property
    def nested(self) -> bool:
        """Whether a handler or finalizer runs in the middle of a change of this thread."""
        return self._changing and self._is_owned()

    def change(self, body: Callable[..., _T], *args: object) -> _T:
        """Run ``body`` under the lock, with every point transparent; then carry out requests.

        Raises `NotPermitted` in the middle of a change of this thread.
        """
        if self.nested:
            raise NotPermitted(
                "this thread is in the middle of another change of what is armed, which a signal "
                "handler or a finalizer has interrupted: arm before or after it, or in another "
                "thread; disarm() and disable() work here"
            )
        try:
            with self:
                try:
                    self._changing = True
                    return transparently(body, *args)
                finally:
                    self._changing = False
        finally:
            self.carry_out()

    def request(self, call: Callable[[], object]) -> None:
        """Have ``call`` called, at least once, by this thread when it has released the lock."""
        self.requests[call] = 0

    def soon(self, call: Callable[[], object]) -> None:
        """Call ``call`` now, or, in the middle of a change of this thread, right after that."""
        if self.nested:
            self.request(call)
        else:
            call()

    def after_release(self, call: Callable[[], object]) -> None:
        """Call ``call`` now, or after this thread releases the lock if it holds it.

        Logging goes through here, because handlers are foreign code.
        """
        if self._is_owned():
            self._later.append(call)
        else:
            call()

    def carry_out(self) -> None:
        """Carry out the requests, if this thread does not hold the lock."""
        if not (self.requests or self._later or self.abandoned) or self._is_owned():
            return
        me = get_ident()
        if me in self._carrying_out:
            return  # a request made a change, and the loop below goes on after it
        try:
            self._carrying_out.add(me)
            self._carry_out_all()
        finally:
            self._carrying_out.discard(me)

    def _carry_out_all(self) -> None:
        for lease in tuple(self.abandoned):
            self.request(lease.end)
            if lease in self.abandoned:
                self.abandoned.remove(lease)
        while self.requests or self._later:
            for request in tuple(self.requests):
                if request in self.requests:  # else another thread has finished it
                    self._carry_out(request)
            while self._later:
                try:
                    call = self._later.popleft()
                except IndexError:
                    break  # another thread was quicker
                call()

    def _carry_out(self, request: Callable[[], object]) -> None:
        try:
            request()
        except BaseException:
            tries = self.requests.get(request, 0) + 1
            if tries < _TRIES:
                self.requests[request] = tries
            else:
                self.requests.pop(request, None)
            raise
        self.requests.pop(request, None)

    def renew(self) -> None:
        """Start afresh in a forked child, where no other thread exists."""
        super().renew()
        self._changing = False
        self._later.clear()
        self._carrying_out.clear()


arming_lock = _Arming()


class Once:
    """A change to make now or on request, and what to do after it; it is made one time only.

    Two threads may carry out the same request, and one of them late.  Its change must not undo
    what was armed since.  ``body`` runs under the lock and returns what to do after it, or None.
    """

    __slots__ = ("_after", "_body", "_made")

    def __init__(self, body: Callable[[], Callable[[], object] | None]) -> None:
        self._body = body
        self._made = False
        self._after: deque[Callable[[], object]] = deque()

    def __call__(self) -> None:
        """Make the change unless it was made, and do what is left to do after it."""
        arming_lock.change(self._make)
        while self._after:
            try:
                call = self._after.popleft()
            except IndexError:
                break  # another thread was quicker
            call()

    def _make(self) -> None:
        if not self._made:
            after = self._body()
            self._made = True
            if after is not None:
                self._after.append(after)
