"""Plain functions that are marked as ones to be awaited, before or after they are decorated."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from threading import Timer
from typing import Any

import pytest
from helpers import Boom

import chaospoint
from chaospoint import Registry
from chaospoint._patching.site import _sites
from chaospoint.testing import FakeClock


def mark(function: Any) -> Any:
    """Mark as `inspect` does, or as asgiref does where `inspect` cannot."""
    if hasattr(inspect, "markcoroutinefunction"):
        return inspect.markcoroutinefunction(function)
    function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    return function


async def fetch() -> str:
    return "row"


class Query:
    """A callable object, which is wrapped and not patched."""

    def __call__(self) -> Any:
        return fetch()


def plain() -> Callable[[], Any]:
    def query() -> Any:
        return fetch()

    return query


async def _other() -> None:
    """Stands where a rule on ``db.*`` is armed already."""


def marked_before(registry: Registry, arm: Callable[[], object]) -> Any:
    query = registry.point("db.fetch")(mark(plain()))
    arm()
    return query


def marked_after(registry: Registry, arm: Callable[[], object]) -> Any:
    query = mark(registry.point("db.fetch")(plain()))
    arm()
    return query


def marked_after_while_armed(registry: Registry, arm: Callable[[], object]) -> Any:
    """As where the environment has armed it before the program is imported."""
    arm()
    return mark(registry.point("db.fetch")(plain()))


def marked_object(registry: Registry, arm: Callable[[], object]) -> Any:
    query = registry.point("db.fetch")(mark(Query()))
    arm()
    return query


def marked_object_after_while_armed(registry: Registry, arm: Callable[[], object]) -> Any:
    arm()
    query = Query()
    decorated = registry.point("db.fetch")(query)
    mark(query)
    return decorated


ORDERS = [
    marked_before,
    marked_after,
    marked_after_while_armed,
    marked_object,
    marked_object_after_while_armed,
]
# `inspect` sees no mark on an object before 3.12, whatever asgiref set.
needs_inspect = {marked_object, marked_object_after_while_armed}


def in_every_order(test: Any) -> Any:
    skipped = pytest.mark.skipif(
        not hasattr(inspect, "markcoroutinefunction"), reason="inspect marks since 3.12"
    )
    params = [
        pytest.param(order, marks=skipped if order in needs_inspect else (), id=order.__name__)
        for order in ORDERS
    ]
    return pytest.mark.parametrize("order", params)(test)


def keys(registry: Registry, **given: Any) -> Callable[[], Any]:
    registry.point("db.other")(_other)  # else the rule would wait for one, which is said
    return functools.partial(chaospoint.arm, "db.*", registry=registry, **given)


@in_every_order
def test_latency_does_not_block_the_loop(order: Any) -> None:
    clock = FakeClock()
    registry = Registry(clock=clock)
    query = order(registry, keys(registry, latency="300ms"))
    too_late = Timer(10, clock.advance, [1.0])  # ends what blocks the loop
    too_late.start()

    async def main() -> None:
        task = asyncio.ensure_future(query())
        async with asyncio.timeout(10):
            while not any(rule.sleepers for rule in registry.rules()):
                await asyncio.sleep(0)  # the loop goes on
            clock.until_waiting(0.3)
            assert not task.done()
            clock.advance(0.3)
            assert await task == "row"

    try:
        asyncio.run(main())
    finally:
        too_late.cancel()


@in_every_order
@pytest.mark.parametrize("when", ["before", "after"])
def test_its_awaitable_is_awaited_and_every_reach_counts(order: Any, when: Any) -> None:
    registry = Registry()
    handles: list[Any] = []
    arm = keys(registry, returns="chaos", every=2, when=when)
    query = order(registry, lambda: handles.append(arm()))

    async def main() -> list[str]:
        return [await query() for _ in range(4)]

    assert asyncio.run(main()) == ["row", "chaos"] * 2
    assert (handles[0].reaches, handles[0].injections) == (4, 2)


@in_every_order
def test_a_coroutine_function_is_called_and_an_exception_is_raised_when_awaited(order: Any) -> None:
    registry = Registry()
    called: list[object] = []

    async def call(injection: object) -> None:
        called.append(injection)

    query = order(registry, keys(registry, call=call, times=1))
    assert asyncio.run(query()) == "row"
    assert len(called) == 1
    registry.disarm()
    with chaospoint.armed("db.fetch", exception=Boom, registry=registry):
        made = query()
        assert inspect.iscoroutine(made)
        with pytest.raises(Boom):
            asyncio.run(made)


def test_a_function_that_is_decorated_while_armed_is_decided_at_its_first_call() -> None:
    registry = Registry()
    armed = keys(registry, returns=3, skip=1)()

    @registry.point("db.fetch")
    def fetch(key: int, *rest: int, more: int = 1, **others: int) -> int:
        return key + sum(rest) + more + sum(others.values())

    assert [fetch(1, 2, more=3, x=4), fetch(1), fetch(key=1)] == [10, 3, 3]
    assert (armed.reaches, armed.injections) == (3, 2)
    assert _sites[id(fetch)].kind == "function"
    registry.disarm()
    assert fetch(1) == 2


def test_a_function_that_is_decorated_while_armed_and_first_called_when_disarmed() -> None:
    registry = Registry()
    armed = keys(registry, exception=Boom)()

    @registry.point("db.fetch")
    def fetch() -> str:
        return "row"

    stale = fetch.__code__
    armed.disarm()
    assert fetch() == "row"
    fetch.__code__ = stale  # as a mock or a debugger that puts back what it found
    assert fetch() == "row"


def test_a_function_that_something_else_patches_before_its_first_call_is_left_alone() -> None:
    registry = Registry()
    armed = keys(registry, exception=Boom)()

    @registry.point("db.fetch")
    def fetch() -> str:
        return "row"

    def theirs() -> str:
        return "theirs"

    fetch.__code__ = theirs.__code__
    assert fetch() == "theirs"
    armed.disarm()
    assert fetch() == "theirs"
