"""Put a point on a callable: patch a Python function, wrap anything else."""

from __future__ import annotations

from collections.abc import Callable
from types import ClassMethodDescriptorType, MethodDescriptorType, WrapperDescriptorType
from typing import TYPE_CHECKING, TypeVar, cast

from chaospoint._patching import site
from chaospoint._patching.unwrap import function_of
from chaospoint.errors import InvalidPoint

if TYPE_CHECKING:
    from chaospoint._kernel.point import Point

__all__ = ["decorate"]

_F = TypeVar("_F")
_METHODS_IN_C = (ClassMethodDescriptorType, MethodDescriptorType, WrapperDescriptorType)


def decorate(point: Point, target: _F) -> _F:
    """Put a point on ``target``, and return the object to use instead of it.

    Raises `InvalidPoint` if ``target`` cannot be decorated; see ``Point.__call__``.
    """
    if site.can_patch() and (function := function_of(target)) is not None:
        site.place(point, function)
        return target
    inner = target.__func__ if isinstance(target, classmethod | staticmethod) else target
    if not callable(inner):
        raise InvalidPoint(
            f"{point.name!r} cannot decorate {target!r}, which is not callable; "
            "decorate the function itself (of a property: its getter), or use a with block"
        )
    if type(inner) in _METHODS_IN_C:
        raise InvalidPoint(
            f"{point.name!r} cannot decorate {target!r}: it is a method of a type written in "
            "C, which cannot be replaced; override it in a subclass and decorate that, or "
            "decorate a function that calls it"
        )
    from chaospoint._patching.wrapper import wrap

    wrapped: _F = wrap(point, cast("Callable[..., object]", target))
    return wrapped
