"""Let asyncio event loops see skipped seconds as passed.

The first time a loop asks for its time while a skipping clock is in use, it gets its own ``time``
method: real time plus the seconds skipped since then. If seconds are skipped, it keeps that method
for its whole life, so that its time never goes back and its timers fire when they are due. Loops
that are not an `asyncio.BaseEventLoop`, or that have another ``time`` method, do not change. No
loop changes if other code has replaced `BaseEventLoop.time`.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, BaseEventLoop
from collections.abc import Callable, Collection, Iterator
from math import inf
from threading import Event
from weakref import WeakKeyDictionary, ref

from chaospoint._kernel import reporting
from chaospoint._kernel.bell import settle
from chaospoint._kernel.clock import monotonic
from chaospoint.testing.clocks.patience import Patience

__all__ = ["LoopTime", "loop_time"]

_Blocked = Callable[[], Collection[object]]

_SLICE = 0.01
_own_time = BaseEventLoop.time


class LoopTime:
    """The seconds skipped in this process, and the loops that see them."""

    def __init__(self) -> None:
        self.skipped = 0.0  # seconds in all; the pacer adds to it
        self._in_use = False
        self._seen: dict[int, ref[BaseEventLoop]] = {}  # each change is atomic, so no lock
        self._looks: WeakKeyDictionary[BaseEventLoop, _Look] = WeakKeyDictionary()

    def start(self) -> None:
        """Include the loop of this thread, and each loop that asks for its time from now on."""
        self._in_use = True
        _inherit(_own_time)
        if BaseEventLoop.time is _own_time:
            BaseEventLoop.time = _first_time  # type: ignore[assignment, method-assign]
        self.see(asyncio._get_running_loop())

    def stop(self) -> None:
        """Include no further loops; loops for which nothing was skipped get their own time back."""
        self._in_use = False
        _inherit(_first_time)
        if BaseEventLoop.time is _first_time:
            BaseEventLoop.time = _own_time  # type: ignore[method-assign]
        for key, seen in list(self._seen.items()):
            loop = seen()
            kept = None if loop is None else vars(loop).get("time")
            if loop is None or not isinstance(kept, _Time):
                self._seen.pop(key, None)
            elif loop.is_closed() or kept.began == self.skipped:
                self._seen.pop(key, None)
                del vars(loop)["time"]

    def see(self, loop: AbstractEventLoop | None) -> None:
        """Let the time of ``loop`` include skipped seconds, if the loop supports it."""
        if not isinstance(loop, BaseEventLoop) or type(loop).time is not _first_time:
            return
        if self._in_use and "time" not in vars(loop):
            vars(loop)["time"] = _Time(loop, self.skipped)
            self._seen[id(loop)] = ref(loop)

    def wake(self) -> None:
        """Let the loops check their timers."""
        for loop in self._running():
            _call(loop, _nothing)

    def next_timer(self, blocked: _Blocked, moot: Callable[[], bool]) -> float | None:
        """Wait until nothing is ready on any loop; return the seconds to the first timer.

        Returns None if the default executor of a loop is working. Loops in ``blocked`` are ignored,
        and threads in it do not count as working. Each wait ends after a `Patience`; a loop that
        does not answer within one is ignored until it answers. ``moot``: stop waiting once this
        returns True.
        """
        asked: list[tuple[BaseEventLoop, _Look]] = []
        passed = blocked()
        for loop in self._running():
            if loop in passed:
                continue
            look = self._looks.get(loop)
            if look is None:
                look = self._looks[loop] = _Look()
            if look.done.is_set():
                look.begin(blocked)
                _call(loop, look)
            asked.append((loop, look))
        for loop, look in asked:
            while not look.done.wait(_SLICE):
                if not look.silence.lasts() or not loop.is_running() or moot():
                    break
        answers = [look for _, look in asked if look.done.is_set()]
        if any(look.working for look in answers):
            return None
        return min((look.left for look in answers), default=inf)

    def renew(self) -> None:
        """Forget all requests in a forked child."""
        self._looks = WeakKeyDictionary()

    def _running(self) -> Iterator[BaseEventLoop]:
        for seen in list(self._seen.values()):
            loop = seen()
            if loop is not None and loop.is_running():
                yield loop


class _Time:
    """The ``time`` method of one loop."""

    def __init__(self, loop: BaseEventLoop, began: float) -> None:
        self._loop = ref(loop)  # weak, because the loop refers to this object
        self.began = began

    def __call__(self) -> float:
        loop = self._loop()
        own = monotonic() if loop is None else _own_time(loop)
        return own + loop_time.skipped - self.began


class _Look:
    """Finds the first timer of a loop, on the loop's own thread, when nothing is ready there."""

    def __init__(self) -> None:
        self.done = Event()
        self.done.set()
        self.silence = Patience()  # starts again each time the loop runs this
        self._patience = Patience()
        self._work = _Work()

    def begin(self, blocked: _Blocked) -> None:
        """Prepare to be called on the loop repeatedly, until ``done`` is set."""
        self.done.clear()
        self.left, self.working = inf, False
        self._blocked = blocked
        self.silence.begin()
        self._patience.begin()

    def __call__(self) -> None:
        loop, again = asyncio.get_running_loop(), False
        try:
            again = self._look(loop)
        except Exception:
            reporting.report_bug(
                "looking at an event loop", "its timers are not seen when time is skipped"
            )
        finally:
            if again:
                loop.call_soon(self)
            else:
                self.done.set()

    def _look(self, loop: AbstractEventLoop) -> bool:
        """Look for the first timer; return whether to look again."""
        self.silence.begin()
        ready, patient = getattr(loop, "_ready", ()), self._patience.lasts()
        if not (ready and patient):  # finished work would have made a callback ready
            self.working = self._work.goes_on(loop, self._blocked)
        if ready and patient:
            return True
        now = loop.time()
        for timer in getattr(loop, "_scheduled", ()):
            # Skip chaospoint's own waits: the clocks handle them, or they use real time.
            if not timer.cancelled() and getattr(timer, "_callback", None) is not settle:
                self.left = min(self.left, timer.when() - now)
        return False


class _Work:
    """Whether the default executor of a loop is working, as far as can be seen from outside."""

    def __init__(self) -> None:
        self._given_up = 0.0  # the number of threads that work for too long, such as servers
        self._waiting = False  # for more threads than these
        self._patience = Patience()

    def goes_on(self, loop: AbstractEventLoop, blocked: _Blocked) -> bool:
        """Return whether a thread that is not ``blocked`` works, until the patience ends."""
        executor = getattr(loop, "_default_executor", None)
        idle = getattr(getattr(executor, "_idle_semaphore", None), "_value", inf)
        waiting = blocked()  # after `idle`, so that no thread counts twice
        pool = list(getattr(executor, "_threads", ()))
        threads = [thread for thread in pool if thread not in waiting]
        busy = max(0.0, len(threads) - idle)
        self._given_up = min(self._given_up, busy)
        if busy == self._given_up:
            self._waiting = False
            return False
        if not self._waiting:
            self._waiting = True
            self._patience.begin()
        if self._patience.lasts():
            return True
        self._given_up, self._waiting = busy, False
        return False


def _inherit(time: Callable[[BaseEventLoop], float]) -> None:
    """Let subclasses of `BaseEventLoop` inherit ``time`` again.

    freezegun restores the method by setting it on the subclass, where it hides a replacement of
    `BaseEventLoop.time`.
    """
    loop_types: list[type[BaseEventLoop]] = BaseEventLoop.__subclasses__()
    while loop_types:
        loop_type = loop_types.pop()
        loop_types += loop_type.__subclasses__()
        if vars(loop_type).get("time") is time:
            del loop_type.time


def _first_time(loop: BaseEventLoop) -> float:
    """Replace `BaseEventLoop.time` until the loop has its own ``time`` method."""
    loop_time.see(loop)
    kept = vars(loop).get("time")
    return _own_time(loop) if kept is None else kept()


def _nothing() -> None:
    """Do nothing; the call itself wakes the loop."""


def _call(loop: AbstractEventLoop, call: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        pass  # the loop was closed meanwhile


loop_time = LoopTime()
