"""The arguments in the signature of a function, if they differ from those of its code.

A function made with `functools.wraps` takes ``*args, **kwargs`` but has the signature of the
wrapped function.  Users write ``where`` with the names in the signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from chaospoint._kernel.context import transparently

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable


__all__ = ["Signature", "argument_names", "shown_by", "signature_of", "takes_rest"]


_KEYWORD = -1
_NOT_GIVEN = object()


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters in a signature, without those that the code itself names.

    ``places``: the position of each name, or -1 if it is keyword-only.  ``has_rest``: whether there
    is ``**kwargs``.  ``is_open``: whether there is ``*args`` or ``**kwargs``.
    """

    places: Mapping[str, int]
    defaults: Mapping[str, object]
    has_rest: bool
    is_open: bool = False

    def read(self, name: str, code: CodeType) -> Callable[[Any], object]:
        """Return a function that reads the argument from the values that the code received."""
        place, default = self.places[name], self.defaults.get(name, _NOT_GIVEN)
        own = code.co_argcount
        extra, rest = takes_rest(code)

        def read(values: Any) -> object:
            if rest is not None and name in (given := values[rest]):
                return given[name]
            if 0 <= place < own:
                return values[place]
            if extra is not None and 0 <= place - own < len(positional := values[extra]):
                return positional[place - own]
            if default is _NOT_GIVEN:
                raise LookupError(name)
            return default

        return read


def shown_by(target: object) -> inspect.Signature | None:
    """Return `inspect.signature` of ``target``; None if that fails, as for some builtins.

    It may run code of the program, so do not call it under a lock.
    """
    import inspect

    try:
        return transparently(inspect.signature, target)
    except Exception:
        return None


def signature_of(function: FunctionType) -> Signature | None:
    """Return the signature of a function, or None if it is that of its code."""
    if not any(hasattr(function, name) for name in ("__wrapped__", "__signature__")):
        return None
    own, _ = argument_names(function.__code__)
    if (signature := shown_by(function)) is None:
        return None
    parameters = signature.parameters.values()
    # A signature lists its parameters in this order: by position, the rest of these, by keyword.
    shown = {
        each.name: _KEYWORD if each.kind is each.KEYWORD_ONLY else position
        for position, each in enumerate(parameters)
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD) and each.name not in own
    }
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    has_rest = any(each.kind is each.VAR_KEYWORD for each in parameters)
    is_open = has_rest or any(each.kind is each.VAR_POSITIONAL for each in parameters)
    return Signature(shown, defaults, has_rest, is_open)


_VARARGS, _VARKEYWORDS = 0x04, 0x08


def argument_names(code: CodeType) -> tuple[tuple[str, ...], bool]:
    """Return the names of the arguments, and whether the last one is ``**kwargs``."""
    return code.co_varnames[: _count(code)], bool(code.co_flags & _VARKEYWORDS)


def takes_rest(code: CodeType) -> tuple[int | None, int | None]:
    """Return the positions of ``*args`` and ``**kwargs`` among the arguments."""
    named = code.co_argcount + code.co_kwonlyargcount
    extra = named if code.co_flags & _VARARGS else None
    rest = _count(code) - 1 if code.co_flags & _VARKEYWORDS else None
    return extra, rest


def _count(code: CodeType) -> int:
    rests = bool(code.co_flags & _VARARGS) + bool(code.co_flags & _VARKEYWORDS)
    return code.co_argcount + code.co_kwonlyargcount + rests
