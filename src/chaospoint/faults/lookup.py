"""Look up the class of an exception by its name, and import only for trusted sources.

`peek` runs no code of the program: it reads the dictionaries of imported modules, and treats a
module that is loaded lazily as not imported. `fetch` imports missing modules.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Literal, TypeGuard

from chaospoint._kernel.static import (
    MISSING,
    dictionary,
    held,
    is_class,
    is_initializing,
    is_lazy,
    is_module,
)
from chaospoint.errors import InjectedFault
from chaospoint.models.refusal import Refusal, close_to, describe

__all__ = ["Trust", "builtin", "is_exception", "look_up", "path_of"]

Trust = Literal["code", "deferred", "early", "loaded"]
"""How far the source of a rule is trusted to import modules.

``code``: at once. ``deferred``, for env and files: at the rule's first reach. ``early``: the same,
before the program has completed `sys.path`, so any module may still appear. ``loaded``, for HTTP
and stores: never.
"""

_CURE = "write a builtin such as TimeoutError, or a dotted path such as httpx.ConnectTimeout"


def is_exception(found: object) -> TypeGuard[type[BaseException]]:
    """Return whether this is an exception class; asks its type, because ``__class__`` may lie."""
    return issubclass(type(found), type) and issubclass(found, BaseException)  # type: ignore[arg-type]


def builtin(name: str) -> object:
    """Return the builtin, or `InjectedFault`; `Refusal` with similar names if there is none."""
    found = InjectedFault if name == "InjectedFault" else vars(builtins).get(name, MISSING)
    if found is MISSING:
        names = [key for key, value in vars(builtins).items() if is_exception(value)]
        cure = close_to(name, [*names, "InjectedFault"])
        raise Refusal("no builtin has this name", f"{cure} {_CURE}".strip(), value=name)
    return found


def path_of(cls: type) -> str | None:
    """Return the path that leads to the class, or None if none does."""
    module, qualname = cls.__module__, cls.__qualname__
    if cls is InjectedFault or (module == "builtins" and vars(builtins).get(qualname) is cls):
        return qualname
    found: object = sys.modules.get(module) if isinstance(module, str) else None
    for part in qualname.split("."):
        found = held(found, part)
    path = f"{module}.{qualname}"
    return path if found is cls and all(map(str.isidentifier, path.split("."))) else None


def look_up(path: str, trust: Trust, *, reached: bool = False) -> object | None:
    """Return the object at the dotted path, as far as the trust allows; None if that has to wait.

    ``reached``: this is the rule's first reach. Raises `Refusal` only.
    """
    if trust == "code" or (reached and trust != "loaded"):
        return fetch(path)
    found = peek(path)
    if trust == "loaded" and found is None:
        raise Refusal(
            "not found in the modules that this process has imported",
            "name a builtin, or a class of a module that the program has imported",
            value=path,
        )
    if found is None and trust != "early" and not can_exist(path):
        top = path.partition(".")[0]
        raise Refusal(
            f"no module is named {top!r}", "correct the name, or install its package", value=path
        )
    return found


def peek(path: str) -> object | None:
    """Return the object at the dotted path, or None if finding it out would need an import.

    `Refusal` if nothing can be there.
    """
    parts = path.split(".")
    found: object = sys.modules.get(parts[0])
    for nth, part in enumerate(parts[1:], 1):
        if found is None or is_initializing(found):
            return None
        inner = held(found, part)
        if is_lazy(inner):
            return None
        if inner is MISSING:
            inner = sys.modules.get(".".join(parts[: nth + 1]))
        if inner is None and _is_final(found):
            raise _nothing_at(path, nth, found)
        found = inner
    return found


def can_exist(path: str) -> bool:
    """Return whether the top-level package of the path can be found; imports nothing."""
    top = path.partition(".")[0]
    if top == "__main__" or top in sys.modules:
        return True
    try:
        return importlib.util.find_spec(top) is not None
    except Exception:  # foreign finders may raise anything
        return False


def fetch(path: str) -> object:
    """Return the object at the dotted path, and import its modules; raises `Refusal` only."""
    parts = path.split(".")
    found = _import(parts[0], path)
    if found is None:
        raise Refusal(
            f"no module is named {parts[0]!r}",
            "correct the name, or install its package",
            value=path,
        )
    for nth, part in enumerate(parts[1:], 1):
        try:
            inner = getattr(found, part, MISSING)
        except Exception as error:
            raise _failed(f"reading {part!r}", error, path) from None
        if inner is MISSING and is_module(found):
            inner = _import(".".join(parts[: nth + 1]), path) or MISSING
        if inner is MISSING:
            raise _nothing_at(path, nth, found)
        found = inner
    return found


def _import(name: str, path: str) -> object | None:
    """Import the module; None if no module has this name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The error of `a.b` also has the name `a.b` if `a` is a module and not a package.
        if error.name == name:
            return None
        raise _failed(f"importing {name!r}", error, path) from None
    except (Exception, SystemExit) as error:  # an import may raise anything
        raise _failed(f"importing {name!r}", error, path) from None


def _failed(doing: str, error: BaseException, path: str) -> Refusal:
    problem = f"{doing} failed with {describe(error)}"
    return Refusal(problem, "correct the module, or name another exception", value=path)


def _nothing_at(path: str, nth: int, found: object) -> Refusal:
    *before, part = path.split(".")[: nth + 1]
    names = [name for name, value in dictionary(found).items() if is_exception(value)]
    problem = f"{'.'.join(before)!r} has no {part!r}"
    return Refusal(problem, close_to(part, names) or _CURE, value=path)


def _is_final(found: object) -> bool:
    """Return whether no import can add an attribute to the object."""
    if is_class(found):
        return True
    inside = dictionary(found)
    if type(found) is not ModuleType or inside.get("__name__") == "__main__":
        return False  # a module of another type may load itself at its first use
    return "__path__" not in inside and "__getattr__" not in inside
