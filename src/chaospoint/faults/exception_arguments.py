"""The arguments of an exception, which may contain exceptions that are built with it.

These are found at any depth of lists and mappings. Other values go to the constructor unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chaospoint.models.refusal import Refusal

__all__ = ["Composed", "Nested", "replaced"]

_DEEPEST: Final = 64


def replaced(value: object, change: Callable[[object], object], depth: int = _DEEPEST) -> object:
    """Return the value with ``change`` applied to it and to everything in its lists and mappings.

    A value in which nothing changes stays the same object.
    """
    if (new := change(value)) is not value or not depth:
        return new
    if type(value) in (list, tuple):
        assert isinstance(value, list | tuple)
        items = [_at(n, item, change, depth - 1) for n, item in enumerate(value)]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else type(value)(items)
    if type(value) is dict:
        named = {name: _at(name, item, change, depth - 1) for name, item in value.items()}
        return value if all(named[name] is value[name] for name in value) else named
    return value


def _at(
    place: object, value: object, change: Callable[[object], object], depth: int = _DEEPEST
) -> object:
    try:
        return replaced(value, change, depth)
    except Refusal as refusal:
        raise refusal.within(f"[{place}]" if isinstance(place, int) else str(place)) from None


@dataclass(frozen=True, slots=True)
class Nested:
    """Stands in arguments for an exception that is built for each injection."""

    build: Callable[..., BaseException]


@dataclass(frozen=True, slots=True)
class Composed:
    """Builds an exception, after the exceptions in its arguments and its cause."""

    build: Callable[..., BaseException]
    args: Sequence[object]
    kwargs: Mapping[str, object]
    cause: Callable[..., BaseException] | None

    def __call__(self) -> BaseException:
        """Build the exception."""
        args = [replaced(value, _built) for value in self.args]
        kwargs = {name: replaced(value, _built) for name, value in self.kwargs.items()}
        error = self.build(*args, **kwargs)
        if self.cause is not None:
            object.__setattr__(error, "__cause__", self.cause())  # the class may be frozen
        return error


def _built(value: object) -> object:
    return value.build() if isinstance(value, Nested) else value
