"""The arguments of an exception, in which there may be things that are built with it.

They are found wherever they stand, in lists and mappings within each other; all else is handed to
the constructor as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chaospoint.models.refusal import Refusal

__all__ = ["Composed", "Nested", "replaced"]

_DEEPEST: Final = 64


def replaced(value: object, change: Callable[[object], object], depth: int = _DEEPEST) -> object:
    """Return the value with ``change`` applied to it and to all that is within its lists and
    mappings; what is not changed stays the same object."""
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
    """Stands for an exception that is built anew each time."""

    build: Callable[..., BaseException]


@dataclass(frozen=True, slots=True)
class Composed:
    """Builds an exception, and first what its arguments and its cause are made of."""

    build: Callable[..., BaseException]
    args: Sequence[object]
    kwargs: Mapping[str, object]
    cause: Callable[..., BaseException] | None

    def __call__(self) -> BaseException:
        """Build it."""
        args = [replaced(one, _built) for one in self.args]
        made = self.build(*args, **{n: replaced(one, _built) for n, one in self.kwargs.items()})
        if self.cause is not None:
            object.__setattr__(made, "__cause__", self.cause())  # it may be frozen
        return made


def _built(value: object) -> object:
    return value.build() if isinstance(value, Nested) else value
