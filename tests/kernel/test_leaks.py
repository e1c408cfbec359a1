"""A firing leaves no objects behind."""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chaospoint import Registry, armed
from chaospoint._patching.trampoline import _template

from .kit import Boom, answers, raises, rule, sleeps

KINDS = ("function", "generator", "coroutine", "async generator", "hit", "ahit", "wrapped")

FEW = 200
"""Objects that other threads and caches may come to in between; one a turn would be 300 or more."""


@pytest.fixture
def collected() -> Iterator[None]:
    """Have the collector run only when the test says so."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def calls(registry: Registry) -> dict[str, Callable[[], object]]:
    """Return for each kind of placement a call that finishes, with no cycles of its own."""
    point = registry.point("p")

    @point
    def function() -> None:
        pass

    @point
    def generator() -> Any:
        yield 1

    @point
    async def coroutine() -> None:
        pass

    @point
    async def agen() -> Any:
        yield 1

    wrapped = point(abs)

    def send(made: Any) -> None:
        try:
            made.send(None)
        except StopIteration:
            pass

    return {
        "function": function,
        "generator": lambda: list(generator()),
        "coroutine": lambda: send(coroutine()),
        "async generator": lambda: send(agen().__anext__()),
        "hit": lambda: point.hit(),
        "ahit": lambda: send(point.ahit()),
        "wrapped": lambda: wrapped(-1),
    }


def quiet(call: Callable[[], object]) -> None:
    try:
        call()
    except Boom:
        pass


@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("kind", KINDS)
def test_an_injected_exception_is_in_no_cycle(registry: Registry, kind: str) -> None:
    call = calls(registry)[kind]
    registry.install([rule("p", raises())], source="test")
    quiet(call)  # what is made once
    gc.collect()
    for _ in range(100):
        quiet(call)
    assert gc.collect() == 0


@pytest.mark.usefixtures("collected")
def test_answers_and_latencies_leave_no_cycle(registry: Registry) -> None:
    @registry.point("p")
    def function() -> None:
        pass

    for fault in (answers(1), answers([1], copy=True), sleeps(0)):
        handle = registry.install([rule("p", fault)], source="test")
        function()
        gc.collect()
        for _ in range(100):
            function()
        assert gc.collect() == 0, fault
        handle.disarm()


@pytest.mark.usefixtures("collected")
def test_a_latency_in_a_task_leaves_no_reference_cycle(registry: Registry) -> None:
    @registry.point("p")
    async def function() -> None:
        pass

    registry.install([rule("p", sleeps(0))], source="test")

    async def main() -> int:
        await function()
        gc.collect()
        for _ in range(100):
            await function()
        return gc.collect()

    assert asyncio.run(main()) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_firings_leave_no_memory_behind(registry: Registry, kind: str) -> None:
    call = calls(registry)[kind]
    registry.install([rule("p", raises())], source="test")
    for _ in range(500):
        quiet(call)
    gc.collect()
    objects = len(gc.get_objects())
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10_000 if kind == "function" else 2_000):
            quiet(call)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # The chunk of firing ordinals is all that lives: 128 at most.
    assert grown < 64_000
    assert len(gc.get_objects()) - objects < FEW


def test_with_all_sinks_on_ten_thousand_firings_leave_no_memory_behind(
    registry: Registry,
) -> None:
    function = calls(registry)["function"]
    with armed("p", exception=KeyError, registry=registry):

        def fire() -> None:
            with pytest.raises(KeyError):
                function()

        for _ in range(200):
            fire()
        gc.collect()
        objects = len(gc.get_objects())
        for _ in range(10_000):
            try:
                function()
            except KeyError:
                pass
        gc.collect()
        assert len(gc.get_objects()) - objects < FEW


def test_an_exception_of_a_factory_collects_no_traceback(registry: Registry) -> None:
    """Each injection is a fresh exception, so tracebacks have the same length for ever."""
    function = calls(registry)["function"]
    registry.install([rule("p", raises())], source="test")

    def length() -> int:
        try:
            function()
        except Boom as error:
            trace, frames = error.__traceback__, 0
            while trace is not None:
                frames, trace = frames + 1, trace.tb_next
            return frames
        raise AssertionError

    assert {length() for _ in range(50)} == {length()}


def test_arming_and_disarming_leaves_nothing_behind(registry: Registry) -> None:
    function = calls(registry)["function"]

    def cycle() -> None:
        handle = registry.install(
            [rule("p", raises(), skip=1), rule("p", sleeps(0))], source="test"
        )
        quiet(function)
        handle.disarm()

    for _ in range(20):
        cycle()
    gc.collect()
    objects, references = len(gc.get_objects()), sys.getrefcount(function)
    for _ in range(300):
        cycle()
    gc.collect()
    assert len(gc.get_objects()) - objects < FEW
    assert sys.getrefcount(function) == references


def test_arguments_and_results_are_released(registry: Registry) -> None:
    import weakref

    class Thing:
        pass

    @registry.point("p")
    def function(thing: Thing) -> Thing:
        return thing

    registry.install([rule("p", raises(), every=2)], source="test")
    for _ in range(2):
        thing = Thing()
        seen = weakref.ref(thing)
        quiet(lambda thing=thing: function(thing))
        del thing
        assert seen() is None


def test_the_cache_of_templates_is_bounded() -> None:
    assert _template.cache_info().maxsize is not None
