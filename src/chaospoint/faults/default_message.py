"""How an exception class is built when nobody says with what: bare, or with a message if need be.

Many classes cannot be built, or shown, without a message, and get a default one.  It is passed only
for a message, and not for a status code or the name of a host: a rule has to give the other
arguments that a class needs.
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
    """Return how the class is built without arguments.

    The class itself, if nothing else works: calling it says what is wrong.
    """
    if known is InjectedFault:
        return partial(known, _MESSAGE)
    if is_static(known):
        return known
    return transparently(_tried, known)


def _tried(known: type[BaseException]) -> Callable[..., BaseException]:
    try:
        _shown(known())
    except (Exception, SystemExit):
        return _with_message(known) or known
    return known


def is_static(known: type) -> bool:
    """Tell whether a class is written in C, as builtins are, so that it runs no foreign code."""
    return not _flags_of_class(known) & _HEAP


def required(known: type) -> tuple[str, ...]:
    """Return the names of what the class cannot be built without, as far as it says so."""
    return tuple(parameter.name for parameter in _needed(_parameters(known) or ()))


def _with_message(known: type[BaseException]) -> Callable[[], BaseException] | None:
    parameters = _parameters(known)
    build = partial(known, _MESSAGE)
    if parameters is not None:
        needed = _needed(parameters)
        places = needed or [one for one in parameters if one.kind is not one.VAR_KEYWORD][:1]
        if len(places) != 1 or not _takes_message(places[0]):
            return None
        if places[0].kind is places[0].KEYWORD_ONLY:
            build = partial(known, **{places[0].name: _MESSAGE})
    try:
        made = build()
        kept = _MESSAGE in _shown(made) or _MESSAGE in made.args
    except (Exception, SystemExit):
        return None
    return build if kept else None


def _parameters(known: type) -> list[inspect.Parameter] | None:
    """Return what the class takes; None if it does not say, as most classes in C."""
    shown = shown_by(known)
    return None if shown is None else list(shown.parameters.values())


def _needed(parameters: Iterable[inspect.Parameter]) -> list[inspect.Parameter]:
    rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one for one in parameters if one.default is one.empty and one.kind not in rest]


def _takes_message(parameter: inspect.Parameter) -> bool:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return True
    if not _NAME.fullmatch(parameter.name):
        return False
    if parameter.annotation is parameter.empty:
        return True
    written = inspect.formatannotation(parameter.annotation)
    return bool(_TEXT.search(written)) and not _NO_TEXT.search(written)


def _shown(made: BaseException) -> str:
    repr(made)
    return str(made)
