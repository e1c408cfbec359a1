"""How a call goes on when a rule fires before it, or may fire after it: a way for each kind.

Each takes what fires before the call, the call itself, a function without arguments, and the
search after it if there is one, which is made at the clean end of a call that was really made.
Coroutines and generators are reached when called and act at the first await or item, so each of
theirs is made of its own kind; when nothing can fire none of this runs and the caller gets the
callable's own.
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

__tracebackhide__ = True  # pytest shows the line of the host's that was hit, and not ours

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
    # What `yield from` does for a generator, spelt out: PEP 380 has no asynchronous twin.
    items = call()
    step = _own(items)
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


_WAYS: dict[Kind, Continuation] = {
    "function": _function,
    "coroutine": _coroutine,
    "generator": _generator,
    "async generator": _async_generator,
}


def continuation_for(
    kind: Kind, function: FunctionType, *, bounded: bool = True, shares: bool = False
) -> Continuation:
    """Return how calls of ``function`` go on; what they return has the function's names.

    ``bounded``: a firing may have a slot of its own. ``shares``: see `sharing`.
    """
    way = _WAYS[kind]
    assert isinstance(way, FunctionType)
    named = FunctionType(way.__code__, way.__globals__, function.__name__, way.__defaults__)
    named.__qualname__ = function.__qualname__
    noting = _noting(named) if bounded and kind != "function" else named
    return sharing(noting) if shares else noting


def _noting(way: Continuation) -> Continuation:
    """Have the slot of a firing know the coroutine or generator that is to act.

    It may be closed before it begins, and then none of its code runs that gives the slot back.
    """

    def go_on(
        firing: Firing | None, call: Callable[[], Any], after: _After | None = None
    ) -> object:
        made = way(firing, call, after)
        if firing is not None and (slot := firing[2]) is not OPEN:
            slot.belongs_to(made)
        return made

    return go_on


def sharing(way: Continuation) -> Continuation:
    """Have what fires before a call and what fires after it share one limit."""

    def go_on(
        firing: Firing | None, call: Callable[[], Any], after: _After | None = None
    ) -> object:
        if firing is None or after is None:
            return way(firing, call, after)
        spent = [0.0, 0.0]
        return way(_spending(firing, spent), call, lambda: _spending(after(), spent))

    return go_on


def _spending(firing: Firing | None, spent: list[float]) -> Firing | None:
    return firing and (*firing[:3], firing[3] if len(firing) > 3 else None, spent)


CONTINUATIONS: dict[Kind, Continuation] = {
    kind: way if kind == "function" else _noting(way) for kind, way in _WAYS.items()
}
"""How calls go on whose names do not matter."""
