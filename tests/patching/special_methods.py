"""Classes whose special methods are decorated: the interpreter calls them, from C.

Each maker returns a call that goes through the methods, and tells what came of it.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from helpers import run

from chaospoint import Point

Call = Callable[[], object]


def a_metaclass(point: Point) -> Call:
    class Meta(type):
        @point
        def __new__(mcs, name: str, bases: Any, space: dict[str, Any]) -> Any:
            return super().__new__(mcs, name, bases, {**space, "marked": True})

        @point
        def __call__(cls, *args: Any) -> Any:
            return [super().__call__(*args)]

        @point
        def __instancecheck__(cls, instance: object) -> bool:
            return instance == "one of them"

        @property
        @point
        def shown(cls) -> str:
            return cls.__name__

        @point
        def __getitem__(cls, item: object) -> object:
            return item

    def call() -> object:
        class Thing(metaclass=Meta):
            pass

        return Thing.shown, Thing.marked, len(Thing()), isinstance("one of them", Thing), Thing[3]

    return call


def a_descriptor(point: Point) -> Call:
    class Field:
        @point
        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        @point
        def __get__(self, one: Any, owner: type | None = None) -> Any:
            return self.name if one is None else one.__dict__.get(self.name, 0)

        @point
        def __set__(self, one: Any, value: int) -> None:
            one.__dict__[self.name] = value + 1

        @point
        def __delete__(self, one: Any) -> None:
            one.__dict__[self.name] = -1

    def call() -> object:
        class Thing:
            size = Field()

        thing = Thing()
        thing.size = 4
        seen = [Thing.size, thing.size]
        del thing.size
        return [*seen, thing.size]

    return call


def special_methods(point: Point) -> Call:
    class Number:
        @point
        def __init__(self, n: int) -> None:
            self.n = n

        @point
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Number) and self.n == other.n

        @point
        def __hash__(self) -> int:
            return self.n

        @point
        def __bool__(self) -> bool:
            return self.n > 0

        @point
        def __len__(self) -> int:
            return self.n

        @point
        def __index__(self) -> int:
            return self.n

        @point
        def __add__(self, other: Any) -> int:
            return self.n + int(other)

        __radd__ = __add__

        @point
        def __contains__(self, item: int) -> bool:
            return item < self.n

        @point
        def __getitem__(self, at: int) -> int:
            if at >= self.n:
                raise IndexError(at)
            return at

        @point
        def __iter__(self) -> Iterator[int]:
            yield from range(self.n)

        @point
        def __repr__(self) -> str:
            return f"<{self.n}>"

        @point
        def __format__(self, spec: str) -> str:
            return f"{self.n}{spec}"

        @point
        def __call__(self, *args: int, **kwargs: int) -> tuple[object, ...]:
            return (self.n, args, kwargs)

    def call() -> object:
        three = Number(3)
        return (
            {three: 1}[Number(3)],
            [bool(three), len(three), hex(three), 10 + three, three + 1, 2 in three],
            [list(three), list(reversed(three)), sorted(three, reverse=True), [*range(9)][three]],
            [repr(three), f"{three:!}", three(1, k=2), sum([three, 4]), max(three)],
            operator.index(three),
        )

    return call


def blocks(point: Point) -> Call:
    class Block:
        @point
        def __enter__(self) -> str:
            return "in"

        @point
        def __exit__(self, kind: object, error: object, trace: object) -> bool:
            return kind is KeyError

        @point
        async def __aenter__(self) -> str:
            return "in"

        @point
        async def __aexit__(self, kind: object, error: object, trace: object) -> bool:
            return kind is KeyError

    @contextlib.contextmanager
    @point
    def managed() -> Iterator[str]:
        try:
            yield "managed"
        except KeyError:
            pass

    @contextlib.asynccontextmanager
    @point
    async def amanaged() -> AsyncIterator[str]:
        try:
            yield "managed"
        except KeyError:
            pass

    async def main() -> list[str]:
        seen = []
        for block in (Block(), amanaged()):
            async with block as entered:
                seen.append(entered)
                raise KeyError
        return seen

    def call() -> object:
        seen = []
        for block in (Block(), managed()):
            with block as entered:
                seen.append(entered)
                raise KeyError
        return seen, run(main())

    return call


def iterators(point: Point) -> Call:
    class Steps:
        def __init__(self) -> None:
            self.left = 3

        @point
        def __iter__(self) -> Steps:
            return self

        @point
        def __next__(self) -> int:
            if not self.left:
                raise StopIteration
            self.left -= 1
            return self.left

        @point
        def __aiter__(self) -> Steps:
            return self

        @point
        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left

        @point
        def __await__(self) -> Iterator[None]:
            yield from ()
            return self.left

    async def main() -> object:
        return [step async for step in Steps()], await Steps()

    return lambda: (list(Steps()), run(main()))
