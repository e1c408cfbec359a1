"""Find the function that ``module:qualname`` names, without running code of the program.

Only dictionaries and types are read: no ``__getattr__``, no ``__class__``, no import. A name means
the function that was defined with this name, inside all decorators that set ``__wrapped__``. The
module may define or import it. If there is no such function, it means the object itself.
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
    """An object on which a point can be placed.

    ``owner``: a module or a class; ``held``: its attribute ``name``. ``function`` gets the point: a
    Python function, or ``held`` itself, which has to be wrapped.
    """

    owner: object
    name: str
    held: object
    function: Callable[..., object]


@dataclass(frozen=True, slots=True)
class Refused:
    """The reason why no point can be placed, with the cure.

    ``missing``: the name may still be defined; ``on_demand``: the module may create it on access.
    """

    reason: str
    missing: bool = False
    on_demand: bool = False


def find(module: object, name: str, qualname: str) -> Found | Refused:
    """Return the object of ``qualname`` in the imported module, or why it cannot have a point."""
    owner, owner_name = module, name
    *outer, last = qualname.split(".")
    for depth, part in enumerate(outer, 1):
        held = _held(owner, part)
        rest = ".".join([*outer, last][depth:])
        if type(held) is Refused:
            return held
        if held is _MISSING:
            return _nothing(owner, owner_name, part, f".{rest}")
        if issubclass(type(held), ModuleType):
            inner = dictionary(held).get("__name__")
            return Refused(f"{part!r} in {owner_name} is a module: write '{inner}:{rest}'")
        if not issubclass(type(held), type):
            return Refused(
                f"{part!r} in {owner_name} is not a class but an object: {_of_object(held)}"
            )
        owner, owner_name = (
            held,
            f"{owner_name}.{part}" if owner is not module else f"{name}:{part}",
        )
    held = _held(owner, last)
    if type(held) is Refused:
        return held
    if held is _MISSING:
        return _nothing(owner, owner_name, last)
    return _placeable(
        Found(owner, last, held, cast("Callable[..., object]", held)), module, qualname
    )


def layers(held: object) -> Iterator[object]:
    """Yield an object and the objects that it wraps, the outermost first."""
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
    """Return the attribute of the owner, `_MISSING`, or a refusal if a base class defines it."""
    if not issubclass(type(owner), type):
        held = dictionary(owner).get(name, _MISSING)
        return _MISSING if is_lazy(held) else held  # reading it would import it
    for base in line_of_class(owner):
        if name in _dictionary_of_class(base):
            held = _dictionary_of_class(base)[name]
            # A method of a type in C can be replaced in a subclass only. Methods of `object` are an
            # exception: they behave differently in a class that overrides them.
            if base is owner or (_is_immutable(base) and base is not object):
                return held
            return Refused(_inherited(base, name))
    return _MISSING


def _inherited(base: type, name: str) -> str:
    if base is object:
        return f"{name!r} is a method of every object: name a method that the class defines"
    if (called := _name_of(base)) is None:
        return (
            f"{name!r} is inherited from {qualname_of_class(base)!r}: override it, or decorate it "
            "in that class"
        )
    return (
        f"{name!r} is inherited: name '{called}.{name}', which affects all subclasses, or "
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
    """Return ``module:qualname`` of a class, or None if that does not lead to it."""
    module, qualname = module_of_class(owner), qualname_of_class(owner)
    found: object = None if module is None else sys.modules.get(module)
    for part in qualname.split("."):
        found = dictionary(found).get(part)
    return f"{module}:{qualname}" if found is owner else None


def _placeable(found: Found, module: object, qualname: str) -> Found | Refused:
    held = found.held
    if issubclass(type(held), property | cached_property):
        return Refused(
            "it is a property, which is not called: place the point on a function that its getter "
            "calls, or decorate the getter"
        )
    if issubclass(type(held), type):
        return Refused(
            "it is a class, and replacing it would break `except`, pickling and subclasses: "
            + _a_method_of(held, qualname)
        )
    function = _written_as(held, dictionary(module), qualname) or function_of(held)
    if function is not None:
        return Found(found.owner, found.name, held, function)
    plain = held.__func__ if _is_method(held) else held
    if not callable(plain):
        return Refused(
            f"it is not a function but {name_of_class(type(held))!r}, which cannot be called"
        )
    if issubclass(type(found.owner), type) and _is_immutable(found.owner):
        return Refused(_in_c(cast("type", found.owner), found.name))
    return found


def _written_as(held: object, names: object, qualname: str) -> FunctionType | None:
    """Return the function that was defined with this name, in this or another module."""
    functions = [layer for layer in layers(held) if type(layer) is FunctionType]
    for function in functions:
        if function.__code__.co_qualname == qualname and function.__globals__ is names:
            return function
    return next((function for function in functions if _defined_at(function) is held), None)


def _defined_at(function: FunctionType) -> object:
    """Return the object at the place where the function was defined."""
    first, *parts = function.__code__.co_qualname.split(".")
    found = function.__globals__.get(first, _MISSING)
    for part in parts:
        found = dictionary(found).get(part, _MISSING)
    return found


def _a_method_of(held: object, qualname: str) -> str:
    methods: list[str] = [name for name, value in dictionary(held).items() if _is_callable(value)]
    methods.sort(key=lambda name: (name != "__init__", name.startswith("_")))
    if not methods or _is_immutable(held):
        return "decorate a function that creates its instances"
    return f"name a method that it defines, such as '{qualname}.{methods[0]}'"


def _in_c(owner: type, name: str) -> str:
    """Return the reason why a method cannot be replaced, with another name if there is one."""
    heirs: list[type] = type.__subclasses__(owner)
    own = name_of_class(owner)
    same_name = [heir for heir in heirs if name_of_class(heir) == own and not _is_immutable(heir)]
    names = map(_name_of, same_name)
    path = next(filter(None, names), None)
    other = f"name '{path}.{name}', or " if path else ""
    called = f"{module_of_class(owner)}.{qualname_of_class(owner)}"
    return (
        f"it is a method of the immutable type {called!r}, which is written in C: {other}place the "
        "point on a function that calls it"
    )


def _nothing(owner: object, called: str, name: str, rest: str = "") -> Refused:
    held = dictionary(owner)
    names = [key for key, value in held.items() if _is_callable(value)]
    near = close_to(name, names)
    is_class = issubclass(type(owner), type)
    if is_lazy(held.get(name)) or (not is_class and "__getattr__" in held and not near):
        return Refused(_on_demand(called, name, rest), missing=True, on_demand=True)
    kind = "class" if is_class else "module"
    cure = near or "correct the name; no similar name is there"
    return Refused(f"{kind} {called!r} has no {name!r}: {cure}", missing=True)


def _module_of(held: object) -> object:
    if issubclass(type(held), type):
        return _dictionary_of_class(held).get("__module__")
    return held.__module__ if type(held) is FunctionType else None


def _on_demand(module: str, name: str, rest: str) -> str:
    """Return the cure for a name that the module may create on access."""
    prefix = f"{module.partition('.')[0]}."
    known = [
        other
        for other, loaded in list(sys.modules.items())
        if other.startswith(prefix)
        and type(loaded) is ModuleType
        and _module_of(dictionary(loaded).get(name)) == other
    ]
    example = f", such as '{known[0]}:{name}{rest}'" if known else ""
    return (
        f"module {module!r} has no {name!r} yet, and may create it on access: name the module "
        f"that defines it{example}; `python -c 'import {module} as m; print(m.{name}.__module__)'` "
        "prints its name"
    )


def _is_callable(held: object) -> bool:
    return callable(held) or _is_method(held)


def _is_method(held: object) -> TypeGuard[classmethod[object, ..., object]]:
    return issubclass(type(held), classmethod | staticmethod)
