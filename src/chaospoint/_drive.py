"""The two drivers: the only places that sleep or raise, and they differ only by ``await``.

Both tell the observers first and act after that.  They raise what was asked for, and let Ctrl-C
and cancellation pass; a bug of ours ends in the call going through.  No lock is held anywhere
here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from copy import deepcopy
from threading import Event

from chaospoint import _bug
from chaospoint._aim import Aim, Firing
from chaospoint._clock import settle
from chaospoint._effects import Hold, Raise, Return, Sleep
from chaospoint._injection import Injection, mark
from chaospoint._inside import inside
from chaospoint._say import say

__all__ = ["Answer", "adrive", "drive"]

Answer = tuple[object]
"""What the call is to return instead of being made."""


def drive(firing: Firing) -> Answer | None:
    """Act on a firing in this thread; return an answer that replaces the call, or None."""
    waits, outcome = _prepare(firing)
    for wait in waits:
        if not _rest(firing[0], wait.seconds):
            return None
    if isinstance(outcome, BaseException):
        try:
            raise outcome
        finally:
            del outcome  # or this frame and the traceback would hold each other
    return outcome


async def adrive(firing: Firing) -> Answer | None:
    """Act on a firing in this task; return an answer that replaces the call, or None."""
    waits, outcome = _prepare(firing)
    for wait in waits:
        if not await _arest(firing[0], wait.seconds):
            return None
    if isinstance(outcome, BaseException):
        try:
            raise outcome
        finally:
            del outcome
    return outcome


_Prepared = tuple[tuple[Sleep | Hold, ...], BaseException | Answer | None]
_NOTHING: _Prepared = ((), None)


def _prepare(firing: Firing) -> _Prepared:
    """Make the outcome, count the injection, tell the observers; what is left is to act.

    All of our own code that a firing runs is in here, so that a bug of it cannot be taken for
    what was asked for.
    """
    aim, ordinal = firing
    rule = aim.rule
    token = inside.set(True)
    try:
        if not rule.acts_at(aim.point):
            return _NOTHING  # a coroutine or generator that was made before disarming
        fault, latency, exception, waits, effect = aim.act(ordinal)
        if not fault:
            return _NOTHING
        outcome = None if effect is None else _make(effect, aim.point)
        if outcome is None and effect is not None:
            return _NOTHING
        record = (aim.point, fault, rule.shown, ordinal, rule.source, latency, exception)
        injection = tuple.__new__(Injection, record)
        if isinstance(outcome, BaseException):
            mark(outcome, injection, aim.note)
        home = rule.home
        _tell(home.observe_first if next(rule.tally.fired) == 1 else home.observe, injection)
        if rule.watchers:
            rule.watched()
        return waits, outcome
    except Exception:
        _bug.report(f"injecting at {aim.point!r}")
        return _NOTHING
    finally:
        inside.reset(token)


def _make(effect: Raise | Return, point: str) -> BaseException | Answer | None:
    try:
        if type(effect) is Raise:
            return effect.build()
        return (deepcopy(effect.value) if effect.copy else effect.value,)
    except Exception:
        _bug.report(
            f"making what {point!r} is to raise or return",
            "the call goes through without chaos, uncounted: mend the rule's exception or value",
        )
        return None


def _tell(observers: Iterable[Callable[[Injection], None]], injection: Injection) -> None:
    told = iter(observers)
    while True:
        try:
            for observe in told:
                observe(injection)
            return
        except Exception:  # the loop goes on behind the one that raised
            _bug.report(
                f"an observer at {injection.point!r}",
                "the injection happens all the same: mend the observer",
            )


def _rest(aim: Aim, seconds: float | None) -> bool:
    """Sleep on this thread; return False if the rule was disarmed here before the end."""
    rule, clock, woken = aim.rule, aim.rule.home.clock, Event()
    try:
        if asyncio._get_running_loop() is not None:
            _say_once(
                aim.point,
                "%r delays a thread that runs an event loop, and so every task of it: "
                "decorate a coroutine, or use 'async with' or 'ahit'",
            )
        deadline = None if seconds is None else clock.monotonic() + seconds
        while True:
            rule.sleepers.add(woken.set)  # first: who disarms after the next line wakes us
            if not rule.acts_at(aim.point):
                rule.interrupt()
                return False
            left = None if deadline is None else deadline - clock.monotonic()
            if left is not None and left <= 0:
                return True
            clock.wait(woken, left)
            woken.clear()
    except Exception:
        _bug.report(f"waiting at {aim.point!r}")
        return False
    finally:
        rule.sleepers.discard(woken.set)


async def _arest(aim: Aim, seconds: float | None) -> bool:
    """Sleep in this task; return False if the rule was disarmed here before the end."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        _bug.report(
            f"waiting at {aim.point!r}",
            "the call goes through: only asyncio's event loop is supported for latency and hangs",
        )
        return False
    rule, clock = aim.rule, aim.rule.home.clock
    woken: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        loop.call_soon_threadsafe(settle, woken)

    try:
        deadline = None if seconds is None else clock.monotonic() + seconds
        while True:
            rule.sleepers.add(wake)
            if not rule.acts_at(aim.point):
                rule.interrupt()
                return False
            left = None if deadline is None else deadline - clock.monotonic()
            if left is not None and left <= 0:
                return True
            await clock.await_(woken, left)
            woken = loop.create_future()
    except Exception:
        _bug.report(f"waiting at {aim.point!r}")
        return False
    finally:
        rule.sleepers.discard(wake)


_said: set[str] = set()


def _say_once(point: str, message: str) -> None:
    if point not in _said:
        _said.add(point)
        say(logging.WARNING, message, point)
