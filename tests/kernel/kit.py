"""Helpers for the tests of the kernel: faults with given effects."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from helpers import PATIENCE as PATIENCE
from helpers import Boom as Boom
from helpers import Witness as Witness

from chaospoint._kernel.chance import Schedule
from chaospoint._kernel.compiled_rule import CompiledRule
from chaospoint._kernel.effects import Effect, Hold, Raise, Return, Run, Sleep
from chaospoint._kernel.injection import Injection


@dataclass(frozen=True)
class Does:
    """A fault with the given effects."""

    kind: str
    acts: tuple[Effect, ...]

    def effects(self, draws: object) -> tuple[Effect, ...]:
        return self.acts


@dataclass(frozen=True)
class Asks:
    """A fault whose effects a function returns."""

    kind: str
    ask: Callable[[Any], tuple[Effect, ...]]

    def effects(self, draws: object) -> tuple[Effect, ...]:
        return self.ask(draws)


def rule(
    pattern: str,
    *faults: Does | Asks,
    text: str = "",
    seed: int = 1,
    drawn: bool = False,
    expires_after: float | None = None,
    resolve: Any = None,
    after: bool = False,
    max_active: int | None = None,
    where: Mapping[str, object] | None = None,
    scoped: bool = False,
    **trigger: Any,
) -> CompiledRule:
    """Return the terms of a rule."""
    kinds = "+".join(fault.kind for fault in faults)
    schedule = Schedule(seed, **trigger)
    text = text or f"{pattern}={kinds} {trigger}"
    return CompiledRule(
        pattern,
        text,
        faults,
        schedule,
        drawn,
        expires_after,
        resolve,
        after=after,
        max_active=max_active,
        where=where,
        scoped=scoped,
    )


def raises(error: Callable[[], BaseException] = Boom) -> Does:
    """Return a fault that raises."""
    return Does("exception", (Raise(error, getattr(error, "__name__", "?")),))


def sleeps(seconds: float) -> Does:
    """Return a fault that delays."""
    return Does("latency", (Sleep(seconds),))


def hangs(seconds: float | None = None) -> Does:
    """Return a fault that holds the call."""
    return Does("hang", (Hold(seconds),))


def pauses() -> Does:
    """Return a fault that holds the call until it is released."""
    return Does("pause", (Hold(None, releasable=True),))


def calls(call: Callable[[Injection], object], *, needs_await: bool = False) -> Does:
    """Return a fault that runs ``call``."""
    return Does("call", (Run(call, needs_await),))


def off() -> Does:
    """Return a fault that does nothing."""
    return Does("off", ())


def answers(value: object, *, copy: bool = False) -> Does:
    """Return a fault that answers in place of the call."""
    return Does("return", (Return(value, copy),))


def run(made: Any, kind: str) -> Any:
    """Run what a callable of this kind returned, to its end."""
    if kind == "function":
        return made
    if kind == "generator":
        return list(made)
    if kind == "coroutine":
        return asyncio.run(_await(made))

    async def collect() -> list[object]:
        return [item async for item in made]

    return asyncio.run(collect())


async def _await(made: Any) -> Any:
    return await made


def run_coroutine(made: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that waits for nothing, without an event loop."""
    try:
        made.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the coroutine waits for something")


class Interrupt(BaseException):
    """An exception that a signal handler raises, like Ctrl-C."""


def interrupted(call: Callable[[], object], moment: int) -> bool:
    """Make a call with Ctrl-C at the n-th of all moments; return whether there are as many.

    Where the interpreter looks for signals: when it enters a function, and when C is back.
    """
    left = moment

    def look(frame: object, event: str, value: object) -> None:
        nonlocal left
        if event in ("call", "c_return"):
            left -= 1
            if left == 0:
                raise Interrupt

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        call()
    except Interrupt:
        pass
    finally:
        sys.setprofile(before)
    return left <= 0


def inner_code(function: Any) -> CodeType:
    """Return the code of a function, whatever it is wrapped in."""
    return getattr(function, "__func__", function).__code__


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Let the event loop run whatever else is ready."""
    yield


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop go round until the condition holds."""
    while not condition():
        await turn()
