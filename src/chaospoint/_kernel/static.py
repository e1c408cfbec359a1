"""Read attributes of modules, classes and objects without running code of the program.

This bypasses ``__getattr__``, descriptors, metaclasses and lazy loaders: it reads only the slots in
which the interpreter stores dictionaries and names.
"""

from __future__ import annotations

import types
from types import GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Final

__all__ = [
    "MISSING",
    "dictionary",
    "held",
    "is_class",
    "is_initializing",
    "is_lazy",
    "is_module",
    "line_of_class",
    "module_of_class",
    "name_of_class",
    "qualname_of_class",
]

MISSING: Final = object()

_LAZY: type | None = getattr(types, "LazyImportType", None)  # since 3.15
_dictionary_of_class = type.__dict__["__dict__"].__get__
line_of_class = type.__dict__["__mro__"].__get__
name_of_class = type.__dict__["__name__"].__get__
qualname_of_class = type.__dict__["__qualname__"].__get__
_written_module = type.__dict__["__module__"].__get__


def is_class(owner: object) -> bool:
    """Whether this is a class, by its type, because ``__class__`` may be a property."""
    return issubclass(type(owner), type)


def is_module(owner: object) -> bool:
    """Whether this is a module, which may be loaded lazily."""
    return issubclass(type(owner), ModuleType)


def module_of_class(owner: type) -> str | None:
    """Return the ``__module__`` of a class, or None if that is not a string."""
    module = _dictionary_of_class(owner).get("__module__")
    if module is None:  # a type in C stores it in its name
        module = _written_module(owner)
    return module if type(module) is str else None


def dictionary(owner: object) -> dict[str, object]:
    """Return the dictionary of a module, a class or an object; empty if it has none."""
    if is_class(owner):
        return dict(_dictionary_of_class(owner))
    for base in line_of_class(type(owner)):
        slot = _dictionary_of_class(base).get("__dict__", MISSING)
        if slot is MISSING:
            continue
        # A property of that name is code of the program, and so may a subclass of `dict` be.
        names = slot.__get__(owner) if type(slot) in _SLOTS else None
        return names if type(names) is dict else {}
    return {}


_SLOTS: Final = (GetSetDescriptorType, MemberDescriptorType)


def held(owner: object, name: str) -> object:
    """Return the attribute with this name, or `MISSING`."""
    if is_class(owner):
        for base in line_of_class(owner):
            if name in (names := _dictionary_of_class(base)):
                return names[name]
        return MISSING
    value = dictionary(owner).get(name, MISSING)
    if value is MISSING and not is_module(owner):
        return held(type(owner), name)
    return value


def is_lazy(owner: object) -> bool:
    """Whether this is a lazy import, which the first use of its name resolves."""
    return type(owner) is _LAZY


def is_initializing(module: object) -> bool:
    """Whether a module is still being imported."""
    return held(dictionary(module).get("__spec__"), "_initializing") is True
