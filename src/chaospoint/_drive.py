"""The two drivers: the only places that sleep or raise, and they differ only by ``await``.

Both tell the observers first and act after that.  They raise what was asked for, and let Ctrl-C
and cancellation pass; a bug of ours ends in the call going through.  No lock is held anywhere
here.
"""

from __future__ import annotations

import asyncio
import logging
from copy import deepcopy
from threading import Event

from chaospoint import _bug
from chaospoint._clock import settle
from chaospoint._effects import Effect, Hold, Raise, Return, Sleep
from chaospoint._epoch import Aim, Firing
from chaospoint._injection import Injection, mark
from chaospoint._inside import inside

__all__ = ["Answer", "adrive", "drive"]

_log = logging.getLogger("chaospoint")

_WAITS = (Sleep, Hold)

Answer = tuple[object]
"""What the call is to return instead of being made."""


def drive(firing: Firing) -> Answer | None:
    """Act on a firing in this thread; return an answer that replaces the call, or None."""
    aim, ordinal = firing
    injection, effects = _tell(aim, ordinal)
    for effect in effects:
        if isinstance(effect, _WAITS):
            if not _rest(aim, effect.seconds):
                return None
        elif (outcome := _outcome(aim, effect, injection)) is None:
            return None
        elif isinstance(outcome, BaseException):
            try:
                raise outcome
            finally:
                del outcome  # or this frame and the traceback would hold each other
        else:
            return outcome
    return None


async def adrive(firing: Firing) -> Answer | None:
    """Act on a firing in this task; return an answer that replaces the call, or None."""
    aim, ordinal = firing
    injection, effects = _tell(aim, ordinal)
    for effect in effects:
        if isinstance(effect, _WAITS):
            if not await _arest(aim, effect.seconds):
                return None
        elif (outcome := _outcome(aim, effect, injection)) is None:
            return None
        elif isinstance(outcome, BaseException):
            try:
                raise outcome
            finally:
                del outcome
        else:
            return outcome
    return None


def _tell(aim: Aim, ordinal: int) -> tuple[Injection | None, tuple[Effect, ...]]:
    """Count the injection and tell the observers; from here on it has happened."""
    token = inside.set(True)
    try:
        injection, effects = aim.at(ordinal)
        if injection is None:
            return None, ()
        rule = aim.rule
        next(rule.tally.fired)
        observers = iter(rule.home.observe)
        while True:
            try:
                for observe in observers:
                    observe(injection)
                break
            except Exception:
                _bug.report(f"an observer of {aim.point!r}", "mend the observer")
        if rule.watchers:
            rule.watched()
        return injection, effects
    except Exception:
        _bug.report(f"injecting at {aim.point!r}")
        return None, ()
    finally:
        inside.reset(token)


def _outcome(
    aim: Aim, effect: Raise | Return, injection: Injection | None
) -> BaseException | Answer | None:
    """Make what the caller gets: a fresh exception, or the answer; None if that cannot be made."""
    token = inside.set(True)
    try:
        if isinstance(effect, Return):
            return (deepcopy(effect.value) if effect.copy else effect.value,)
        exception = effect.build()
        if injection is not None:
            mark(exception, injection, aim.note)
        return exception
    except Exception:
        _bug.report(f"making the outcome at {aim.point!r}", "mend the rule's exception or value")
        return None
    finally:
        inside.reset(token)


def _rest(aim: Aim, seconds: float | None) -> bool:
    """Sleep on this thread; return False if the rule was disarmed here before the end."""
    if asyncio._get_running_loop() is not None:
        _say_once(
            aim.point,
            "%r delays a thread that runs an event loop, and so every task of it: "
            "decorate a coroutine, or use 'async with' or 'ahit'",
        )
    rule, clock, woken = aim.rule, aim.rule.home.clock, Event()
    try:
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
        _bug.report(f"waiting at {aim.point!r}", "only asyncio's event loop is supported")
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
        _log.warning(message, point)
