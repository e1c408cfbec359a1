"""The two drivers: the only places that sleep or raise, and they differ only by ``await``.

Both tell the observers first and act after that.  They raise what was asked for, and let Ctrl-C
and cancellation pass; a bug of ours ends in the call going through.  No lock is held anywhere
here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from copy import deepcopy
from threading import Event
from typing import TYPE_CHECKING, cast

from chaospoint import _bug
from chaospoint._aim import looked_up
from chaospoint._clock import settle
from chaospoint._effects import Hold, Raise, Return, Run, Sleep
from chaospoint._epoch import Pause
from chaospoint._injection import Injection, mark
from chaospoint._inside import inside
from chaospoint._say import say
from chaospoint._tally import OPEN, Slot

if TYPE_CHECKING:
    from chaospoint._aim import Aim
    from chaospoint._effects import Step

__all__ = ["Answer", "adrive", "drive"]

__tracebackhide__ = True  # pytest shows the line of the host's that was hit, and not ours

Answer = tuple[object]
"""What the call is to return instead of being made."""


def drive(aim: Aim, ordinal: int, slot: Slot | None = None) -> Answer | None:
    """Act on a firing in this thread; return an answer that replaces the call, or None.

    Without a ``slot`` it takes one, and nothing happens if there is none for this ordinal.
    """
    injection, slot, steps, outcome = _prepare(aim, ordinal, slot)
    try:
        for step in steps:
            if isinstance(step, Run):
                _run(step, injection)
            elif not _rest(aim, step):
                return None
        if outcome is None or isinstance(outcome, tuple):
            return outcome
        try:
            raise outcome
        finally:
            del outcome  # or this frame and the traceback would hold each other
    finally:
        if slot is not OPEN:
            slot.release()


async def adrive(aim: Aim, ordinal: int, slot: Slot | None = None) -> Answer | None:
    """Act on a firing in this task; else as `drive`."""
    injection, slot, steps, outcome = _prepare(aim, ordinal, slot)
    try:
        for step in steps:
            if isinstance(step, Run):
                await _arun(step, injection)
            elif not await _arest(aim, step):
                return None
        if outcome is None or isinstance(outcome, tuple):
            return outcome
        try:
            raise outcome
        finally:
            del outcome
    finally:
        if slot is not OPEN:
            slot.release()


_Prepared = tuple[Injection, Slot, tuple["Step", ...], BaseException | Answer | None]
_NO_INJECTION = Injection("", "", "", 0, "", None, None)


def _prepare(aim: Aim, ordinal: int, slot: Slot | None) -> _Prepared:
    """Make the outcome, count the injection, tell the observers; what is left is to act.

    All of our own code that a firing runs is in here, so that a bug of it cannot be taken for
    what was asked for.  Most firings raise a constant exception: they call nothing on their way
    that can be said in a line or two.
    """
    rule, point, before = aim.rule, aim.point, inside.get()
    try:  # not after the flag is set: Ctrl-C may come between
        inside.set(True)
        if slot is None:
            if rule.why is not None or (rule.resolve is not None and not looked_up(rule)):
                return _nothing(slot)
            if (slot := rule.tally.take(ordinal)) is None:
                return _nothing(slot)
        fault, latency, exception, steps, effect = aim.constant or aim.act(ordinal)
        if not fault:
            return _nothing(slot)
        outcome: BaseException | Answer | None = None
        if effect is not None:
            try:
                if type(effect) is Raise:
                    outcome = effect.build()
                    if type(outcome) is not aim.raised:
                        exception = _name(outcome, effect, aim)
                else:
                    outcome = _answer(effect)
            except Exception:
                _bug.report(f"making what {point!r} is to raise or return", _UNMADE)
                return _nothing(slot)
        if rule.why is not None or (rule.excluded and not rule.acts_at(point)):
            return _nothing(slot)  # disarmed since, as where a coroutine was made before
        injection = _new(
            Injection, (point, fault, aim.shown, ordinal, rule.source, latency, exception)
        )
        if isinstance(outcome, BaseException):
            mark(outcome, injection, aim.note)
        rule.latest = ordinal
        for nth in rule.tally.fired:  # noqa: B007 - takes one, cheaper than next()
            break
        told = iter(rule.home.observe if nth > 1 else rule.home.observe_first)
        while True:
            try:
                for observe in told:
                    observe(injection)
                break
            except Exception:  # the loop goes on behind the one that raised
                _bug.report(f"an observer at {point!r}", _UNTOLD)
        if rule.watchers:
            rule.watched()
        return injection, slot, steps, outcome
    except Exception:
        _bug.report(f"injecting at {point!r}")
        return _nothing(slot)
    except BaseException:  # Ctrl-C
        if slot is not None:
            slot.release()
        raise
    finally:
        inside.set(before)


def _nothing(slot: Slot | None) -> _Prepared:
    return _NO_INJECTION, OPEN if slot is None else slot, (), None


_new = tuple.__new__  # what the class makes of it costs thrice as much
_UNMADE = "the call goes through without chaos, uncounted: mend the rule's exception or value"
_UNTOLD = "the injection happens all the same: mend the observer"


_CONTROL_FLOW = (StopIteration, StopAsyncIteration, GeneratorExit)


def _name(made: object, effect: Raise, aim: Aim) -> str:
    """Return the name of an exception's type, if it can be injected."""
    if not isinstance(made, BaseException) or isinstance(made, _CONTROL_FLOW):
        raise TypeError(f"{made!r} is no exception that can be injected")
    kind = type(made)
    if aim.constant and kind.__name__ == effect.name:
        aim.raised = kind  # what it was asked for, so the next needs no look
    return kind.__name__


def _answer(effect: Return) -> Answer:
    return (deepcopy(effect.value) if effect.copy else effect.value,)


def _run(step: Run, injection: Injection) -> None:
    step.call(injection)


async def _arun(step: Run, injection: Injection) -> None:
    ran = step.call(injection)
    if step.needs_await:
        await cast("Awaitable[object]", ran)


def _rest(aim: Aim, step: Sleep | Hold) -> bool:
    """Sleep on this thread; return False if the rule was disarmed here before the end."""
    rule, clock, woken = aim.rule, aim.rule.home.clock, Event()
    seconds, busy = step.seconds, isinstance(step, Sleep) and step.busy
    pause: Pause | None = None
    try:
        pause = _pause(aim, step, woken.set)
        if isinstance(step, Hold) and seconds == 0.0:
            clock.wait(woken, 0.0)
        elif not busy and asyncio._get_running_loop() is not None:
            _say_once(
                aim.point,
                "%r delays a thread that runs an event loop, and so every task of it: "
                "decorate a coroutine, or use 'async with' or 'ahit'",
            )
        deadline = None if seconds is None else clock.monotonic() + seconds
        while True:
            rule.sleepers.add(woken.set)  # first: who disarms after the next line wakes us
            if pause is not None and pause.released:
                return True  # also if it was disarmed since: the rest acts
            if not rule.acts_at(aim.point):
                next(rule.interruptions)
                return False
            left = None if deadline is None else deadline - clock.monotonic()
            if left is not None and left <= 0:
                return True
            if not busy:
                clock.wait(woken, left)
                woken.clear()
    except Exception:
        _bug.report(f"waiting at {aim.point!r}")
        return False
    finally:
        rule.sleepers.discard(woken.set)
        if pause is not None:
            rule.paused.discard(pause)


async def _arest(aim: Aim, step: Sleep | Hold) -> bool:
    """Sleep in this task; return False if the rule was disarmed here before the end."""
    if isinstance(step, Sleep) and step.busy:
        return _rest(aim, step)
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

    seconds = step.seconds
    pause: Pause | None = None
    try:
        pause = _pause(aim, step, wake)
        if isinstance(step, Hold) and seconds == 0.0:
            await clock.await_(woken, 0.0)
            woken = loop.create_future()
        deadline = None if seconds is None else clock.monotonic() + seconds
        while True:
            rule.sleepers.add(wake)
            if pause is not None and pause.released:
                return True  # also if it was disarmed since: the rest acts
            if not rule.acts_at(aim.point):
                next(rule.interruptions)
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
        if pause is not None:
            rule.paused.discard(pause)


def _pause(aim: Aim, step: Sleep | Hold, wake: Callable[[], None]) -> Pause | None:
    """Note down a call that is to be held until it is released."""
    if not (isinstance(step, Hold) and step.releasable):
        return None
    pause = Pause(aim.point, wake)
    aim.rule.paused.add(pause)
    aim.rule.watched()
    return pause


_said: set[str] = set()


def _say_once(point: str, message: str) -> None:
    if point not in _said:
        _said.add(point)
        say(logging.WARNING, message, point)
