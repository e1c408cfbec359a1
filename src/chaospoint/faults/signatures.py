"""The parameters of functions that rules run, read once when a rule is read."""

from __future__ import annotations

import inspect
from functools import partial
from types import FunctionType, MethodType

from chaospoint._kernel.signature import shown_by
from chaospoint._kernel.takes import Takes

__all__ = ["awaits", "needs_arguments", "taken_by", "takes_arguments"]


def takes_arguments(function: object, *, after: int = 0, optional: bool = False) -> bool:
    """Return whether a function gets the arguments of the call for which it runs.

    It gets them if it has required parameters, or is a Python function with ``*args`` or
    ``**kwargs``. ``after``: the number of other arguments that it gets first. ``optional``: it also
    gets them if all its parameters have defaults, except a class or a builtin.
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
    return plain and any(parameter.kind in _RESTS for parameter in left)


def needs_arguments(function: object, *, after: int = 0) -> bool:
    """Return whether a function has parameters that require the arguments of the call."""
    return any(
        parameter.default is parameter.empty and parameter.kind not in _RESTS
        for parameter in _left(function, after)
    )


def taken_by(function: object, *, after: int = 0) -> Takes | None:
    """Return the parameters after the first ``after``; None if there are none or none is known."""
    left = _left(function, after)
    if not left:
        return None
    kinds = {parameter.kind for parameter in left}
    return Takes(
        tuple(parameter.name for parameter in left if parameter.kind in _PLACED),
        tuple(parameter.name for parameter in left if parameter.kind is parameter.KEYWORD_ONLY),
        frozenset(
            parameter.name
            for parameter in left
            if parameter.default is parameter.empty and parameter.kind not in _RESTS
        ),
        inspect.Parameter.POSITIONAL_ONLY in kinds,
        inspect.Parameter.VAR_POSITIONAL in kinds,
        inspect.Parameter.VAR_KEYWORD in kinds,
        _bound(function),
    )


_RESTS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _left(function: object, after: int) -> list[inspect.Parameter]:
    """Return the parameters after the first ``after`` positional ones, without bound keywords."""
    if (shown := shown_by(function)) is None:
        return []
    bound = _bound(function)
    parameters = shown.parameters.values()
    left = [
        parameter
        for parameter in parameters
        if parameter.name not in bound or parameter.kind in _RESTS
    ]
    placed = [parameter for parameter in left if parameter.kind in _PLACED][:after]
    return [parameter for parameter in left if parameter not in placed]


def _bound(function: object) -> frozenset[str]:
    """Return the keywords that `functools.partial` has bound."""
    bound = frozenset[str]()
    while isinstance(function, partial):
        bound |= function.keywords.keys()
        function = function.func
    return bound


_PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def awaits(function: object) -> bool:
    """Return whether the result of a function has to be awaited."""
    own = getattr(type(function), "__call__", None)  # noqa: B004 - the __call__ of a callable object
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(own)
