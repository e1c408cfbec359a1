"""How a call goes on when a rule fires: one way for each kind of callable.

Each takes the firing and the call itself, a function without arguments.  Coroutines and
generators are reached when called and act at the first await or item, so each of theirs is made
of its own kind; when nothing fires none of this runs and the caller gets the callable's own.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterable
from typing import Any, cast

from chaospoint._aim import Firing, Kind, Run
from chaospoint._drive import adrive, drive

__all__ = ["RUN"]


def _function(firing: Firing, call: Callable[[], object]) -> object:
    answer = drive(firing)
    return call() if answer is None else answer[0]


async def _coroutine(firing: Firing, call: Callable[[], Coroutine[Any, Any, object]]) -> object:
    answer = await adrive(firing)
    return await call() if answer is None else answer[0]


def _generator(
    firing: Firing, call: Callable[[], Generator[object, object, object]]
) -> Generator[object, object, object]:
    answer = drive(firing)
    if answer is None:
        return (yield from call())
    for item in cast(Iterable[object], answer[0]):  # noqa: UP028 - a list takes no send()
        yield item
    return None


async def _async_generator(
    firing: Firing, call: Callable[[], AsyncGenerator[object, object]]
) -> AsyncGenerator[object, object]:
    answer = await adrive(firing)
    if answer is not None:
        for item in cast(Iterable[object], answer[0]):
            yield item
        return
    # What `yield from` does for a generator, spelt out: PEP 380 has no asynchronous twin.
    items = call()
    step = _own(items)
    while True:
        try:
            item = await step
        except StopAsyncIteration:
            return
        try:
            sent = yield item
        except GeneratorExit:
            await items.aclose()
            raise
        except BaseException as error:
            step = items.athrow(error)
        else:
            step = items.asend(sent)


def _own(items: AsyncGenerator[object, object]) -> Awaitable[object]:
    """Ask for the first item of ``items`` without its event loop taking note of it.

    A loop closes the asynchronous generators that it knows when it ends, all at once; this one
    is closed by the one around it, which the loop knows.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return items.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


RUN: dict[Kind, Run] = {
    "function": _function,
    "coroutine": _coroutine,
    "generator": _generator,
    "async generator": _async_generator,
}
