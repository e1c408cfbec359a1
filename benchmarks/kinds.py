"""The source of the measured callables, one for each kind, so that each copy is compiled anew.

A source defines ``it`` with the decorator ``place``; the statement makes one complete call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from benchmarks.loops import UNROLLED, Loop, loop
from benchmarks.measure import Trio

__all__ = [
    "ASYNC_GENERATOR",
    "COROUTINE",
    "FUNCTION",
    "GENERATOR",
    "KINDS",
    "Kind",
    "Place",
    "bare",
    "trio",
]

Place = Callable[[Any], Any]
"""A decorator."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of callable."""

    name: str
    source: str
    statement: str
    awaits: bool = False
    unrolled: int = UNROLLED

    def make(self, place: Place, names: Mapping[str, object] | None = None) -> Any:
        """Compile a fresh ``it``, decorated by ``place``."""
        namespace: dict[str, Any] = {**(names or {}), "place": place, "__name__": __name__}
        exec(compile(self.source, "<measured>", "exec"), namespace)
        return namespace["it"]

    def loop(self, it: object, names: Mapping[str, object] | None = None) -> Loop:
        """Compile a timed loop that calls ``it``."""
        return loop(
            self.statement,
            {**(names or {}), "it": it},
            awaits=self.awaits,
            unrolled=self.unrolled,
        )


def bare(target: Any) -> Any:
    """Return ``target`` undecorated."""
    return target


def trio(
    kind: Kind, ours: Callable[[ExitStack], Any], names: Mapping[str, object] | None = None
) -> Callable[[ExitStack], Trio]:
    """Return a function that builds ours and two undecorated copies."""

    def build(stack: ExitStack) -> Trio:
        base, control = (kind.loop(kind.make(bare, names), names) for _ in range(2))
        return Trio(kind.loop(ours(stack), names), base, control)

    return build


FUNCTION = Kind("function", "@place\ndef it():\n    return 7\n", "it()")
COROUTINE = Kind("coroutine", "@place\nasync def it():\n    return 7\n", "await it()", awaits=True)
GENERATOR = Kind("generator", "@place\ndef it():\n    yield 7\n", "for _item in it(): pass")
ASYNC_GENERATOR = Kind(
    "async generator",
    "@place\nasync def it():\n    yield 7\n",
    "async for _item in it(): pass",
    awaits=True,
)


def _in_class(name: str, above: str, argument: str, it: str) -> Kind:
    lines = [
        "class Home:",
        *([f"    {above}"] if above else []),
        "    @place",
        f"    def method({argument}):",
        "        return 7",
        f"it = {it}",
    ]
    return Kind(name, "\n".join(lines), "it.method()")


KINDS: Iterable[Kind] = (
    FUNCTION,
    _in_class("method", "", "self", "Home()"),
    _in_class("classmethod", "@classmethod", "cls", "Home"),
    _in_class("staticmethod", "@staticmethod", "", "Home"),
    COROUTINE,
    GENERATOR,
    ASYNC_GENERATOR,
)
