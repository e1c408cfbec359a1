"""The Python function that runs when a callable is called.

Methods and the proxies of wrapt stand in front of a function and run it.  Only types and their
dictionaries are read, so no code of the program runs.
"""

from __future__ import annotations

import sys
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType

__all__ = ["function_of", "is_awaitable_marked", "wrapped_by"]

_LAYERS = 100
_line_of_class = type.__dict__["__mro__"].__get__


def function_of(target: object) -> FunctionType | None:
    """Return ``target`` if it is a Python function, or the one behind methods and proxies.

    A function that ``functools.wraps`` made is a function of its own.  A cache, a partial or any
    other callable object is more than the function that it calls: the answer is None.
    """
    for _ in range(_LAYERS):
        kind = type(target)
        if issubclass(kind, FunctionType):
            return target  # type: ignore[return-value]
        if issubclass(kind, MethodType | classmethod | staticmethod):
            target = target.__func__  # type: ignore[attr-defined]
        elif _is_proxy(kind):
            target = wrapped_by(target)
        else:
            return None
    return None


def wrapped_by(target: object) -> object | None:
    """Return what ``target`` names as its ``__wrapped__``, or None."""
    from inspect import getattr_static  # it takes long to load, and most callables are functions

    inner: object | None = getattr_static(target, "__wrapped__", None)
    if type(inner) in (GetSetDescriptorType, MemberDescriptorType):  # of a proxy in C
        inner = inner.__get__(target)  # type: ignore[union-attr]
    return inner


def _is_proxy(kind: type) -> bool:
    """Whether objects of this type pass themselves off as what they wrap."""
    line: tuple[type, ...] = _line_of_class(kind)
    return any("__class__" in vars(base) for base in line if base is not object)


def is_awaitable_marked(function: object) -> bool:
    """Whether somebody marked a plain function as one that returns an awaitable."""
    mark = getattr(function, "_is_coroutine", None)  # asyncio's, which asgiref sets before 3.12
    if mark is not None:
        coroutines = sys.modules.get("asyncio.coroutines")
        if mark is getattr(coroutines, "_is_coroutine", None):
            return True
    mark = getattr(function, "_is_coroutine_marker", None)  # that of inspect, since 3.12
    inspect = sys.modules.get("inspect")  # its name for the mark is another in 3.12
    names = ("_is_coroutine_mark", "_is_coroutine_marker")
    return mark is not None and any(mark is getattr(inspect, name, None) for name in names)
