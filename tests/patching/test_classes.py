"""Whatever a class does with a method, it does with a decorated one, in every state of its point.

Each maker decorates methods of one class and returns a call that goes through them.
"""

from __future__ import annotations

import abc
import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import pytest
from helpers import Boom
from patching_kit import ARMED, STATES, labelled, state
from special_methods import a_descriptor, a_metaclass, blocks, iterators, special_methods

import chaospoint
from chaospoint import Point, Registry

Call = Callable[[], object]


def a_dataclass(point: Point) -> Call:
    @functools.total_ordering
    @dataclass(frozen=True, slots=True)
    class Order:
        name: str
        amount: int = 1
        tags: list[str] = field(default_factory=point(lambda: ["new"]))

        @point
        def __post_init__(self) -> None:
            object.__setattr__(self, "amount", self.amount * 10)

        @point
        def __lt__(self, other: Any) -> bool:
            return self.amount < other.amount

        @property
        @point
        def shown(self) -> str:
            return f"{self.name} {self.amount}"

    return lambda: (Order("a").shown, repr(Order("a")) != "", Order("a", 2) > Order("a"))


def a_named_tuple(point: Point) -> Call:
    class Pair(NamedTuple):
        left: int
        right: int = 2

        @point
        def total(self) -> int:
            return self.left + self.right

        @classmethod
        @point
        def of(cls, number: int) -> Pair:
            return cls(number)

    return lambda: (Pair.of(1).total(), Pair(1)._replace(right=5).total())


def an_enum(point: Point) -> Call:
    class Colour(enum.Enum):
        @point
        @staticmethod
        def _generate_next_value_(name: str, start: int, count: int, last: list[Any]) -> str:
            return name.lower()

        RED = enum.auto()
        BLUE = enum.auto()

        @point
        def shown(self) -> str:
            return self.value.title()

        @classmethod
        @point
        def _missing_(cls, value: object) -> Colour:
            return cls.BLUE

    return lambda: (Colour.RED.shown(), Colour("red").name, Colour("none").name, len(Colour))


def an_abstract_class(point: Point) -> Call:
    class Base(abc.ABC):
        @abc.abstractmethod
        @point
        def speak(self) -> str:
            return "base"

        @property
        @abc.abstractmethod
        @point
        def size(self) -> int:
            return 1

    class Child(Base):
        def speak(self) -> str:
            return super().speak() + " child"

        @property
        @point
        def size(self) -> int:
            return super().size + 1

    def call() -> object:
        with pytest.raises(TypeError, match="abstract"):
            Base()
        return Child().speak(), Child().size, sorted(Base.__abstractmethods__)

    return call


def a_protocol(point: Point) -> Call:
    @runtime_checkable
    class Speaks(Protocol):
        @point
        def speak(self) -> str:
            return "silence"

    class Silent(Speaks):
        pass

    class Dog:
        @point
        def speak(self) -> str:
            return "woof"

    return lambda: (Silent().speak(), Dog().speak(), isinstance(Dog(), Speaks))


def a_class_with_slots(point: Point) -> Call:
    class Slim:
        __slots__ = ("_size",)

        @point
        def __init__(self, size: int) -> None:
            self._size = size

        @point
        def __getattr__(self, name: str) -> str:
            return f"no {name}"

    return lambda: (Slim(3)._size, Slim(3).colour)


def a_family(point: Point) -> Call:
    class Base:
        made: ClassVar[list[str]] = []

        @point
        def __new__(cls, *args: Any) -> Any:
            return super().__new__(cls)

        @point
        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            cls.made = [*cls.made, cls.__name__]

        @point
        def greet(self, *, end: str = ".") -> str:
            return "base" + end

        @classmethod
        @point
        def make(cls) -> Any:
            return cls()

    def call() -> object:
        class Left(Base):
            @point
            def greet(self, *, end: str = ".") -> str:
                return "left " + super().greet(end=end)

        class Right(Base):
            @point
            def greet(self, *, end: str = ".") -> str:
                return "right " + super().greet(end=end)

        class Both(Left, Right):
            @point
            def greet(self, *, end: str = "!") -> str:
                assert __class__ is Both
                return "both " + super().greet(end=end)

            @classmethod
            @point
            def make(cls) -> Any:
                return super().make()

        return Both.make().greet(), Both.made

    return call


MAKERS = {
    maker.__name__.replace("_", " "): maker
    for maker in (
        *(a_dataclass, a_named_tuple, an_enum, an_abstract_class, a_protocol, a_class_with_slots),
        *(a_family, a_metaclass, a_descriptor, special_methods, blocks, iterators),
    )
}
every_class = pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)


@every_class
@pytest.mark.parametrize("name", STATES)
def test_a_class_works_as_before(
    registry: Registry, maker: Callable[[Point], Call], name: str
) -> None:
    call = maker(labelled(registry))
    before = call()
    with state(registry, name) as armed:
        assert call() == before
        assert all(handle.reaches > 0 for handle in armed)
    assert call() == before


@every_class
@pytest.mark.parametrize("name", ARMED)
def test_a_class_is_made_while_armed(
    registry: Registry, maker: Callable[[Point], Call], name: str
) -> None:
    before = maker(labelled(registry))()
    with state(registry, name):
        assert maker(labelled(registry))() == before


@every_class
def test_its_methods_fail_when_a_rule_says_so(
    registry: Registry, maker: Callable[[Point], Call]
) -> None:
    call = maker(registry.point("p"))
    before = call()
    with (
        chaospoint.armed("p", registry=registry, exception=Boom) as armed,
        pytest.raises((Boom, RuntimeError)) as failure,
    ):
        call()
    assert chaospoint.injection_of(failure.value) is not None
    assert armed.injections >= 1
    assert call() == before
