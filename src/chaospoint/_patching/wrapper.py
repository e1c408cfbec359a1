"""Placements whose code cannot be patched: they are wrapped by wrapt.

Builtins, C functions, callable instances, classes, `functools.partial` and the like, and Python
functions too where the canary says that this interpreter cannot swap code.  The wrapper tests the
truth of the very list that arming fills, in C, so it costs little while it is empty; importing
wrapt costs some 50 ms, so that is done at the first of them.

A wrapper acts where it is used in place of what it wraps.  One that the caller throws away can
never act, so that is noted and said when something is armed.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from opcode import opmap
from operator import attrgetter
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from weakref import ref

import wrapt

from chaospoint._kernel import reporting
from chaospoint._kernel.context import transparently
from chaospoint._kernel.lock import arming_lock
from chaospoint._kernel.reporting import log
from chaospoint._kernel.signature import shown_by
from chaospoint._kernel.takes import Given, Shape
from chaospoint._patching.discarded import discarded
from chaospoint._patching.unwrap import is_awaitable_marked

if TYPE_CHECKING:
    from chaospoint._kernel.placement import Kind
    from chaospoint._kernel.point import Point
    from chaospoint._kernel.search import Continuation, Search

    _FunctionWrapper = wrapt.FunctionWrapper[..., Any]
else:
    _FunctionWrapper = wrapt.FunctionWrapper  # before wrapt 2.2.1 it has no subscript

__all__ = ["Wrapper", "wrap"]


class _Proxy(_FunctionWrapper):
    """A wrapped callable that pickles by its name, as functions do, and is copied as itself."""

    def __reduce_ex__(self, protocol: Any) -> str:
        return str(self.__qualname__)

    def __copy__(self) -> _Proxy:
        return self

    def __deepcopy__(self, memo: object) -> _Proxy:
        return self


class Wrapper:
    """What chaospoint keeps for one wrapped callable: a placement of one point."""

    __slots__ = (
        "_kind",
        "_live",
        "_name",
        "_proxy",
        "_settled",
        "_shown",
        "arguments",
        "gone",
        "points",
        "shape",
        "unsigned",
    )

    def __init__(self, point: Point, target: Callable[..., Any]) -> None:
        # The searches before and after, and whether they ask for labels and arguments.
        self._live: list[tuple[Search, Search | None, bool, Continuation]] = []
        self._proxy: Callable[[], Any] = lambda: None  # a weak reference
        self._settled = True  # its kind can be told
        self.gone = False
        self._name = _name(target)
        self._kind: Kind = _kind(target)
        self.points = [point]
        # Read now, before the lock is taken, as this may run foreign code.
        self._shown = shown_by(target)
        self.unsigned = self._shown is None  # as some builtins are, so positions have no names
        self.arguments = _names(self._shown)
        self.shape = _shape(self._shown)

    def __str__(self) -> str:
        return f"{self._name} ({self.kind}, wrapped)"

    @property
    def kind(self) -> Kind:
        """The kind of callable; one that is marked to be awaited is a coroutine."""
        if self._kind == "function" and (proxy := self._proxy()) is not None:
            self._kind = _kind(proxy.__wrapped__)
        return self._kind

    def rebuild(self) -> None:
        """Make the wrapper try what is armed on its point now."""
        (point,) = self.points
        if not point.core.rules:
            self._live.clear()
            return
        from chaospoint._kernel.binding import bind
        from chaospoint._kernel.search import search, share_limits
        from chaospoint._patching.calls import CONTINUATIONS, sharing

        rules, kind = point.core.rules, self.kind
        hands, shape = attrgetter("given"), self.shape
        before = bind(rules, point, kind, hands=hands, shape=shape)
        after = bind(rules, point, kind, after=True, hands=hands, shape=shape)
        asks = any(
            binding.rule.terms.where is not None or binding.hands for binding in (*before, *after)
        )
        continuation = sharing(CONTINUATIONS[kind]) if share_limits(rules) else CONTINUATIONS[kind]
        live = (search(before), search(after) if after else None, asks, continuation)
        self._live[:] = [live] if before or after or not self._settled else []

    def stand_in(self, proxy: Any) -> None:
        """Act for the calls of ``proxy`` from now on, by what is armed already."""
        (point,) = self.points
        self._proxy = ref(proxy, partial(_bury, point, self, _caller()))
        if point.core.rules:
            self._settled = self.kind != "function"  # else it may still be marked
            self._arm()

    def _settle(self) -> None:
        """Act by the kind that is known at the first call."""
        transparently(self._settle_now)
        arming_lock.carry_out()

    def _settle_now(self) -> None:
        with arming_lock:
            self._settled = True
            self._arm()

    def _arm(self) -> None:
        from chaospoint._kernel.binding import say_left_out

        (point,) = self.points
        try:
            self.rebuild()
            if self._settled:
                say_left_out(point.core.rules, point.name, self.kind, self.shape)
        except Exception:
            reporting.report_bug(f"arming {self}")

    def proxy(self, target: Callable[..., Any]) -> Any:
        """Return the callable that stands in for ``target``."""
        live, own = self._live, self._shown
        (point,) = self.points

        def call(
            wrapped: Callable[..., Any], _: object, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            if not self._settled:
                self._settle()
            for search, after, asks, continuation in live:  # none, if it was disarmed just now
                values = None
                if asks:
                    shown = own if wrapped is target else _shown_bound(own, wrapped)
                    values = _values(point, shown, args, kwargs)
                firing = search(values)
                if firing is None and after is None:
                    break
                later = None if after is None else partial(after, values)
                return continuation(firing, partial(wrapped, *args, **kwargs), later)
            return wrapped(*args, **kwargs)

        return _Proxy(target, call, enabled=cast(Any, live))


_dead: deque[tuple[Point, Wrapper]] = deque()


def wrap(point: Point, target: Callable[..., Any]) -> Any:
    """Return ``target`` wrapped as a placement of ``point``; it holds the wrapper, we do not."""
    wrapper = Wrapper(point, target)
    proxy = wrapper.proxy(target)
    arming_lock.soon(partial(arming_lock.change, _place, point, wrapper, proxy))
    return proxy


def _place(point: Point, wrapper: Wrapper, proxy: object) -> None:
    while _dead:
        owner, gone = _dead.popleft()
        if gone in owner.core.sites:
            owner.core.sites.remove(gone)
    wrapper.stand_in(proxy)
    point.core.sites.append(wrapper)


def _bury(point: Point, wrapper: Wrapper, made: _Spot | None, _: object) -> None:
    # May run in the middle of anything: only note it down.
    if _dead is None:  # the interpreter is ending, and modules are gone
        return
    wrapper.gone = True
    _dead.append((point, wrapper))
    frame = sys._getframe().f_back
    if made is not None and frame is not None and made.throws_away(frame):
        point.core.discarded = wrapper._name
        if point.core.rules:  # in the middle of nothing: between two statements of the program
            log(logging.WARNING, "%s", discarded(point))


class _Spot(NamedTuple):
    """Where in a program a wrapper was made."""

    code: int
    instruction: int

    def throws_away(self, frame: FrameType) -> bool:
        """Whether a frame drops there, at this moment, what the call has returned."""
        code, at = frame.f_code, frame.f_lasti
        return (
            id(code) == self.code
            and self.instruction < at <= self.instruction + _LONGEST_CALL
            and code.co_code[at] == opmap["POP_TOP"]
        )


_LONGEST_CALL = 24  # bytes of one instruction and its caches


def _caller() -> _Spot | None:
    """Return where the program decorates; None where code of chaospoint does."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("chaospoint."):
        frame = frame.f_back
    return None if frame is None else _Spot(id(frame.f_code), frame.f_lasti)


class _Values(dict[str, object]):
    """Labels and arguments of a call by their names, and the arguments as the caller gave them."""

    __slots__ = ("given",)

    given: Given


def _shown_bound(
    own: inspect.Signature | None, wrapped: Callable[..., Any]
) -> inspect.Signature | None:
    """Return what a method shows that a class has bound; it does so anew at each access.

    For ``Class.method(instance, ...)`` wrapt binds the instance itself, and before 2.0 its proxy
    goes on showing the instance among the arguments.
    """
    if own is None or not isinstance(wrapped, wrapt.PartialCallableObjectProxy):
        return shown_by(wrapped)
    return own.replace(parameters=list(own.parameters.values())[1:])


def _values(
    point: Point,
    shown: inspect.Signature | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> _Values:
    named = kwargs if shown is None else _named(shown, args, kwargs)
    values = _Values({**named, **point.labels})
    values.given = Given(args, kwargs, named)
    return values


def _named(
    shown: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Mapping[str, object]:
    """Return the arguments of a call by their names."""
    try:
        bound = transparently(_bound, shown, args, kwargs)
    except Exception:  # a wrong call, or foreign code
        return kwargs
    parameters = bound.signature.parameters.values()
    rest = (one.name for one in parameters if one.kind is one.VAR_KEYWORD)
    more = [bound.arguments[name] for name in rest]
    return {**(more[0] if more else {}), **bound.arguments}


def _bound(
    shown: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> inspect.BoundArguments:
    bound = shown.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound


_PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _names(signature: inspect.Signature | None) -> tuple[str, ...] | None:
    """Return the names of the arguments; None if they are only known at a call."""
    if signature is None:
        return None
    parameters = signature.parameters
    rest = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return None if rest else tuple(parameters)


def _shape(signature: inspect.Signature | None) -> Shape | None:
    """Return the arguments of a call, as they are handed to functions of rules."""
    if signature is None:
        return None
    parameters = signature.parameters.values()
    return Shape(
        tuple(one.name for one in parameters if one.kind in _PLACED),
        tuple(one.name for one in parameters if one.kind is one.KEYWORD_ONLY),
        frozenset(one.name for one in parameters if one.default is not one.empty),
        any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in parameters),
    )


def _kind(target: object) -> Kind:
    target = getattr(target, "__func__", target)
    while isinstance(target, partial):
        target = target.func
    if is_awaitable_marked(target):
        return "coroutine"
    if not isinstance(target, type) and not inspect.isroutine(target):
        target = type(target).__call__
    try:
        if inspect.iscoroutinefunction(target):
            return "coroutine"
        if inspect.isasyncgenfunction(target):
            return "async generator"
        if inspect.isgeneratorfunction(target):
            return "generator"
    except Exception:
        pass  # it only passes itself off as a function, as a mock with a spec does
    return "function"


def _name(target: object) -> str:
    target = getattr(target, "__func__", target)
    while isinstance(target, partial):
        target = target.func
    named = target if hasattr(target, "__qualname__") else type(target)
    name = getattr(named, "__qualname__", repr(named))
    module = getattr(named, "__module__", None)  # methods in C have none
    return f"{module}:{name}" if module else name
