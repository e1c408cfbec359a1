"""The two drivers: the only places that sleep or raise, and they differ only by ``await``.

Both tell the observers first and act after that.  They raise what was asked for, and let Ctrl-C,
cancellation and time limits of the host pass; after a bug in chaospoint the call goes through.  So
the code that waits stands outside of the code that catches our bugs.  No lock is held anywhere
here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from copy import deepcopy
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, cast

from chaospoint._kernel import process, reporting
from chaospoint._kernel.allowance import Allowance
from chaospoint._kernel.armed_rule import Pause, end_late, looked_up
from chaospoint._kernel.bell import Bell, TaskBell
from chaospoint._kernel.binding import waits
from chaospoint._kernel.context import (
    agenerated_transparently,
    atransparently,
    context_copied,
    generated_transparently,
    in_chaospoint,
    transparently,
)
from chaospoint._kernel.effects import Hold, Raise, Return, Run, Sleep
from chaospoint._kernel.ending import ending, executor_of_a_loop
from chaospoint._kernel.injection import Injection, mark
from chaospoint._kernel.reporting import log
from chaospoint._kernel.takes import NO_ARGUMENTS
from chaospoint._kernel.tally import OPEN, Slot

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from chaospoint._kernel.binding import Action, Binding
    from chaospoint._kernel.effects import Step
    from chaospoint._kernel.takes import Arguments, Given

__all__ = ["Answer", "adrive", "drive"]

__tracebackhide__ = True  # pytest shows the line of the host's that was hit, and not ours

Answer = tuple[object]
"""What the call is to return instead of being made."""


def drive(
    binding: Binding,
    ordinal: int,
    slot: Slot | None = None,
    given: Given | None = None,
    spent: list[float] | None = None,
) -> Answer | None:
    """Act on a firing in this thread; return an answer that replaces the call, or None.

    Without a ``slot`` it takes one, and nothing happens if there is none for this ordinal.
    ``given``: the arguments of the call, if a function of the rule asks for them. ``spent``: what
    the firings of this call have used up of their limits.
    """
    try:
        injection, slot, steps, error, answer = context_copied().run(
            _prepare, binding, ordinal, slot, given
        )
        if steps and not _take_steps(binding, steps, injection, given, spent):
            return None
        if error is None:
            return _computed(binding, answer, given) if type(answer) is Return else answer
        try:
            raise error
        finally:
            del error  # or this frame and the traceback would hold each other
    finally:
        if slot is not None and slot is not OPEN:
            slot.release()


async def adrive(
    binding: Binding,
    ordinal: int,
    slot: Slot | None = None,
    given: Given | None = None,
    spent: list[float] | None = None,
) -> Answer | None:
    """Act on a firing in this task; else as `drive`."""
    try:
        injection, slot, steps, error, answer = context_copied().run(
            _prepare, binding, ordinal, slot, given, in_task=True
        )
        if steps and not await _atake_steps(binding, steps, injection, given, spent):
            return None
        if error is None:
            return await _acomputed(binding, answer, given) if type(answer) is Return else answer
        try:
            raise error
        finally:
            del error
    finally:
        if slot is not None and slot is not OPEN:
            slot.release()


# On CPython 3.12 to 3.14 what a signal handler raises where a loop begins again can miss the `try`
# around that loop.  So a loop whose `try` gives something back has a function of its own.


def _take_steps(
    binding: Binding,
    steps: tuple[Step, ...],
    injection: Injection,
    given: Given | None,
    spent: list[float] | None,
) -> bool:
    """Take the steps of a firing on this thread; return False if the rule was disarmed."""
    allowance = _allowance(binding, spent)
    try:
        for step in allowance.cut_all(steps) if allowance else steps:
            if type(step) is Run:
                _run(step, injection, given)
            elif not _rest(binding, step):
                return False
    finally:
        if allowance:
            allowance.cut(None)
    return True


async def _atake_steps(
    binding: Binding,
    steps: tuple[Step, ...],
    injection: Injection,
    given: Given | None,
    spent: list[float] | None,
) -> bool:
    """Take the steps of a firing in this task; else as `_take_steps`."""
    allowance = _allowance(binding, spent, in_task=True)
    try:
        for step in allowance.cut_all(steps) if allowance else steps:
            if type(step) is Run:
                await _arun(step, injection, given)
            elif not await _arest(binding, step):
                return False
    finally:
        if allowance:
            allowance.cut(None)
    return True


def _allowance(
    binding: Binding, spent: list[float] | None, *, in_task: bool = False
) -> Allowance | None:
    """Return what the limits leave to a firing that begins now, or None where there are none."""
    bounds = binding.rule.terms.bounds
    if bounds is None:
        return None
    clock = binding.rule.runtime.clock
    loop = asyncio._get_running_loop() if in_task else None
    now = clock.monotonic if loop is None else partial(clock.time_in, loop)
    return Allowance(bounds, now, spent)


_Prepared = tuple[Injection, Slot, tuple["Step", ...], BaseException | None, Answer | Return | None]
_NO_INJECTION = Injection("", "", "", 0, "", None, None)


def _prepare(
    binding: Binding, ordinal: int, slot: Slot | None, given: Given | None, in_task: bool = False
) -> _Prepared:
    """Make the outcome, count the injection, tell the observers; what is left is to act.

    All of our own code that a firing runs is in here, so that a bug of it cannot be taken for
    what was asked for.  It has to run in a copy of the context, in which it makes points
    transparent.  Most firings raise a constant exception: they call nothing on their way that can
    be said in a line or two.
    """
    rule, point = binding.rule, binding.point
    in_chaospoint.set(True)
    try:
        if slot is None:
            if not process.known[0] and process.made_anew():
                ordinal = next(rule.tally.ordinals)
            if rule.why is not None or (
                (at := rule.deadline) is not None and rule.runtime.now() >= at and end_late(rule)
            ):
                return _nothing(slot)
            if rule.resolve is not None and not looked_up(rule):
                return _nothing(slot)
            if (slot := rule.tally.take(ordinal)) is None:
                return _nothing(slot)
        fault, latency, exception, steps, effect = binding.constant or binding.act(ordinal)
        if steps and in_task and not _can_wait(steps):
            fault, latency, exception, steps, effect = _without_waits(binding, ordinal)
        if not fault:
            return _nothing(slot)
        error: BaseException | None = None
        answer: Answer | Return | None = None
        if effect is not None:
            try:
                if type(effect) is Raise:
                    error = effect.build() if given is None else _built(effect, given)
                    if type(error) is not binding.raised:
                        exception = _name(error, effect, binding)
                else:
                    answer = _answer(effect)
            except Exception:
                reporting.report_bug(
                    f"making what {point!r} is to raise or return", _UNMADE, foreign=True
                )
                return _nothing(slot)
        if rule.why is not None or (
            (rule.excluded or (rule.deadline is not None and binding.kind != "function"))
            and not rule.acts_at(point)
        ):
            return _nothing(slot)  # disarmed since, as where a coroutine was made before
        injection = _new(
            Injection, (point, fault, binding.shown, ordinal, rule.source, latency, exception)
        )
        if error is not None:
            mark(error, injection, binding.note)
        rule.latest_ordinal = ordinal
        for nth in rule.tally.fired:  # noqa: B007 - takes one, cheaper than next()
            break
        # The numbers never end, so there is one.
        told = iter(rule.runtime.observe if nth > 1 else rule.runtime.observe_first)  # pyright: ignore[reportPossiblyUnboundVariable]
        while True:
            try:
                for observe in told:
                    observe(injection)
                break
            except Exception:  # the loop goes on behind the one that raised
                reporting.report_bug(f"an observer at {point!r}", _UNTOLD, foreign=True)
        if rule.watchers:
            rule.watched()
        return injection, slot, steps, error, answer
    except BaseException as failure:
        if slot is not None and slot is not OPEN:
            slot.release()
        if not isinstance(failure, Exception):
            raise  # Ctrl-C
        reporting.report_bug(f"injecting at {point!r}")
        return _nothing(slot)


def _nothing(slot: Slot | None) -> _Prepared:
    return _NO_INJECTION, OPEN if slot is None else slot, (), None, None


_new = tuple.__new__  # what the class makes of it costs thrice as much
_UNMADE = "the call goes through without chaos, uncounted: mend the rule's exception or value"
_UNTOLD = "the injection happens all the same: mend the observer"


_CONTROL_FLOW = (StopIteration, StopAsyncIteration, GeneratorExit)


def _name(made: object, effect: Raise, binding: Binding) -> str:
    """Return the name of an exception's type, if it can be injected."""
    if not isinstance(made, BaseException) or isinstance(made, _CONTROL_FLOW):
        raise TypeError(f"{made!r} is no exception that can be injected")
    kind = type(made)
    if binding.constant and kind.__name__ == effect.name:
        binding.raised = kind  # what it was asked for, so the next needs no look
    return kind.__name__


def _built(effect: Raise, given: Given) -> BaseException:
    args, kwargs = _handed(effect, given)
    return effect.build(*args, **kwargs)


def _handed(effect: Run | Raise | Return, given: Given | None) -> Arguments:
    if given is None or not effect.with_arguments:
        return NO_ARGUMENTS[:2]
    return given[:2] if effect.takes is None else effect.takes.handed(given)


def _answer(effect: Return) -> Answer | Return:
    if effect.make is not None:
        return effect  # it is asked when all delays are over
    return (deepcopy(effect.value) if effect.copy else effect.value,)


def _computed(binding: Binding, effect: Return, given: Given | None) -> Answer:
    """Return the answer of the rule's own function.

    Points are transparent in that function, so it may call the patched function for the real
    answer.
    """
    return transparently(lambda: _fitting(binding, _compute(effect, given)))


async def _acomputed(binding: Binding, effect: Return, given: Given | None) -> Answer:
    return transparently(_fitting, binding, await atransparently(_compute, effect, given))


def _compute(effect: Return, given: Given | None) -> object:
    assert effect.make is not None
    args, kwargs = _handed(effect, given)
    return effect.make(*args, **kwargs)


def _fitting(binding: Binding, answer: object) -> Answer:
    needed = _ITERABLE.get(binding.kind, ())
    if needed and not any(hasattr(type(answer), name) for name in needed):
        raise TypeError(
            f"the function of {binding.shown} returned {answer!r}, and {binding.point!r} is at a "
            f"{binding.kind}: return an iterable, whose items are yielded"
        )
    if isinstance(answer, GeneratorType):  # its code runs later, and points are transparent in it
        return (generated_transparently(answer),)
    if isinstance(answer, AsyncGeneratorType):
        return (agenerated_transparently(answer),)
    return (answer,)


_ITERABLE = {"generator": ("__iter__",), "async generator": ("__iter__", "__aiter__")}


def _run(step: Run, injection: Injection, given: Given | None) -> None:
    args, kwargs = _handed(step, given)
    step.call(injection, *args, **kwargs)


async def _arun(step: Run, injection: Injection, given: Given | None) -> None:
    args, kwargs = _handed(step, given)
    ran = step.call(injection, *args, **kwargs)
    if step.needs_await:
        await cast("Awaitable[object]", ran)


def _rest(binding: Binding, step: Sleep | Hold) -> bool:
    """Sleep on this thread; return False if the rule was disarmed here before the end."""
    stay = _Stay(binding, step, bell := Bell(), None)
    try:
        _wait(stay, bell, busy=type(step) is Sleep and step.busy)
    finally:
        try:
            stay.end()
        except BaseException:  # a signal handler raised in it
            stay.end()
            raise
    return stay.completed


async def _arest(binding: Binding, step: Sleep | Hold) -> bool:
    """Sleep in this task; return False if the rule was disarmed here before the end."""
    if type(step) is Sleep and step.busy:
        return _rest(binding, step)
    bell = TaskBell(asyncio.get_running_loop())
    stay = _Stay(binding, step, bell, bell.loop)
    try:
        await _await(stay, bell)
    finally:
        try:
            stay.end()
        except BaseException:  # a signal handler raised in it
            stay.end()
            raise
    return stay.completed


def _wait(stay: _Stay, bell: Bell, *, busy: bool) -> None:
    while stay.goes_on():
        if busy:
            for _ in _SPIN:
                pass
        else:
            stay.clock.wait(bell, stay.left)


async def _await(stay: _Stay, bell: TaskBell) -> None:
    while stay.goes_on():
        await stay.clock.await_(bell, stay.left)


_SPIN = range(2_000)  # some tens of microseconds


class _Stay:
    """One call that is made to wait: what may end that, and when it is over.

    It looks and does not wait, so a bug in it can be caught: the call then goes on.
    """

    __slots__ = (
        "_begun",
        "_bell",
        "_binding",
        "_deadline",
        "_executor",
        "_late",
        "_loop",
        "_pause",
        "_step",
        "clock",
        "completed",
        "left",
    )

    def __init__(
        self,
        binding: Binding,
        step: Sleep | Hold,
        bell: Bell | TaskBell,
        loop: AbstractEventLoop | None,
    ) -> None:
        self._binding = binding
        self._step = step
        self._bell = bell
        self.clock = binding.rule.runtime.clock  # the engine's may change in the middle
        self._loop = loop
        self._pause: Pause | None = None
        self._deadline: float | None = None
        self._begun = False
        self._executor: Any = None
        self._late = ending.has_begun
        self.left: float | None = None  # seconds to wait from now; None: without end
        self.completed = False  # it lasted as long as asked

    def goes_on(self) -> bool:
        """Look whether to wait, once more and for `left`."""
        try:
            return transparently(self._look)
        except Exception:
            reporting.report_bug(f"waiting at {self._binding.point!r}")
            return False

    def end(self) -> None:
        """Need no waking any more."""
        self._binding.rule.sleepers.discard(self._bell.set)
        ending.discard(self._bell.set)
        if self._pause is not None:
            self._binding.rule.paused.discard(self._pause)

    def _look(self) -> bool:
        rule, point, step = self._binding.rule, self._binding.point, self._step
        if self._begun:
            self._bell.clear()
        turn = not self._begun and self._begin()
        self._begun = True
        rule.sleepers.add(self._bell.set)  # first: disarming from here on wakes this call
        if self._pause is not None and self._pause.released:
            self.completed = True  # also if it was disarmed since: the rest acts
            return False
        if not rule.acts_at(point) or self._is_cut_off():
            next(rule.interruptions)
            return False
        if turn:
            self.left = 0.0
            return True
        if self._deadline is not None:
            self.left = self._deadline - self._now()
            self.completed = self.left <= 0
        elif step.seconds is not None:  # the turn was given up
            self.completed = True
        return not self.completed

    def _begin(self) -> bool:
        """Note down when it ends; return whether it only gives up the turn once."""
        binding, step = self._binding, self._step
        ending.add(self._bell.set)
        self._executor = self._loop is None and executor_of_a_loop()
        if type(step) is Hold and step.releasable:
            self._pause = Pause(binding.point, self._bell.set)
            binding.rule.paused.add(self._pause)
            binding.rule.watched()
        if type(step) is Hold and step.seconds == 0.0:
            return True
        if step.seconds is not None:
            self._deadline = self._now() + step.seconds
        if (
            self._loop is None
            and not (type(step) is Sleep and step.busy)
            and asyncio._get_running_loop() is not None
        ):
            _say_once(
                binding.point,
                "%r delays a thread that runs an event loop, and so every task of it: "
                "decorate a coroutine, or use 'async with' or 'ahit'",
            )
        return False

    def _now(self) -> float:
        return self.clock.monotonic() if self._loop is None else self.clock.time_in(self._loop)

    def _is_cut_off(self) -> bool:
        """Whether the end of the program ends this wait: a later one only if it is a hold."""
        if (self._executor and self._executor._shutdown) or (ending.has_begun and not self._late):
            return True
        if not ending.has_begun or type(self._step) is Sleep:
            return False
        _say_once(
            self._binding.point,
            "%r holds no call any more: the main thread has ended, and the process ends when its "
            "other threads do",
        )
        return True


def _can_wait(steps: tuple[Step, ...]) -> bool:
    """Whether what a firing does in a task can be done: waiting needs asyncio's loop."""
    return asyncio._get_running_loop() is not None or not any(map(waits, steps))


def _without_waits(binding: Binding, ordinal: int) -> Action:
    """Return what of a firing can act in a coroutine that asyncio does not run; say what cannot."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        reporting.report_bug(f"waiting at {binding.point!r}", _NO_LOOP)
    return binding.act_without_waits(ordinal)


_NO_LOOP = (
    "latency and holds act only in tasks of asyncio's event loop, so the call goes through without "
    "them and they are not counted: run the code under asyncio, or arm an exception or a `delay`"
)

_said: set[tuple[str, str]] = set()


def _say_once(point: str, message: str) -> None:
    if (point, message) not in _said:
        _said.add((point, message))
        log(logging.WARNING, message, point)
