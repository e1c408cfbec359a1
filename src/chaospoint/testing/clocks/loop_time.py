"""The event loops of asyncio see skipped seconds as passed, each from when it is first seen.

A loop that asks for its own time while a skipping clock is in use gets a time of its own: the
machine's, and what was skipped since. It keeps that for as long as it lives, so its time never
goes back, and what was set while seconds were skipped comes when it is due. A loop that is no
`asyncio.BaseEventLoop`, or has a time of its own already, is left alone; so are all of them where
somebody else has replaced `BaseEventLoop.time`.
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
    """What was skipped in this process, and the loops that know of it."""

    def __init__(self) -> None:
        self.skipped = 0.0  # seconds, ever; the pacer adds to it
        self._in_use = False
        self._seen: dict[int, ref[BaseEventLoop]] = {}  # changed in single steps, so without a lock
        self._looks: WeakKeyDictionary[BaseEventLoop, _Look] = WeakKeyDictionary()

    def start(self) -> None:
        """See every loop that asks for its time from now on, and the one that runs here."""
        self._in_use = True
        _inherit(_own_time)
        if BaseEventLoop.time is _own_time:
            BaseEventLoop.time = _first_time  # type: ignore[assignment, method-assign]
        self.see(asyncio._get_running_loop())

    def stop(self) -> None:
        """See no further loops; those for which nothing was skipped get their own time back."""
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
        """Have the time of ``loop`` go on with what is skipped, if that can be."""
        if not isinstance(loop, BaseEventLoop) or type(loop).time is not _first_time:
            return
        if self._in_use and "time" not in vars(loop):
            vars(loop)["time"] = _Time(loop, self.skipped)
            self._seen[id(loop)] = ref(loop)

    def wake(self) -> None:
        """Have the loops look at their timers."""
        for loop in self._running():
            _call(loop, _nothing)

    def next_timer(self, blocked: _Blocked, moot: Callable[[], bool]) -> float | None:
        """Wait until nothing is ready on any loop; return the seconds to the first timer of all.

        None if work is under way in the default executor of a loop. Loops that are ``blocked`` are
        not asked, and threads that are do no work. What is still ready or under way after some
        `Patience` is waited for no longer, and a loop that shows nothing for so long is passed over
        until it does. Nobody is waited for once it is ``moot``.
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
        """Ask anew, in a forked child."""
        self._looks = WeakKeyDictionary()

    def _running(self) -> Iterator[BaseEventLoop]:
        for seen in list(self._seen.values()):
            loop = seen()
            if loop is not None and loop.is_running():
                yield loop


class _Time:
    """The time of one loop."""

    def __init__(self, loop: BaseEventLoop, began: float) -> None:
        self._loop = ref(loop)  # or the loop would hold itself
        self.began = began

    def __call__(self) -> float:
        loop = self._loop()
        own = monotonic() if loop is None else _own_time(loop)
        return own + loop_time.skipped - self.began


class _Look:
    """Looks, on the thread of one loop, for its first timer, once nothing is ready there."""

    def __init__(self) -> None:
        self.done = Event()
        self.done.set()
        self.silence = Patience()  # begins anew whenever the loop shows that it goes on
        self._patience = Patience()
        self._work = _Work()

    def begin(self, blocked: _Blocked) -> None:
        """Make ready to be called on the loop, again and again until it is ``done``."""
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
        """Look; return whether to come again."""
        self.silence.begin()
        ready, patient = getattr(loop, "_ready", ()), self._patience.lasts()
        if not (ready and patient):  # work that ends has made something ready before
            self.working = self._work.goes_on(loop, self._blocked)
        if ready and patient:
            return True
        now = loop.time()
        for timer in getattr(loop, "_scheduled", ()):
            # Our own waits, which have ends elsewhere or go by the machine's time.
            if not timer.cancelled() and getattr(timer, "_callback", None) is not settle:
                self.left = min(self.left, timer.when() - now)
        return False


class _Work:
    """What is under way in the default executor of one loop, as far as that can be known."""

    def __init__(self) -> None:
        self._given_up = 0.0  # threads that have gone on for too long, such as a server's
        self._waiting = False  # for more than these
        self._patience = Patience()

    def goes_on(self, loop: AbstractEventLoop, blocked: _Blocked) -> bool:
        """Return whether a thread works that is not ``blocked``, while the patience lasts."""
        executor = getattr(loop, "_default_executor", None)
        idle = getattr(getattr(executor, "_idle_semaphore", None), "_value", inf)
        waiting = blocked()  # after `idle`, so that nobody counts as both
        threads = [one for one in list(getattr(executor, "_threads", ())) if one not in waiting]
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
    """Have the kinds of loops inherit ``time`` again.

    freezegun puts what it found back into the kind of loop that it froze, where it hides the time
    of `BaseEventLoop`.
    """
    kinds: list[type[BaseEventLoop]] = BaseEventLoop.__subclasses__()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if vars(kind).get("time") is time:
            del kind.time


def _first_time(loop: BaseEventLoop) -> float:
    """Stand in for `BaseEventLoop.time` until the loop has a time of its own."""
    loop_time.see(loop)
    kept = vars(loop).get("time")
    return _own_time(loop) if kept is None else kept()


def _nothing() -> None:
    """Do nothing but wake the loop."""


def _call(loop: AbstractEventLoop, call: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        pass  # it was closed in between


loop_time = LoopTime()
