"""The lock for all changes of the armed rules, and the requests that wait for its release.

A function may carry points of several registries, so the registries share one lock.  It is never
held during an effect, an observer or other code of the program, except for the pure method
`effects` of fault kinds.  A call takes the lock in only two cases: to disarm a rule whose exception
cannot be found, and to patch, at its first call, a function that was decorated while armed.

Signal handlers may raise between any two steps of a change.  Handlers and finalizers may also arm
and disarm rules themselves.  Four rules make that safe:

* C code takes and releases `Lock`, so no handler runs between taking it and entering the block
  that releases it.
* A change runs in a copy of the context.  Points are transparent in that copy, so nothing has to
  be reset when the change ends.
* A thread never begins a change inside another one of its own.  A change that a handler attempts
  there becomes a request, which the same thread carries out after it releases the lock.
* The work that follows a change is recorded as a request *before* the change takes effect.  If the
  change is interrupted, the next opportunity completes it: the same thread when it leaves, the next
  change, or the housekeeper.
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
_iter = iter  # the builtin may become a point
_TRIES = 5  # after that a failing request is dropped, so that it does not fail every later change


if TYPE_CHECKING:

    class _RLock:
        """The methods that we use; the stubs of the type checker declare the C class final."""

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
        def release(self) -> None: ...
        def __exit__(self, *exc: object) -> None: ...
        def _is_owned(self) -> bool: ...
        def _at_fork_reinit(self) -> None: ...

else:
    from _thread import RLock as _RLock


class Lock(_RLock):
    """A reentrant lock that stays free if a signal handler raises at any moment.

    With a lock of the standard library, CPython 3.14 leaves it held if a handler raises between
    ``__enter__`` and the ``with`` block.  Here the step of the iteration takes the lock, and the
    interpreter handles no signals between that step and the block.  The C code of the base class
    releases it.

    Do not write a loop inside the block; call a function instead.  CPython excludes the jump from
    the end of an ``if`` to the start of its loop from the block, and handles signals there.
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
        """Free the lock in a forked child, where the thread that held it may not exist."""
        self._at_fork_reinit()


class Lease(Protocol):
    """Rules that are armed only while their owner exists."""

    def end(self) -> None:
        """Disarm them, after the owner was garbage-collected; may be called twice."""


class _Arming(Lock):
    def __init__(self) -> None:
        self._changing = False
        # The requests, in order, with the number of failed tries.  Assigning an item is atomic.
        self.requests: dict[Callable[[], object], int] = {}
        self._later: deque[Callable[[], object]] = deque()
        self._carrying_out: set[int] = set()  # ids of threads
        self.abandoned: deque[Lease] = deque()

    @property
    def lock(self) -> Lock:
        """The lock itself."""
        return self

    @property
    def nested(self) -> bool:
        """Whether this thread is inside a change, so that a handler or finalizer is running."""
        return self._changing and self._is_owned()

    def change(self, body: Callable[..., _T], *args: object) -> _T:
        """Run ``body`` under the lock, with every point transparent; then carry out requests.

        Raises `NotPermitted` inside another change of this thread.
        """
        if self.nested:
            raise NotPermitted(
                "a signal handler or a finalizer cannot arm while it interrupts another change of "
                "its own thread: arm before or after that change, or in another thread; disarm() "
                "and disable() work here"
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
        """Call ``call`` at least once after this thread has released the lock."""
        self.requests[call] = 0

    def soon(self, call: Callable[[], object]) -> None:
        """Call ``call`` now, or, if this thread is inside a change, right after the change."""
        if self.nested:
            self.request(call)
        else:
            call()

    def after_release(self, call: Callable[[], object]) -> None:
        """Call ``call`` now, or after this thread releases the lock if it holds it.

        Logging goes through here, because log handlers are code of the program.
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
            return  # called by a request; the loop that runs it continues
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
                if request in self.requests:  # otherwise another thread has completed it
                    self._carry_out(request)
            while self._later:
                try:
                    call = self._later.popleft()
                except IndexError:
                    break  # another thread took it
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
        """Free the lock in a forked child, where no other thread exists."""
        super().renew()
        self._changing = False
        self._later.clear()
        self._carrying_out.clear()


arming_lock = _Arming()


class Once:
    """A change that is made only once, and the work that follows it.

    Two threads may carry out the same request, one of them much later than the other.  The late one
    must not undo changes made since.  ``body`` runs under the lock; it returns a function to call
    after the release, or None.
    """

    __slots__ = ("_after", "_body", "_made")

    def __init__(self, body: Callable[[], Callable[[], object] | None]) -> None:
        self._body = body
        self._made = False
        self._after: deque[Callable[[], object]] = deque()

    def __call__(self) -> None:
        """Make the change unless it is already made, then do the work that follows."""
        arming_lock.change(self._make)
        while self._after:
            try:
                call = self._after.popleft()
            except IndexError:
                break  # another thread took it
            call()

    def _make(self) -> None:
        if not self._made:
            after = self._body()
            self._made = True
            if after is not None:
                self._after.append(after)
