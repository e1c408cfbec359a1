"""Placements of every kind, alone and stacked, with every way to identify the caller.

Each returns 7 if no fault acts, and knows the points that it reaches and its own code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

from helpers import FUNCTIONS, PLACES

from chaospoint import Point, Registry

Call = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Placement:
    """A call: the points that it reaches, its caller, and the result of its own code."""

    name: str
    points: tuple[str, ...]
    call: Call
    target: Any = None  # what is patched or wrapped
    own: CodeType | None = None
    tenant: str | None = None
    calm: bool = False
    awaited: bool = False  # it belongs into a task

    def changed(self) -> bool:
        """Whether the call runs more than its own code."""
        one = self.target
        while hasattr(one, "_self_enabled"):
            if one._self_enabled:
                return True
            one = one.__wrapped__
        return self.own is not None and _code(self.target) is not self.own


def _code(target: Any) -> CodeType | None:
    return getattr(getattr(target, "__func__", target), "__code__", None)


def _wraps(function: Callable[..., Any]) -> Callable[[Any], Call]:
    return lambda point: point(functools.partial(function))


async def _seven() -> int:
    return 7


def _items() -> Iterator[int]:
    yield 7


async def _aitems() -> Any:
    yield 7


def _an_object() -> Callable[[], int]:
    """Return a callable object of a new class, because decorating a method patches the class."""

    class Seven:
        def __call__(self) -> int:
            return 7

    return Seven()


WRAPPED: dict[str, Callable[[Any], Call]] = {
    "wrapped": PLACES["wrapped"],
    "wrapped_coroutine": _wraps(_seven),
    "wrapped_generator": _wraps(_items),
    "wrapped_async_generator": _wraps(_aitems),
    "wrapped_object": lambda point: point(_an_object()),
    "wrapped_method": lambda point: point(_an_object().__call__),
}
MAKERS: dict[str, Callable[[Any], Call]] = {**PLACES, **WRAPPED}


def _awaited(kind: str) -> bool:
    return "async" in kind or "coroutine" in kind


def placements(storm: Registry, calm: Registry) -> list[Placement]:
    """Place a point in every way: alone and, as a decorator, also under two others.

    The outermost of three has the registry ``calm``, so every call reaches it.
    """
    made: list[Placement] = []
    for kind, maker in MAKERS.items():
        inner, outer = (storm.point(f"{way}.{kind.replace('_', '-')}") for way in ("race", "outer"))
        call = maker(inner)
        made.append(
            Placement(kind, (inner.name,), call, call, _own(call, kind), awaited=_awaited(kind))
        )
        if kind in FUNCTIONS or kind in WRAPPED:
            three = _Three((calm.point("calm." + kind.partition("_")[0]), outer, inner))
            call, names = maker(three), (outer.name, inner.name)
            own, awaited = _own(call, kind), _awaited(kind)
            made.append(
                Placement(f"calm {kind}", names, call, call, own, calm=True, awaited=awaited)
            )
    return [*made, *_of_tenants(storm)]


def _own(call: Call, kind: str) -> CodeType | None:
    return _code(call) if kind in FUNCTIONS else None


@dataclass(frozen=True, slots=True)
class _Three:
    """Several points as one decorator, the outermost first."""

    points: tuple[Point, ...]

    def __call__(self, target: Any) -> Any:
        for point in reversed(self.points):
            target = point(target)
        return target


def _of_tenants(storm: Registry) -> Iterator[Placement]:
    point = storm.point("race.tenant")

    def labelled(tenant: str) -> Point:
        return storm.point("race.tenant", labels={"tenant": tenant})

    @point
    def argument(tenant: str = "acme") -> int:
        return 7

    @point
    async def keyword(**kept: str) -> int:
        return 7

    @labelled("zeta")
    def label() -> int:
        return 7

    def block() -> int:
        with labelled("acme"):
            return 7

    async def async_block() -> int:
        async with labelled("zeta"):
            return 7

    def statement() -> int:
        point.hit(tenant="acme")
        return 7

    async def async_statement() -> int:
        await point.ahit(tenant="zeta")
        return 7

    wrapped = labelled("acme")(functools.partial(int, "7"))
    ways: list[tuple[str, Call, Any]] = [
        ("acme", argument, argument),
        ("zeta", lambda: argument("zeta"), argument),
        ("acme", lambda: keyword(tenant="acme"), keyword),
        ("zeta", label, label),
        ("acme", block, None),
        ("zeta", async_block, None),
        ("acme", statement, None),
        ("zeta", async_statement, None),
        ("acme", wrapped, wrapped),
    ]
    for nth, (tenant, call, target) in enumerate(ways):
        own = None if target is wrapped else _code(target)
        awaited = call in (async_block, async_statement) or target is keyword
        yield Placement(
            f"tenant {nth}", (point.name,), call, target, own, tenant=tenant, awaited=awaited
        )
