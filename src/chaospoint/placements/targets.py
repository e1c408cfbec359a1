"""What ``module:qualname`` names, found without running any code of the program.

Dictionaries and types are read: no ``__getattr__``, no ``__class__``, no import.  A name stands for
the function that is written under it, behind all decorators that follow the convention of
``__wrapped__``, whether the module defines it or only imports it from where it is written; where
there is none, for what the name holds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType, ModuleType
from typing import TypeGuard, cast

from chaospoint._kernel.static import (
    dictionary,
    is_lazy,
    line_of_class,
    module_of_class,
    name_of_class,
    qualname_of_class,
)
from chaospoint._patching.unwrap import function_of, wrapped_by
from chaospoint.models.refusal import close_to

__all__ = ["Found", "Refused", "dictionary", "find", "layers"]

_MISSING = object()
_LAYERS = 100
_dictionary_of_class = type.__dict__["__dict__"].__get__
_flags_of_class = type.__dict__["__flags__"].__get__
_IMMUTABLE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE


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
    """Why nothing can be placed, with the cure; ``missing`` if the name may still come, and
    ``on_demand`` if the module may make it when it is asked for it."""

    reason: str
    missing: bool = False
    on_demand: bool = False


def find(module: object, name: str, qualname: str) -> Found | Refused:
    """Return what ``qualname`` is in the imported module, or why it is nothing for a point."""
    owner, called = module, name
    *outer, last = qualname.split(".")
    for depth, part in enumerate(outer, 1):
        held = _held(owner, part)
        behind = ".".join([*outer, last][depth:])
        if type(held) is Refused:
            return held
        if held is _MISSING:
            return _nothing(owner, called, part, f".{behind}")
        if issubclass(type(held), ModuleType):
            inner = dictionary(held).get("__name__")
            return Refused(f"{part!r} in {called} is a module: write '{inner}:{behind}'")
        if not issubclass(type(held), type):
            return Refused(f"{part!r} in {called} is not a class but an object: {_of_object(held)}")
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
        inner = wrapped_by(held)
        if inner is None:
            return
        held = inner


def _held(owner: object, name: str) -> object:
    """Return what the owner has under the name, `_MISSING`, or why only a base class has it."""
    if not issubclass(type(owner), type):
        held = dictionary(owner).get(name, _MISSING)
        return _MISSING if is_lazy(held) else held  # to look at it would import it
    for base in line_of_class(owner):
        if name in _dictionary_of_class(base):
            held = _dictionary_of_class(base)[name]
            # What a type in C has can only be replaced in a class that inherits it; what `object`
            # has behaves differently in a class that overrides it.
            if base is owner or (_is_immutable(base) and base is not object):
                return held
            return Refused(_inherited(base, name))
    return _MISSING


def _inherited(base: type, name: str) -> str:
    if base is object:
        return f"{name!r} is that of every object: name a method that the class has itself"
    if (called := _name_of(base)) is None:
        return (
            f"{name!r} is inherited from {qualname_of_class(base)!r}: override it, or decorate it "
            "there"
        )
    return (
        f"{name!r} is inherited: name '{called}.{name}', which concerns all that inherit it, or "
        "override it"
    )


def _of_object(held: object) -> str:
    kind = type(held)
    called = None if _is_immutable(kind) else _name_of(kind)
    if called is None:
        return "place the point on a function that calls its method"
    return f"name the method of its class, '{called}.…'"


def _is_immutable(owner: object) -> bool:
    return bool(_flags_of_class(owner) & _IMMUTABLE)


def _name_of(owner: type) -> str | None:
    """Return ``module:qualname`` of a class, or None if it cannot be found by that."""
    module, qualname = module_of_class(owner), qualname_of_class(owner)
    found: object = None if module is None else sys.modules.get(module)
    for part in qualname.split("."):
        found = dictionary(found).get(part)
    return f"{module}:{qualname}" if found is owner else None


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
            + _a_method_of(held, qualname)
        )
    function = _written_as(held, dictionary(module), qualname) or function_of(held)
    if function is not None:
        return Found(found.owner, found.name, held, function)
    plain = held.__func__ if _is_method(held) else held
    if not callable(plain):
        return Refused(
            f"it is no function but {name_of_class(type(held))!r}, which cannot be called"
        )
    if issubclass(type(found.owner), type) and _is_immutable(found.owner):
        return Refused(_in_c(cast("type", found.owner), found.name))
    return found


def _written_as(held: object, names: object, qualname: str) -> FunctionType | None:
    """Return the function written under a name, which may be imported from where it is written."""
    functions = [one for one in layers(held) if type(one) is FunctionType]
    for function in functions:
        if function.__code__.co_qualname == qualname and function.__globals__ is names:
            return function
    return next((one for one in functions if _stands_at(one) is held), None)


def _stands_at(function: FunctionType) -> object:
    """Return what is held where the function is written."""
    first, *parts = function.__code__.co_qualname.split(".")
    found = function.__globals__.get(first, _MISSING)
    for part in parts:
        found = dictionary(found).get(part, _MISSING)
    return found


def _a_method_of(held: object, qualname: str) -> str:
    methods: list[str] = [name for name, one in dictionary(held).items() if _is_callable(one)]
    methods.sort(key=lambda name: (name != "__init__", name.startswith("_")))
    if not methods or _is_immutable(held):
        return "decorate a function that makes its objects"
    return f"name a method that it has itself, such as '{qualname}.{methods[0]}'"


def _in_c(owner: type, name: str) -> str:
    """Say that nothing can replace a method, and which name can be placed instead, if any."""
    heirs: list[type] = type.__subclasses__(owner)
    own = name_of_class(owner)
    named = [one for one in heirs if name_of_class(one) == own and not _is_immutable(one)]
    names = map(_name_of, named)
    heir = next(filter(None, names), None)
    other = f"name '{heir}.{name}', or " if heir else ""
    called = f"{module_of_class(owner)}.{qualname_of_class(owner)}"
    return (
        f"it is a method of the immutable type {called!r}, which is written in C: {other}place the "
        "point on a function that calls it"
    )


def _nothing(owner: object, called: str, name: str, rest: str = "") -> Refused:
    held = dictionary(owner)
    names = [one for one, thing in held.items() if _is_callable(thing)]
    near = close_to(name, names)
    is_class = issubclass(type(owner), type)
    if is_lazy(held.get(name)) or (not is_class and "__getattr__" in held and not near):
        return Refused(_on_demand(called, name, rest), missing=True, on_demand=True)
    what = "class" if is_class else "module"
    near = near or "no name there is near it"
    return Refused(f"{what} {called!r} has no {name!r}: {near}", missing=True)


def _module_of(held: object) -> object:
    if issubclass(type(held), type):
        return _dictionary_of_class(held).get("__module__")
    return held.__module__ if type(held) is FunctionType else None


def _on_demand(module: str, name: str, rest: str) -> str:
    """Say where else a name may be that the module makes when it is asked for it."""
    prefix = f"{module.partition('.')[0]}."
    known = [
        one
        for one, loaded in list(sys.modules.items())
        if one.startswith(prefix)
        and type(loaded) is ModuleType
        and _module_of(dictionary(loaded).get(name)) == one
    ]
    such = f", such as '{known[0]}:{name}{rest}'" if known else ""
    return (
        f"module {module!r} has no {name!r} so far, and may make it on demand: name the module "
        f"that defines it{such}; `python -c 'import {module} as m; print(m.{name}.__module__)'` "
        "prints which that is"
    )


def _is_callable(held: object) -> bool:
    return callable(held) or _is_method(held)


def _is_method(held: object) -> TypeGuard[classmethod[object, ..., object]]:
    return issubclass(type(held), classmethod | staticmethod)
