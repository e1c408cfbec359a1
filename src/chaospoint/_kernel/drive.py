"""The two drivers, which carry out a firing: `drive` in a thread, `adrive` in a task.

Only they wait and raise, and they differ only by ``await``.  They inform the observers first, then
act, and hold no lock.

Three kinds of exceptions must not be confused: the injected one, exceptions that the program throws
into a wait (Ctrl-C, cancellation, time limits), and bugs of chaospoint.  The first two leave the
driver unchanged; after a bug the call continues without the fault.  So `_prepare` contains all code
that catches bugs, and ends before the waits and the ``raise``.
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

__tracebackhide__ = True  # pytest then shows the line of the program that called

Answer = tuple[object]
"""The value to return instead of making the call, in a tuple, because it may be None."""


def drive(
    binding: Binding,
    ordinal: int,
    slot: Slot | None = None,
    given: Given | None = None,
    spent: list[float] | None = None,
) -> Answer | None:
    """Carry out a firing in this thread; return an answer that replaces the call, or None.

    If ``slot`` is None, it takes a slot, and does nothing if the ordinal does not fire.
    ``given``: the arguments of the call, if a function of the rule needs them. ``spent``: the
    seconds of their limits that the firings of this call have used.
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
            del error  # avoids a reference cycle of this frame and the traceback
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
    """Carry out a firing in this task; otherwise like `drive`."""
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


# On CPython 3.12 to 3.14, an exception that a signal handler raises where a loop jumps back to its
# start can escape the `try` around that loop.  So a loop stands in a function of its own if a `try`
# has to release something after it.


def _take_steps(
    binding: Binding,
    steps: tuple[Step, ...],
    injection: Injection,
    given: Given | None,
    spent: list[float] | None,
) -> bool:
    """Take the steps of a firing in this thread; return False if the rule was disarmed."""
    allowance = _allowance(binding, spent)
    try:
        for step in allowance.cut_all(steps) if allowance else steps:
            if type(step) is Run:
                _run(step, injection, given)
            elif not _wait(binding, step):
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
    """Take the steps of a firing in this task; otherwise like `_take_steps`."""
    allowance = _allowance(binding, spent, in_task=True)
    try:
        for step in allowance.cut_all(steps) if allowance else steps:
            if type(step) is Run:
                await _arun(step, injection, given)
            elif not await _await(binding, step):
                return False
    finally:
        if allowance:
            allowance.cut(None)
    return True


def _allowance(
    binding: Binding, spent: list[float] | None, *, in_task: bool = False
) -> Allowance | None:
    """Return the allowance of a firing that begins now, or None if it has no limits."""
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
    """Build the outcome, count the injection and inform the observers; the caller then acts.

    It catches bugs of chaospoint, so code that waits or raises on purpose must not be in here.
    Call it in a copy of the context, because it makes points transparent and does not reset that.
    Most firings raise a constant exception, so small helpers are written inline here to keep that
    path short.
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
                    f"building the exception or value for {point!r}", _NOT_BUILT, foreign=True
                )
                return _nothing(slot)
        if rule.why is not None or (
            (rule.excluded or (rule.deadline is not None and binding.kind != "function"))
            and not rule.acts_at(point)
        ):
            return _nothing(slot)  # disarmed after the reach, for example before a first await
        injection = _new(
            Injection, (point, fault, binding.shown, ordinal, rule.source, latency, exception)
        )
        if error is not None:
            mark(error, injection, binding.note)
        rule.latest_ordinal = ordinal
        for nth in rule.tally.fired:  # noqa: B007 - takes one number, cheaper than next()
            break
        # The numbers never end, so `nth` is set.
        observers = iter(rule.runtime.observe if nth > 1 else rule.runtime.observe_first)  # pyright: ignore[reportPossiblyUnboundVariable]
        while True:
            try:
                for observe in observers:
                    observe(injection)
                break
            except Exception:  # the iterator continues after the observer that raised
                reporting.report_bug(f"an observer at {point!r}", _NOT_OBSERVED, foreign=True)
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


_new = tuple.__new__  # a third of the time that calling the class takes
_NOT_BUILT = "the call continues without a fault, uncounted: correct the rule's exception or value"
_NOT_OBSERVED = "the injection happens nevertheless: correct the observer"


_CONTROL_FLOW = (StopIteration, StopAsyncIteration, GeneratorExit)


def _name(error: object, effect: Raise, binding: Binding) -> str:
    """Return the name of the type of ``error``; raise `TypeError` if it cannot be injected."""
    if not isinstance(error, BaseException) or isinstance(error, _CONTROL_FLOW):
        raise TypeError(f"{error!r} is not an exception that can be injected")
    kind = type(error)
    if binding.constant and kind.__name__ == effect.name:
        binding.raised = kind  # the next exception of this type needs no check
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
        return effect  # its function is called after all delays
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


def _wait(binding: Binding, step: Sleep | Hold) -> bool:
    """Wait in this thread; return False if the rule was disarmed here before the end."""
    stay = _Stay(binding, step, bell := Bell(), None)
    try:
        _wait_until_over(stay, bell, busy=type(step) is Sleep and step.busy)
    finally:
        try:
            stay.end()
        except BaseException:  # a signal handler raised in it
            stay.end()
            raise
    return stay.completed


async def _await(binding: Binding, step: Sleep | Hold) -> bool:
    """Wait in this task; return False if the rule was disarmed here before the end."""
    if type(step) is Sleep and step.busy:
        return _wait(binding, step)
    bell = TaskBell(asyncio.get_running_loop())
    stay = _Stay(binding, step, bell, bell.loop)
    try:
        await _await_until_over(stay, bell)
    finally:
        try:
            stay.end()
        except BaseException:  # a signal handler raised in it
            stay.end()
            raise
    return stay.completed


def _wait_until_over(stay: _Stay, bell: Bell, *, busy: bool) -> None:
    while stay.goes_on():
        if busy:
            for _ in _SPIN:
                pass
        else:
            stay.clock.wait(bell, stay.left)


async def _await_until_over(stay: _Stay, bell: TaskBell) -> None:
    while stay.goes_on():
        await stay.clock.await_(bell, stay.left)


_SPIN = range(2_000)  # some tens of microseconds


class _Stay:
    """One wait of one call: decides whether the wait continues, and for how long.

    It does not wait itself, so it can catch its own bugs; the call then continues.

    The wait may end by its deadline, because the rule ends, by `ArmedRule.release`, or because the
    program or its event loop ends.  All but the deadline set the bell of this wait.  The order in
    `_look` matters: clear the bell, register it, then check whether the rule still acts.  If the
    check came before the registration, a rule that was disarmed between the two would wake nobody,
    and the call would wait forever.
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
        self.clock = binding.rule.runtime.clock  # the registry's clock may change during the wait
        self._loop = loop
        self._pause: Pause | None = None
        self._deadline: float | None = None
        self._begun = False
        self._executor: Any = None
        self._late = ending.has_begun
        self.left: float | None = None  # the remaining seconds; None: unlimited
        self.completed = False  # whether it lasted as long as the rule says

    def goes_on(self) -> bool:
        """Whether to wait again, for `left` seconds."""
        try:
            return transparently(self._look)
        except Exception:
            reporting.report_bug(f"waiting at {self._binding.point!r}")
            return False

    def end(self) -> None:
        """Remove this wait from all sets of functions that wake."""
        self._binding.rule.sleepers.discard(self._bell.set)
        ending.discard(self._bell.set)
        if self._pause is not None:
            self._binding.rule.paused.discard(self._pause)

    def _look(self) -> bool:
        rule, point, step = self._binding.rule, self._binding.point, self._step
        if self._begun:
            self._bell.clear()
        yields = not self._begun and self._begin()
        self._begun = True
        rule.sleepers.add(self._bell.set)  # from here on, disarming wakes this call
        if self._pause is not None and self._pause.released:
            self.completed = True  # even if the rule was disarmed since: the later effects act
            return False
        if not rule.acts_at(point) or self._is_cut_off():
            next(rule.interruptions)
            return False
        if yields:
            self.left = 0.0
            return True
        if self._deadline is not None:
            self.left = self._deadline - self._now()
            self.completed = self.left <= 0
        elif step.seconds is not None:  # other threads or tasks ran
            self.completed = True
        return not self.completed

    def _begin(self) -> bool:
        """Begin the wait; return whether it only lets other threads or tasks run once."""
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
            _warn_once(
                binding.point,
                "%r delays a thread that runs an event loop, and so all tasks of that loop: "
                "decorate a coroutine, or use 'async with' or 'ahit'",
            )
        return False

    def _now(self) -> float:
        return self.clock.monotonic() if self._loop is None else self.clock.time_in(self._loop)

    def _is_cut_off(self) -> bool:
        """Whether the end of the program, or of the loop of this thread, ends this wait.

        A sleep that begins after the main thread has ended still lasts its time.
        """
        if (self._executor and self._executor._shutdown) or (ending.has_begun and not self._late):
            return True
        if not ending.has_begun or type(self._step) is Sleep:
            return False
        _warn_once(
            self._binding.point,
            "%r no longer holds calls: the main thread has ended, and the process would wait for "
            "this thread",
        )
        return True


def _can_wait(steps: tuple[Step, ...]) -> bool:
    """Whether these steps can be taken in a coroutine: waiting needs an asyncio event loop."""
    return asyncio._get_running_loop() is not None or not any(map(waits, steps))


def _without_waits(binding: Binding, ordinal: int) -> Action:
    """Return the action of a firing without its waits, for coroutines that asyncio does not run."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        reporting.report_bug(f"waiting at {binding.point!r}", _NO_LOOP)
    return binding.act_without_waits(ordinal)


_NO_LOOP = (
    "latency and holds act only in tasks of asyncio's event loop, so the call continues without "
    "them and they are not counted: run the code under asyncio, or arm an exception or a `delay`"
)

_warned: set[tuple[str, str]] = set()


def _warn_once(point: str, message: str) -> None:
    if (point, message) not in _warned:
        _warned.add((point, message))
        log(logging.WARNING, message, point)
