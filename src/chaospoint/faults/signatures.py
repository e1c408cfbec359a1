"""What functions of the program take, read from their signatures once, when a rule is read."""

from __future__ import annotations

import inspect
from functools import partial
from types import FunctionType, MethodType

from chaospoint._kernel.signature import shown_by
from chaospoint._kernel.takes import Takes

__all__ = ["awaits", "needs_arguments", "taken_by", "takes_arguments"]


def takes_arguments(function: object, *, after: int = 0, optional: bool = False) -> bool:
    """Tell whether a function is to be given the arguments of the call that it answers.

    ``after``: it gets so many other arguments first. It is given them if it cannot be called
    without, or is a Python function with ``*args`` or ``**kwargs``. ``optional``: also if all that
    it takes has defaults; a class or a builtin is called without where that can be done.
    """
    if needs_arguments(function, after=after):
        return True
    called = function
    while isinstance(called, partial):
        called = called.func
    if isinstance(called, type) or inspect.isbuiltin(called):
        return False
    left = _left(function, after)
    if optional:
        return bool(left)
    plain = type(function) in (FunctionType, MethodType)
    return plain and any(one.kind in _RESTS for one in left)


def needs_arguments(function: object, *, after: int = 0) -> bool:
    """Tell whether a function cannot be called without the arguments of a call."""
    return any(
        one.default is one.empty and one.kind not in _RESTS for one in _left(function, after)
    )


def taken_by(function: object, *, after: int = 0) -> Takes | None:
    """Return what a function takes after so many other arguments; None if nothing is known."""
    left = _left(function, after)
    if not left:
        return None
    kinds = {one.kind for one in left}
    return Takes(
        tuple(one.name for one in left if one.kind in _PLACED),
        tuple(one.name for one in left if one.kind is one.KEYWORD_ONLY),
        frozenset(one.name for one in left if one.default is one.empty and one.kind not in _RESTS),
        inspect.Parameter.POSITIONAL_ONLY in kinds,
        inspect.Parameter.VAR_POSITIONAL in kinds,
        inspect.Parameter.VAR_KEYWORD in kinds,
        _bound(function),
    )


_RESTS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _left(function: object, after: int) -> list[inspect.Parameter]:
    """Return what a function takes behind so many arguments, and beside those already bound."""
    if (shown := shown_by(function)) is None:
        return []
    bound = _bound(function)
    parameters = shown.parameters.values()
    left = [one for one in parameters if one.name not in bound or one.kind in _RESTS]
    placed = [one for one in left if one.kind in _PLACED][:after]
    return [one for one in left if one not in placed]


def _bound(function: object) -> frozenset[str]:
    """Return the keywords that are bound already."""
    bound = frozenset[str]()
    while isinstance(function, partial):
        bound |= function.keywords.keys()
        function = function.func
    return bound


_PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def awaits(function: object) -> bool:
    """Tell whether what a function returns is to be awaited."""
    own = getattr(type(function), "__call__", None)  # noqa: B004 - of a callable object
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(own)
