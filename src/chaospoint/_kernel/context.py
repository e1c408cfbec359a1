"""Inside chaospoint's own code every point is transparent.

While the flag is set in a context, calls that reach a point pass through and are not counted: an
observer that logs through a decorated handler, or the admin endpoint, never meets chaos.

The flag is set in a copy of the context, which is simply left: no interruption can leave points
transparent, and there is nothing to undo.  CPython 3.11 needs the copy for another reason, too.
There the garbage collector runs in the middle of ``ContextVar.set``, and a finalizer that sets a
variable of the same context frees what that call is reading; the interpreter crashes.  A finalizer
of the host may do both: reach a point in the middle of the host's own ``set``, and set a variable
in the middle of ours.

A context also carries the rules that were armed in it and act in it alone: tasks,
``asyncio.to_thread`` and ``contextvars.copy_context().run`` copy it, plain threads and
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
        """A rule that acts in some contexts, as far as they need to know it."""

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


__tracebackhide__ = True  # pytest shows the line of the host's that was hit, and not ours

_T = TypeVar("_T")

in_chaospoint: ContextVar[bool] = ContextVar("chaospoint_inside", default=False)

_set = partial(in_chaospoint.set, True)
_call: Callable[[Callable[[], object]], object] = operator.call
_COLLECTS_WITHIN_CALLS = sys.version_info < (3, 12)

if _COLLECTS_WITHIN_CALLS:

    def context_copied() -> Context:
        """Return a copy of the context, where a finalizer may set a variable meanwhile."""
        # Copying is interrupted by the collector as setting is, unless memory for a context is at
        # hand.  The first line leaves some, and nothing comes between the two.
        Context()
        return copy_context()

else:
    context_copied = copy_context


def set_safely(var: ContextVar[_T], value: _T) -> None:
    """Set a context variable where a finalizer may set one of the same context meanwhile.

    On CPython 3.11 a copy of the context is held meanwhile, and so is what ``set`` reads.  The
    steps are taken in order, in C, and the latest result is kept. `bool` drops the context of the
    first step, so its memory is free for the copy.
    """
    steps: tuple[Callable[[], object], ...] = (partial(var.set, value),)
    if _COLLECTS_WITHIN_CALLS:
        steps = (Context, bool, copy_context, *steps)
    deque[object](maxlen=1).extend(map(_call, steps))


def transparently(call: Callable[..., _T], *args: object) -> _T:
    """Call ``call`` with every point transparent.

    It runs in a copy of the context, so no interruption can leave points transparent behind it;
    context variables that it sets are gone when it returns.
    """
    context = context_copied()
    context.run(_set)
    return context.run(call, *args)


async def atransparently(call: Callable[..., Any], *args: object) -> Any:
    """Call ``call``, and await what it returns if that can be awaited, as `transparently`.

    The tasks that it starts see no points either; other tasks do, while this one waits.
    """
    context = context_copied()
    context.run(_set)
    answer = context.run(call, *args)
    return await _steps(_awaiting(answer), context.run) if isinstance(answer, Awaitable) else answer


async def _awaiting(awaitable: Awaitable[object]) -> object:
    return await awaitable


def generated_transparently(items: Generator[Any, Any, object]) -> Generator[Any, Any, object]:
    """Yield from a generator with every point transparent in each of its steps."""
    context = context_copied()
    context.run(_set)
    return (yield from _steps(items, context.run))


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
        step = value = None  # or an exception and this frame would keep each other alive


class _Own(local):
    tells_observers: bool | None = None


own = _Own()
"""``own.tells_observers``: whether they are told in this thread; None in threads of the program."""


def passes(error: BaseException) -> bool:
    """Whether an exception has to reach the program: Ctrl-C, say, in one of its own threads.

    No signal handler runs in a thread of chaospoint's.  A `SystemExit` that comes out of an
    observer or a handler of the log there is treated as any other exception.
    """
    return own.tells_observers is None and not isinstance(error, Exception)


scoped_rules: ContextVar[frozenset[Scoped]] = ContextVar("chaospoint_scope", default=frozenset())


def enter(rules: Iterable[Scoped]) -> None:
    """Have these rules act in this context; it forgets those that ended."""
    if fresh := list(rules):
        rest = [rule for rule in scoped_rules.get() if rule.why is None]
        set_safely(scoped_rules, frozenset([*fresh, *rest]))
