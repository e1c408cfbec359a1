"""Build an exception without arguments, or with a default message if its class needs one.

Many classes cannot be built, or shown, without a message. The default message is passed to a
parameter for messages only, and not to one for a status code or a host name; the rule has to give
other arguments that the class needs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from chaospoint._kernel.context import transparently
from chaospoint._kernel.signature import shown_by
from chaospoint.errors import InjectedFault

__all__ = ["build_without_arguments", "is_static", "required"]

_HEAP: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE
_flags_of_class = type.__dict__["__flags__"].__get__
_MESSAGE: Final = "injected by chaospoint"
_NAME: Final = re.compile(
    r"(\w*_)?(message|msg|text|details?|reason|descr\w*|explanation|error|err|what|string|s)",
    re.IGNORECASE,
)
_TEXT: Final = re.compile(r"\b(str|Any|object)\b")
_NO_TEXT: Final = re.compile(
    r"\b(int|float|bool|bytes|Mapping|Sequence|Iterable|\w*Error|Exception)\b|dict|list|tuple", re.I
)


def build_without_arguments(known: type[BaseException]) -> Callable[[], BaseException]:
    """Return a function without parameters that builds an exception of the class.

    This is the class itself if nothing else works; calling it raises the error to report.
    """
    if known is InjectedFault:
        return partial(known, _MESSAGE)
    if is_static(known):
        return known
    return transparently(_try, known)


def _try(known: type[BaseException]) -> Callable[..., BaseException]:
    try:
        _shown(known())
    except (Exception, SystemExit):
        return _with_message(known) or known
    return known


def is_static(known: type) -> bool:
    """Return whether a class is written in C, as builtins are, and so runs no foreign code."""
    return not _flags_of_class(known) & _HEAP


def required(known: type) -> tuple[str, ...]:
    """Return the names of the parameters that the class requires, as far as they are known."""
    return tuple(parameter.name for parameter in _needed(_parameters(known) or ()))


def _with_message(known: type[BaseException]) -> Callable[[], BaseException] | None:
    parameters = _parameters(known)
    build = partial(known, _MESSAGE)
    if parameters is not None:
        needed = _needed(parameters)
        places = needed or [p for p in parameters if p.kind is not p.VAR_KEYWORD][:1]
        if len(places) != 1 or not _takes_message(places[0]):
            return None
        if places[0].kind is places[0].KEYWORD_ONLY:
            build = partial(known, **{places[0].name: _MESSAGE})
    try:
        error = build()
        kept = _MESSAGE in _shown(error) or _MESSAGE in error.args
    except (Exception, SystemExit):
        return None
    return build if kept else None


def _parameters(known: type) -> list[inspect.Parameter] | None:
    """Return the parameters of the class; None if they are unknown, as for most classes in C."""
    shown = shown_by(known)
    return None if shown is None else list(shown.parameters.values())


def _needed(parameters: Iterable[inspect.Parameter]) -> list[inspect.Parameter]:
    rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p for p in parameters if p.default is p.empty and p.kind not in rest]


def _takes_message(parameter: inspect.Parameter) -> bool:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return True
    if not _NAME.fullmatch(parameter.name):
        return False
    if parameter.annotation is parameter.empty:
        return True
    written = inspect.formatannotation(parameter.annotation)
    return bool(_TEXT.search(written)) and not _NO_TEXT.search(written)


def _shown(error: BaseException) -> str:
    repr(error)
    return str(error)
