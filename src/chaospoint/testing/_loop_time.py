"""The event loops of asyncio see skipped seconds as passed, each from when it is first seen.

A loop that asks for its own time while a skipping clock is in use gets a time of its own: the
machine's, and what was skipped since. It keeps that for as long as it lives, so its time never
goes back, and what was set while seconds were skipped comes when it is due. A loop that is no
`asyncio.BaseEventLoop`, or has a time of its own already, is left alone.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import AbstractEventLoop, BaseEventLoop
from collections.abc import Callable, Collection, Iterator
from math import inf
from threading import Event
from weakref import WeakKeyDictionary, ref

from chaospoint._clock import settle

__all__ = ["LoopTime", "loop_time"]

_ROUNDS = 50  # of a loop that is never idle, after which it counts as idle
_SLICE = 0.01


class LoopTime:
    """What was skipped in this process, and the loops that know of it."""

    def __init__(self) -> None:
        self.skipped = 0.0  # seconds, ever; the pacer adds to it
        self._own: Callable[[BaseEventLoop], float] | None = None  # asyncio's, while it is replaced
        self._seen: dict[int, ref[BaseEventLoop]] = {}  # changed in single steps, so without a lock
        self._looks: WeakKeyDictionary[BaseEventLoop, _Look] = WeakKeyDictionary()

    def start(self) -> None:
        """See every loop that asks for its time from now on, and the one that runs here."""
        if self._own is None:
            self._own = BaseEventLoop.time
            BaseEventLoop.time = _first_time  # type: ignore[assignment, method-assign]
        self.see(asyncio._get_running_loop())

    def stop(self) -> None:
        """See no further loops; those for which nothing was skipped get their own time back."""
        if self._own is not None:
            BaseEventLoop.time = self._own  # type: ignore[assignment, method-assign]
            self._own = None
        for key, seen in list(self._seen.items()):
            loop = seen()
            kept = None if loop is None else vars(loop).get("time")
            if loop is None or not isinstance(kept, _Time):
                self._seen.pop(key, None)
            elif loop.is_closed() or kept.began == self.skipped:
                self._seen.pop(key, None)
                del vars(loop)["time"]

    def see(self, loop: AbstractEventLoop | None) -> None:
        """Have the time of ``loop`` go on with what is skipped, if that can be."""
        if not isinstance(loop, BaseEventLoop) or type(loop).time is not _first_time:
            return
        if self._own is not None and "time" not in vars(loop):
            vars(loop)["time"] = _Time(loop, self._own, self.skipped)
            self._seen[id(loop)] = ref(loop)

    def own(self, loop: BaseEventLoop) -> float:
        """Return what the loop's time is without us."""
        return time.monotonic() if self._own is None else self._own(loop)

    def wake(self) -> None:
        """Have the loops look at their timers."""
        for loop in self._running():
            _call(loop, _nothing)

    def next_timer(
        self, blocked: Collection[object], patience: float, moot: Callable[[], bool]
    ) -> float:
        """Wait until nothing is ready on any loop; return the seconds to the first timer of all.

        Loops that are ``blocked`` are not asked. One that has not answered ``patience`` seconds
        after it was asked is passed over until it has. Nobody is waited for once it is ``moot``.
        """
        asked: list[tuple[BaseEventLoop, _Look]] = []
        for loop in self._running():
            if loop in blocked:
                continue
            look = self._looks.get(loop)
            if look is None or look.done.is_set():
                look = self._looks[loop] = _Look()
                _call(loop, look)
            asked.append((loop, look))
        for loop, look in asked:
            while not look.done.wait(_SLICE):
                late = time.monotonic() > look.asked + patience
                if late or not loop.is_running() or moot():
                    break
        return min((look.left for _, look in asked if look.done.is_set()), default=inf)

    def renew(self) -> None:
        """Ask anew, in a forked child."""
        self._looks = WeakKeyDictionary()

    def _running(self) -> Iterator[BaseEventLoop]:
        for seen in list(self._seen.values()):
            loop = seen()
            if loop is not None and loop.is_running():
                yield loop


class _Time:
    """The time of one loop."""

    def __init__(
        self, loop: BaseEventLoop, own: Callable[[BaseEventLoop], float], began: float
    ) -> None:
        self._loop = ref(loop)  # or the loop would hold itself
        self._own = own
        self.began = began

    def __call__(self) -> float:
        loop = self._loop()
        own = time.monotonic() if loop is None else self._own(loop)
        return own + loop_time.skipped - self.began


class _Look:
    """Looks, on the thread of a loop, for its first timer, once nothing is ready there."""

    def __init__(self) -> None:
        self.asked = time.monotonic()
        self.done = Event()
        self.left = inf
        self._rounds = 0

    def __call__(self) -> None:
        loop = asyncio.get_running_loop()
        self._rounds += 1
        if getattr(loop, "_ready", ()) and self._rounds < _ROUNDS:
            loop.call_soon(self)
            return
        now = loop.time()
        for timer in getattr(loop, "_scheduled", ()):
            # Our own waits, which have ends elsewhere or go by the machine's time.
            if not timer.cancelled() and timer._callback is not settle:
                self.left = min(self.left, timer.when() - now)
        self.done.set()


def _first_time(loop: BaseEventLoop) -> float:
    """Stand in for `BaseEventLoop.time` until the loop has a time of its own."""
    loop_time.see(loop)
    kept = vars(loop).get("time")
    return loop_time.own(loop) if kept is None else kept()


def _nothing() -> None:
    """Do nothing but wake the loop."""


def _call(loop: AbstractEventLoop, call: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        pass  # it was closed in between


loop_time = LoopTime()
