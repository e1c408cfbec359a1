"""Continuations: how a call goes on if a rule fires before it, or may fire after it.

There is one continuation for each kind of callable.  Each takes the firing before the call (or
None), the call as a function without arguments, and the search to run after a successful call (or
None).

A coroutine or generator is reached when it is called, but the fault acts at the first await or
item.  So the continuation of such a kind is itself a coroutine or generator of that kind.  If no
rule can fire, no continuation runs, and the caller gets the callable's own coroutine or generator.
"""

from __future__ import annotations

import sys
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
)
from types import FunctionType
from typing import Any, cast

from chaospoint._kernel.drive import adrive, drive
from chaospoint._kernel.placement import Kind
from chaospoint._kernel.search import Continuation, Firing
from chaospoint._kernel.tally import OPEN

__all__ = ["CONTINUATIONS", "continuation_for", "sharing"]

__tracebackhide__ = True  # pytest then shows the line of the program that called

_After = Callable[[], Firing | None]


def _function(
    firing: Firing | None, call: Callable[[], object], after: _After | None = None
) -> object:
    if firing is not None and (answer := drive(*firing)) is not None:
        return answer[0]
    result = call()
    if after is None or (late := after()) is None:
        return result
    return result if (answer := drive(*late)) is None else answer[0]


async def _coroutine(
    firing: Firing | None,
    call: Callable[[], Coroutine[Any, Any, object]],
    after: _After | None = None,
) -> object:
    if firing is not None and (answer := await adrive(*firing)) is not None:
        return answer[0]
    result = await call()
    if after is None or (late := after()) is None:
        return result
    return result if (answer := await adrive(*late)) is None else answer[0]


def _generator(
    firing: Firing | None,
    call: Callable[[], Generator[object, object, object]],
    after: _After | None = None,
) -> Generator[object, object, object]:
    if firing is not None and (answer := drive(*firing)) is not None:
        for item in cast(Iterable[object], answer[0]):  # noqa: UP028 - a list takes no send()
            yield item
        return None
    result = yield from call()
    if after is not None and (late := after()) is not None:
        drive(*late)
    return result


async def _async_generator(
    firing: Firing | None,
    call: Callable[[], AsyncGenerator[object, object]],
    after: _After | None = None,
) -> AsyncGenerator[object, object]:
    if firing is not None and (answer := await adrive(*firing)) is not None:
        if isinstance(answer[0], AsyncIterable):
            async for item in answer[0]:
                yield item
            return
        for item in cast(Iterable[object], answer[0]):
            yield item
        return
    # Does what `yield from` does for a generator; there is no such statement for async generators.
    items = call()
    step = _first_item(items)
    while True:
        try:
            item = await step
        except StopAsyncIteration:
            break
        try:
            sent = yield item
        except GeneratorExit:
            await items.aclose()
            raise
        except BaseException as error:
            step = items.athrow(error)
        else:
            step = items.asend(sent)
    if after is not None and (late := after()) is not None:
        await adrive(*late)


def _first_item(items: AsyncGenerator[object, object]) -> Awaitable[object]:
    """Return the awaitable of the first item, without registering ``items`` with the event loop.

    When a loop ends, it closes all registered async generators at the same time.  The continuation
    is registered, and closes ``items`` itself.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return items.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


_PLAIN: dict[Kind, Continuation] = {
    "function": _function,
    "coroutine": _coroutine,
    "generator": _generator,
    "async generator": _async_generator,
}


def continuation_for(
    kind: Kind, function: FunctionType, *, bounded: bool = True, shares: bool = False
) -> Continuation:
    """Return the continuation of ``function``; its coroutines or generators have the same names.

    ``bounded``: whether a firing may have a slot. ``shares``: see `sharing`.
    """
    plain = _PLAIN[kind]
    assert isinstance(plain, FunctionType)
    named = FunctionType(plain.__code__, plain.__globals__, function.__name__, plain.__defaults__)
    named.__qualname__ = function.__qualname__
    result = _recording_owner(named) if bounded and kind != "function" else named
    return sharing(result) if shares else result


def _recording_owner(inner: Continuation) -> Continuation:
    """Record in the slot of a firing which coroutine or generator will act.

    If that is closed before it begins, none of its code runs, and nothing releases the slot.
    """

    def continuation(
        firing: Firing | None, call: Callable[[], Any], after: _After | None = None
    ) -> object:
        owner = inner(firing, call, after)
        if firing is not None and (slot := firing[2]) is not OPEN:
            slot.belongs_to(owner)
        return owner

    return continuation


def sharing(inner: Continuation) -> Continuation:
    """Make the firings before and after a call share the same limits."""

    def continuation(
        firing: Firing | None, call: Callable[[], Any], after: _After | None = None
    ) -> object:
        if firing is None or after is None:
            return inner(firing, call, after)
        spent = [0.0, 0.0]
        return inner(_with_spent(firing, spent), call, lambda: _with_spent(after(), spent))

    return continuation


def _with_spent(firing: Firing | None, spent: list[float]) -> Firing | None:
    return firing and (*firing[:3], firing[3] if len(firing) > 3 else None, spent)


CONTINUATIONS: dict[Kind, Continuation] = {
    kind: plain if kind == "function" else _recording_owner(plain) for kind, plain in _PLAIN.items()
}
"""The continuations for wrapped callables, whose names need not be kept."""
