"""Context variables: whether points are transparent, and which scoped rules act.

While `in_chaospoint` is set in a context, calls pass through every point and are not counted.  So
an observer that logs through a decorated handler, or the admin endpoint, never meets a fault.

The flag is set in a copy of the context, and nothing resets it: the copy is discarded.  So an
interruption cannot leave points transparent.  CPython 3.11 needs the copy for a second reason.
There the garbage collector may run inside ``ContextVar.set``.  If a finalizer then sets a variable
in the same context, it frees memory that the interrupted ``set`` still reads, and the interpreter
crashes.  Finalizers of the program may cause this in both directions: they may reach a point inside
the program's own ``set``, or set a variable inside ours.

A scoped rule acts only in the context that armed it and in copies of that context.  Tasks,
``asyncio.to_thread`` and ``contextvars.copy_context().run`` copy the context; plain threads and
executors do not.
"""

from __future__ import annotations

import operator
import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextvars import Context, ContextVar, copy_context
from functools import partial
from threading import local
from types import coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing import Protocol

    class Scoped(Protocol):
        """The part of a scoped rule that contexts use."""

        @property
        def why(self) -> object:
            """How it ended; None while it is armed."""


__all__ = [
    "agenerated_transparently",
    "atransparently",
    "enter",
    "generated_transparently",
    "in_chaospoint",
    "own",
    "passes",
    "scoped_rules",
    "set_safely",
    "transparently",
]


__tracebackhide__ = True  # pytest then shows the line of the program that called

_T = TypeVar("_T")

in_chaospoint: ContextVar[bool] = ContextVar("chaospoint_inside", default=False)

_set = partial(in_chaospoint.set, True)
_call: Callable[[Callable[[], object]], object] = operator.call
_COLLECTS_WITHIN_CALLS = sys.version_info < (3, 12)

if _COLLECTS_WITHIN_CALLS:

    def context_copied() -> Context:
        """Return a copy of the context, even if a finalizer sets a variable at the same time."""
        # Copying allocates memory, at which the collector may run, as in `ContextVar.set`.  The
        # first line frees memory for one context, so the second allocates none.
        Context()
        return copy_context()

else:
    context_copied = copy_context


def set_safely(var: ContextVar[_T], value: _T) -> None:
    """Set a context variable, even if a finalizer sets one in the same context at the same time.

    On CPython 3.11 this keeps a copy of the context until the end, and with it the memory that
    ``set`` reads.  The steps run in C, one after the other, and the ``deque`` holds the latest
    result. The result of `bool` replaces the context of the first step, which frees memory for the
    copy.
    """
    steps: tuple[Callable[[], object], ...] = (partial(var.set, value),)
    if _COLLECTS_WITHIN_CALLS:
        steps = (Context, bool, copy_context, *steps)
    deque[object](maxlen=1).extend(map(_call, steps))


def transparently(call: Callable[..., _T], *args: object) -> _T:
    """Call ``call`` with every point transparent.

    It runs in a copy of the context, so context variables that it sets are lost when it returns.
    """
    context = context_copied()
    context.run(_set)
    return context.run(call, *args)


async def atransparently(call: Callable[..., Any], *args: object) -> Any:
    """Call ``call`` with every point transparent, and await its result if that is awaitable.

    Points are transparent in the tasks that it starts, too. Points act in other tasks while this
    one waits.
    """
    context = context_copied()
    context.run(_set)
    result = context.run(call, *args)
    return await _steps(_awaiting(result), context.run) if isinstance(result, Awaitable) else result


async def _awaiting(awaitable: Awaitable[object]) -> object:
    return await awaitable


def generated_transparently(items: Generator[Any, Any, object]) -> Generator[Any, Any, object]:
    """Yield from a generator with every point transparent in each of its steps."""
    context = context_copied()
    context.run(_set)
    steps: Any = _steps(items, context.run)  # typed as awaitable, and a generator too
    return (yield from steps)


async def agenerated_transparently(items: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    """Yield the items of an async generator with every point transparent in each of its steps."""
    context = context_copied()
    context.run(_set)
    while True:
        try:
            item = await _steps(items.asend(None), context.run)
        except StopAsyncIteration:
            return
        yield item


@coroutine
def _steps(made: Any, run: Callable[..., Any]) -> Generator[Any, Any, object]:
    """Await or yield from ``made`` as ``yield from`` does; ``run`` calls each step."""
    step, value = made.send, None
    try:
        while True:
            try:
                item = run(step, value)
            except StopIteration as end:
                return end.value
            try:
                step, value = made.send, (yield item)
            except GeneratorExit:
                run(made.close)
                raise
            except BaseException as error:
                step, value = made.throw, error
    finally:
        step = value = None  # avoids a reference cycle of an exception and this frame


class _Own(local):
    tells_observers: bool | None = None


own = _Own()
"""``own.tells_observers``: whether this thread of chaospoint informs observers; None in threads of
the program."""


def passes(error: BaseException) -> bool:
    """Whether an exception must reach the program, such as Ctrl-C in one of its threads.

    In threads of chaospoint no exception must: signal handlers do not run there, and a `SystemExit`
    from an observer or a log handler is treated like any other exception.
    """
    return own.tells_observers is None and not isinstance(error, Exception)


scoped_rules: ContextVar[frozenset[Scoped]] = ContextVar("chaospoint_scope", default=frozenset())


def enter(rules: Iterable[Scoped]) -> None:
    """Add rules to those that act in this context, and remove the ones that have ended."""
    if added := list(rules):
        others = [rule for rule in scoped_rules.get() if rule.why is None]
        set_safely(scoped_rules, frozenset([*added, *others]))
