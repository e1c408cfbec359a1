"""Wrap callables whose code cannot be patched, with wrapt.

These are builtins, C functions, callable instances, classes, `functools.partial` and similar
objects; also Python functions, in interpreters that cannot swap code (see `site.can_patch`).  The
wrapper tests, in C, whether the list that arming fills is empty, so it costs little while disarmed.
Importing wrapt takes about 50 ms, so this module is imported when the first callable is wrapped.

A wrapper acts only if the program uses it instead of the original.  If the program does not keep
the wrapper, it can never act, so that is recorded, and logged when a rule is armed.
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
    """A wrapped callable; like a function, it pickles by name, and a copy is the same object."""

    def __reduce_ex__(self, protocol: Any) -> str:
        return str(self.__qualname__)

    def __copy__(self) -> _Proxy:
        return self

    def __deepcopy__(self, memo: object) -> _Proxy:
        return self


class Wrapper:
    """One wrapped callable, a placement of one point.

    ``_live`` is the list that the proxy tests: empty while disarmed, otherwise with one item.  The
    reference to the proxy is weak, so the proxy is deleted when the program drops it.
    """

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
        # The searches before and after, whether they need labels or arguments, the continuation.
        self._live: list[tuple[Search, Search | None, bool, Continuation]] = []
        self._proxy: Callable[[], Any] = lambda: None  # a weak reference
        self._settled = True  # whether its kind is final; see `Site`
        self.gone = False
        self._name = _name(target)
        self._kind: Kind = _kind(target)
        self.points = [point]
        # Read before the lock is taken, because this may run code of the program.
        self._shown = shown_by(target)
        self.unsigned = self._shown is None  # as for some builtins, whose arguments have no names
        self.arguments = _names(self._shown)
        self.shape = _shape(self._shown)

    def __str__(self) -> str:
        return f"{self._name} ({self.kind}, wrapped)"

    @property
    def kind(self) -> Kind:
        """The kind of callable; one that is marked as awaitable counts as a coroutine."""
        if self._kind == "function" and (proxy := self._proxy()) is not None:
            self._kind = _kind(proxy.__wrapped__)
        return self._kind

    def rebuild(self) -> None:
        """Apply the rules that are now armed on its point."""
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
        """Act for the calls of ``proxy`` from now on."""
        (point,) = self.points
        self._proxy = ref(proxy, partial(_proxy_deleted, point, self, _caller()))
        if point.core.rules:
            self._settled = self.kind != "function"  # a function may still be marked as awaitable
            self._arm()

    def _settle(self) -> None:
        """Decide the kind, at the first call."""
        transparently(self._settle_now)
        arming_lock.carry_out()

    def _settle_now(self) -> None:
        with arming_lock:
            self._settled = True
            self._arm()

    def _arm(self) -> None:
        from chaospoint._kernel.binding import log_left_out

        (point,) = self.points
        try:
            self.rebuild()
            if self._settled:
                log_left_out(point.core.rules, point.name, self.kind, self.shape)
        except Exception:
            reporting.report_bug(f"arming {self}")

    def proxy(self, target: Callable[..., Any]) -> Any:
        """Return the callable to use instead of ``target``."""
        live, shown_unbound = self._live, self._shown
        (point,) = self.points

        def call(
            wrapped: Callable[..., Any], _: object, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            if not self._settled:
                self._settle()
            for search, after, asks, continuation in live:  # empty if it was disarmed just now
                values = None
                if asks:
                    shown = (
                        shown_unbound if wrapped is target else _shown_bound(shown_unbound, wrapped)
                    )
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
    """Return ``target`` wrapped as a placement of ``point``."""
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


def _proxy_deleted(
    point: Point, wrapper: Wrapper, decorated_at: _Location | None, _: object
) -> None:
    # May run at any moment, even under the lock, so it only records the deletion.
    if _dead is None:  # the interpreter is ending, and has deleted the modules
        return
    wrapper.gone = True
    _dead.append((point, wrapper))
    frame = sys._getframe().f_back
    if decorated_at is not None and frame is not None and decorated_at.discards(frame):
        point.core.discarded = wrapper._name
        if point.core.rules:  # logging is safe here: the program is between two statements
            log(logging.WARNING, "%s", discarded(point))


class _Location(NamedTuple):
    """The instruction of the program that made a wrapper."""

    code: int
    instruction: int

    def discards(self, frame: FrameType) -> bool:
        """Whether the frame is now discarding the result of that instruction."""
        code, at = frame.f_code, frame.f_lasti
        return (
            id(code) == self.code
            and self.instruction < at <= self.instruction + _LONGEST_CALL
            and code.co_code[at] == opmap["POP_TOP"]
        )


_LONGEST_CALL = 24  # bytes of the longest call instruction with its caches


def _caller() -> _Location | None:
    """Return the location in the program that decorates; None if there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("chaospoint."):
        frame = frame.f_back
    return None if frame is None else _Location(id(frame.f_code), frame.f_lasti)


class _Values(dict[str, object]):
    """The labels and arguments of a call by name, and the arguments as the caller passed them."""

    __slots__ = ("given",)

    given: Given


def _shown_bound(
    unbound: inspect.Signature | None, wrapped: Callable[..., Any]
) -> inspect.Signature | None:
    """Return the signature of a bound method, which is a new object at each access.

    For ``Class.method(instance, ...)`` wrapt binds the instance itself; before wrapt 2.0 the
    signature of its proxy still contains the instance.
    """
    if unbound is None or not isinstance(wrapped, wrapt.PartialCallableObjectProxy):
        return shown_by(wrapped)
    return unbound.replace(parameters=list(unbound.parameters.values())[1:])


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
    """Return the arguments of a call by name."""
    try:
        bound = transparently(_bound, shown, args, kwargs)
    except Exception:  # the arguments do not fit, or code of the program failed
        return kwargs
    parameters = bound.signature.parameters.values()
    rest = (each.name for each in parameters if each.kind is each.VAR_KEYWORD)
    keywords = [bound.arguments[name] for name in rest]
    return {**(keywords[0] if keywords else {}), **bound.arguments}


def _bound(
    shown: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> inspect.BoundArguments:
    bound = shown.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound


_PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _names(signature: inspect.Signature | None) -> tuple[str, ...] | None:
    """Return the names of the arguments; None if a call may use other names."""
    if signature is None:
        return None
    parameters = signature.parameters
    rest = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return None if rest else tuple(parameters)


def _shape(signature: inspect.Signature | None) -> Shape | None:
    """Return the arguments of a call, as they are passed to functions of rules."""
    if signature is None:
        return None
    parameters = signature.parameters.values()
    return Shape(
        tuple(each.name for each in parameters if each.kind in _PLACED),
        tuple(each.name for each in parameters if each.kind is each.KEYWORD_ONLY),
        frozenset(each.name for each in parameters if each.default is not each.empty),
        any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters),
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
        pass  # it only imitates a function, like a mock with a spec
    return "function"


def _name(target: object) -> str:
    target = getattr(target, "__func__", target)
    while isinstance(target, partial):
        target = target.func
    named = target if hasattr(target, "__qualname__") else type(target)
    name = getattr(named, "__qualname__", repr(named))
    module = getattr(named, "__module__", None)  # methods written in C have none
    return f"{module}:{name}" if module else name
