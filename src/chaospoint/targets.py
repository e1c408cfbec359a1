"""What ``module:qualname`` names, found without running any code of the program.

Dictionaries and types are read: no ``__getattr__``, no ``__class__``, no import.  A name stands for
the function that is written under it, behind all decorators that follow the convention of
``__wrapped__``; where there is none, for what the name holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from inspect import getattr_static
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import TypeGuard, cast

from chaospoint.models.refusal import close_to

__all__ = ["Found", "Refused", "dictionary", "find", "layers"]

_MISSING = object()
_LAYERS = 100
_dictionary_of_class = type.__dict__["__dict__"].__get__
_line_of_class = type.__dict__["__mro__"].__get__


@dataclass(frozen=True, slots=True)
class Found:
    """What a point can be put on.

    ``held`` is what ``owner``, a module or a class, has under ``name``; ``function`` is what the
    point goes on: a Python function, or ``held`` itself, which has to be wrapped.
    """

    owner: object
    name: str
    held: object
    function: Callable[..., object]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why nothing can be placed, with the cure; ``missing`` if the name may still come."""

    reason: str
    missing: bool = False


def find(module: object, name: str, qualname: str) -> Found | Refused:
    """Return what ``qualname`` is in the imported module, or why it is nothing for a point."""
    owner, called = module, name
    *outer, last = qualname.split(".")
    for part in outer:
        held = _held(owner, part)
        if type(held) is Refused:
            return held
        if held is _MISSING:
            return _nothing(owner, called, part)
        if not issubclass(type(held), type):
            kind = type(held)
            return Refused(
                f"{part!r} in {called} is no class but an object: name the method of its class, "
                f"'{kind.__module__}:{kind.__qualname__}.…'"
            )
        owner, called = held, f"{called}.{part}" if owner is not module else f"{name}:{part}"
    held = _held(owner, last)
    if type(held) is Refused:
        return held
    if held is _MISSING:
        return _nothing(owner, called, last)
    return _placeable(
        Found(owner, last, held, cast("Callable[..., object]", held)), module, qualname
    )


def layers(held: object) -> Iterator[object]:
    """Yield what a name holds and what that wraps, the outermost first."""
    seen: set[int] = set()
    while id(held) not in seen and len(seen) < _LAYERS:
        seen.add(id(held))
        yield held
        if _is_method(held):
            held = held.__func__
            continue
        inner = getattr_static(held, "__wrapped__", None)
        if type(inner) in (GetSetDescriptorType, MemberDescriptorType):  # of a proxy in C
            inner = inner.__get__(held)
        if inner is None:
            return
        held = inner


def dictionary(found: object) -> dict[str, object]:
    """Return the names in a module or a class; empty for what has none."""
    if issubclass(type(found), type):
        return dict(_dictionary_of_class(found))
    try:  # a module that is loaded lazily loads when it is asked in any other way
        held: dict[str, object] = object.__getattribute__(found, "__dict__")
    except AttributeError:
        return {}
    return held


def _held(owner: object, name: str) -> object:
    """Return what the owner has under the name, `_MISSING`, or why only a base class has it."""
    if not issubclass(type(owner), type):
        return dictionary(owner).get(name, _MISSING)
    for base in _line_of_class(owner):
        if name in _dictionary_of_class(base):
            if base is owner:
                return _dictionary_of_class(base)[name]
            return Refused(
                f"{name!r} is inherited: name '{base.__module__}:{base.__qualname__}.{name}', "
                "which concerns all that inherit it, or override it"
            )
    return _MISSING


def _placeable(found: Found, module: object, qualname: str) -> Found | Refused:
    held = found.held
    if issubclass(type(held), property | cached_property):
        return Refused(
            "it is a property, which is read and not called: place the point on a function that "
            "it calls, or decorate its getter"
        )
    if issubclass(type(held), type):
        return Refused(
            "it is a class, and a stand-in for it would break `except`, pickling and subclasses: "
            f"name a method that it has itself, such as '{qualname}.__init__'"
        )
    inside = [one for one in layers(held) if type(one) is FunctionType]
    names = dictionary(module)
    for function in inside:
        if function.__code__.co_qualname == qualname and function.__globals__ is names:
            return Found(found.owner, found.name, held, function)
    plain = held.__func__ if _is_method(held) else held
    if type(plain) is FunctionType:
        return Found(found.owner, found.name, held, plain)
    if not callable(plain):
        return Refused(f"it is no function but {type(held).__name__!r}, which cannot be called")
    return found


def _nothing(owner: object, called: str, name: str) -> Refused:
    names = [one for one, held in dictionary(owner).items() if _is_callable(held)]
    near = close_to(name, names) or "no name there is near it"
    what = "class" if issubclass(type(owner), type) else "module"
    return Refused(f"{what} {called!r} has no {name!r}: {near}", missing=True)


def _is_callable(held: object) -> bool:
    return callable(held) or _is_method(held)


def _is_method(held: object) -> TypeGuard[classmethod[object, ..., object]]:
    return issubclass(type(held), classmethod | staticmethod)
