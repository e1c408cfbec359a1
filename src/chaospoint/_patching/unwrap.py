"""Find the Python function that runs when a callable is called.

Methods and the proxies of wrapt stand in front of a function and call it.  The search reads only
types and their dictionaries, so it runs no code of the program.
"""

from __future__ import annotations

import sys
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType

__all__ = ["function_of", "is_awaitable_marked", "wrapped_by"]

_LAYERS = 100
_line_of_class = type.__dict__["__mro__"].__get__


def function_of(target: object) -> FunctionType | None:
    """Return ``target`` if it is a Python function, or the function behind methods and proxies.

    A function made with ``functools.wraps`` is returned itself.  Returns None for a cache, a
    partial or another callable object, because these do more than call a function.
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
    """Return the ``__wrapped__`` of ``target``, or None."""
    from inspect import getattr_static  # slow to import, and not needed for plain functions

    inner: object | None = getattr_static(target, "__wrapped__", None)
    if type(inner) in (GetSetDescriptorType, MemberDescriptorType):  # of a proxy written in C
        inner = inner.__get__(target)  # type: ignore[union-attr]
    return inner


def _is_proxy(kind: type) -> bool:
    """Whether objects of this type imitate the class of the object that they wrap."""
    line: tuple[type, ...] = _line_of_class(kind)
    return any("__class__" in vars(base) for base in line if base is not object)


def is_awaitable_marked(function: object) -> bool:
    """Whether a plain function is marked as one that returns an awaitable."""
    mark = getattr(
        function, "_is_coroutine", None
    )  # the mark of asyncio, which asgiref sets before 3.12
    if mark is not None:
        coroutines = sys.modules.get("asyncio.coroutines")
        if mark is getattr(coroutines, "_is_coroutine", None):
            return True
    mark = getattr(function, "_is_coroutine_marker", None)  # the mark of inspect, since 3.12
    inspect = sys.modules.get("inspect")  # 3.12 uses another name for the mark
    names = ("_is_coroutine_mark", "_is_coroutine_marker")
    return mark is not None and any(mark is getattr(inspect, name, None) for name in names)
