"""Placements whose code cannot be patched: they are wrapped by wrapt.

Builtins, C functions, callable instances, classes, bound methods, `functools.partial` and the
like, and Python functions too where the canary says that this interpreter cannot swap code.  The
wrapper tests the truth of the very list that arming fills, in C, so it costs little while it is
empty; importing wrapt costs some 50 ms, so that is done at the first of them.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast
from weakref import ref

import wrapt

from chaospoint import _bug
from chaospoint._inside import transparent
from chaospoint._lock import arming

if TYPE_CHECKING:
    from chaospoint._aim import GoOn, Kind, Search
    from chaospoint._point import Point

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

    __slots__ = ("_live", "_name", "gone", "kind", "points")

    def __init__(self, point: Point, target: Callable[..., Any]) -> None:
        # The searches before and after, and whether they ask for labels and arguments.
        self._live: list[tuple[Search, Search | None, bool, GoOn]] = []
        self.gone = False
        self._name = _name(target)
        self.kind = _kind(target)
        self.points = [point]

    def __str__(self) -> str:
        return f"{self._name} ({self.kind}, wrapped)"

    @property
    def arguments(self) -> tuple[str, ...] | None:
        """The names of the arguments; None, for they are only known at a call."""
        return None

    def rebuild(self) -> None:
        """Make the wrapper try what is armed on its point now."""
        (point,) = self.points
        if not point.core.rules:
            self._live.clear()
            return
        from chaospoint._aim import aims_at, search
        from chaospoint._calls import GO_ON

        rules = point.core.rules
        hands = attrgetter("given")
        before = aims_at(rules, point, self.kind, hands=hands)
        after = aims_at(rules, point, self.kind, after=True, hands=hands)
        asks = any(aim.rule.terms.where is not None or aim.hands for aim in (*before, *after))
        live = (search(before), search(after) if after else None, asks, GO_ON[self.kind])
        self._live[:] = [live] if before or after else []

    def proxy(self, target: Callable[..., Any]) -> Any:
        """Return the callable that stands in for ``target``."""
        live = self._live
        (point,) = self.points

        def call(
            wrapped: Callable[..., Any], _: object, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            for search, after, asks, go_on in live:  # none, if it was disarmed just now
                values = _values(point, wrapped, args, kwargs) if asks else None
                firing = search(values)
                if firing is None and after is None:
                    break
                later = None if after is None else partial(after, values)
                return go_on(firing, partial(wrapped, *args, **kwargs), later)
            return wrapped(*args, **kwargs)

        return _Proxy(target, call, enabled=cast(Any, live))


_dead: deque[tuple[Point, Wrapper]] = deque()


def wrap(point: Point, target: Callable[..., Any]) -> Any:
    """Return ``target`` wrapped as a placement of ``point``; it holds the wrapper, we do not."""
    with arming:
        while _dead:
            owner, gone = _dead.popleft()
            owner.core.sites.remove(gone)
        wrapper = Wrapper(point, target)
        proxy = wrapper.proxy(target)
        _graves[id(wrapper)] = ref(proxy, partial(_bury, point, wrapper))
        point.core.sites.append(wrapper)
        if point.core.rules:
            from chaospoint._aim import say_left_out

            try:
                wrapper.rebuild()
                say_left_out(point.core.rules, point.name, wrapper.kind)
            except Exception:
                _bug.report(f"arming {wrapper}")
        return proxy


_graves: dict[int, ref[Any]] = {}


def _bury(point: Point, wrapper: Wrapper, _: object) -> None:
    # May run in the middle of anything: only note it down.
    _graves.pop(id(wrapper), None)
    wrapper.gone = True
    _dead.append((point, wrapper))


class _Values(dict[str, object]):
    """Labels and arguments of a call by their names, and the arguments as the caller gave them."""

    __slots__ = ("given",)

    given: tuple[tuple[Any, ...], Mapping[str, Any]]


def _values(
    point: Point, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> _Values:
    values = _Values(_named(point, wrapped, args, kwargs))
    values.given = (args, kwargs)
    return values


def _named(
    point: Point, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Mapping[str, object]:
    """Return labels and arguments of a call by their names; a label wins over an argument."""
    try:
        with transparent():
            bound = inspect.signature(wrapped).bind(*args, **kwargs)
            bound.apply_defaults()
    except Exception:  # no signature, as of some builtins, a wrong call, or foreign code
        return {**kwargs, **point.labels}
    rest = (p.name for p in bound.signature.parameters.values() if p.kind is p.VAR_KEYWORD)
    named = [bound.arguments[name] for name in rest]
    return {**(named[0] if named else {}), **bound.arguments, **point.labels}


def _kind(target: object) -> Kind:
    target = getattr(target, "__func__", target)
    while isinstance(target, partial):
        target = target.func
    if not isinstance(target, type) and not inspect.isroutine(target):
        target = type(target).__call__
    if inspect.iscoroutinefunction(target):
        return "coroutine"
    if inspect.isasyncgenfunction(target):
        return "async generator"
    if inspect.isgeneratorfunction(target):
        return "generator"
    return "function"


def _name(target: object) -> str:
    target = getattr(target, "__func__", target)
    while isinstance(target, partial):
        target = target.func
    named = target if hasattr(target, "__qualname__") else type(target)
    name = getattr(named, "__qualname__", repr(named))
    module = getattr(named, "__module__", None)  # methods in C have none
    return f"{module}:{name}" if module else name
