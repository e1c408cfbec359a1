"""What modules, classes and objects hold, read without running any code of the program.

No ``__getattr__``, no descriptor, no metaclass and no lazy loader is asked: only the slots in
which the interpreter itself keeps dictionaries and names.
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


def is_class(found: object) -> bool:
    """Whether this is a class; its type is asked, because ``__class__`` may be a property."""
    return issubclass(type(found), type)


def is_module(found: object) -> bool:
    """Whether this is a module, also one that is loaded lazily."""
    return issubclass(type(found), ModuleType)


def module_of_class(owner: type) -> str | None:
    """Return the name of the module that a class says it is written in."""
    module = _dictionary_of_class(owner).get("__module__")
    if module is None:  # a type in C keeps it in its name
        module = _written_module(owner)
    return module if type(module) is str else None


def dictionary(found: object) -> dict[str, object]:
    """Return the names in a module, a class or an object; empty for what has none."""
    if is_class(found):
        return dict(_dictionary_of_class(found))
    for base in line_of_class(type(found)):
        slot = _dictionary_of_class(base).get("__dict__", MISSING)
        if slot is MISSING:
            continue
        # A property of that name is code of the program, and so may a dictionary of its own be.
        names = slot.__get__(found) if type(slot) in _SLOTS else None
        return names if type(names) is dict else {}
    return {}


_SLOTS: Final = (GetSetDescriptorType, MemberDescriptorType)


def held(found: object, name: str) -> object:
    """Return what is kept under a name, or `MISSING`."""
    if is_class(found):
        for base in line_of_class(found):
            if name in (names := _dictionary_of_class(base)):
                return names[name]
        return MISSING
    one = dictionary(found).get(name, MISSING)
    if one is MISSING and not is_module(found):
        return held(type(found), name)
    return one


def is_lazy(one: object) -> bool:
    """Whether this stands for an import that the first use of its name makes."""
    return type(one) is _LAZY


def is_initializing(module: object) -> bool:
    """Whether the import of a module has begun and not ended."""
    return held(dictionary(module).get("__spec__"), "_initializing") is True
