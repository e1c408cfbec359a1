"""The exception classes that a rule may raise, and how data in arguments describes one."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping
from typing import Final

from chaospoint._kernel.static import name_of_class
from chaospoint.errors import InjectedFault
from chaospoint.faults.lookup import is_exception
from chaospoint.models.refusal import Refusal

__all__ = [
    "BUILTINS",
    "CURE",
    "KEYS",
    "REFUSED",
    "describes_exception",
    "exception_class",
    "not_a_class",
]

REFUSED = (StopIteration, StopAsyncIteration, GeneratorExit)
KEYS: Final = ("type", "args", "kwargs", "cause")
CURE = (
    "write an exception class, a builtin's name, a dotted path such as httpx.ConnectTimeout, or"
    " {type: ..., args: [...], kwargs: {...}}"
)
BUILTINS = sorted(
    name
    for name, value in [*vars(builtins).items(), ("InjectedFault", InjectedFault)]
    if is_exception(value) and issubclass(value, Exception) and not issubclass(value, REFUSED)
)


def not_a_class(value: object) -> Refusal:
    """Return the refusal of a value that is not an exception class."""
    return Refusal("not an exception class", CURE, value=value)


def exception_class(found: object, named: object = None) -> type[BaseException]:
    """Return the class if a rule may raise it; `Refusal` if not, which shows ``named``."""
    value = named or found
    if not is_exception(found):
        raise not_a_class(value)
    if issubclass(found, REFUSED):
        problem = (
            f"{name_of_class(found)} controls generators and iteration, and cannot be injected"
        )
        raise Refusal(problem, "write another exception", value=value)
    return found


def describes_exception(value: Mapping[object, object]) -> bool:
    """Return whether a mapping in arguments describes an exception and is not other data."""
    named = value.get("type")
    if not value.keys() <= set(KEYS) or is_exception(named):
        return is_exception(named) and value.keys() <= set(KEYS)
    if not isinstance(named, str):
        return False
    path = named.removeprefix("builtins.")
    *before, last = path.split(".")
    if not before:
        return path == "InjectedFault" or is_exception(vars(builtins).get(path))
    if not all(map(str.isidentifier, (*before, last))):
        return False
    return len(value) > 1 or last[0].isupper() or before[0] in sys.stdlib_module_names
