"""Rules that act after the call: the work was done, the answer is late, lost or replaced."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from threading import Barrier
from typing import Any

import pytest
from helpers import Threads

from chaospoint import Registry

from .kit import (
    PATIENCE,
    Boom,
    Witness,
    answers,
    pauses,
    raises,
    rule,
    run,
    sleeps,
    turn,
)


def arm(registry: Registry, *terms: Any) -> Any:
    return registry.install(terms, source="test")


def before(*faults: Any, **trigger: Any) -> Any:
    return rule("p", *faults, **trigger)


def late(*faults: Any, **trigger: Any) -> Any:
    return rule("p", *faults, after=True, **trigger)


class Stop(Exception):
    pass


def method(point: Any, kind: str, work: Callable[[bool], str]) -> Callable[..., Any]:
    class Home:
        if kind == "method":

            @point
            def call(self, fails: bool = False) -> str:
                return work(fails)

        elif kind == "class":

            @point
            @classmethod
            def call(cls, fails: bool = False) -> str:
                return work(fails)

        else:

            @staticmethod
            @point
            def call(fails: bool = False) -> str:
                return work(fails)

    return Home().call


class Worker:
    """A callable instance."""

    def __init__(self, work: Callable[[bool], str]) -> None:
        self._work = work

    def __call__(self, fails: bool = False) -> str:
        return self._work(fails)


def made(registry: Registry, kind: str, log: list[object]) -> Callable[..., Any]:
    """Return a call of this kind, run to its end, that logs when the work is done."""
    point = registry.point("p")

    def work(fails: bool = False) -> str:
        if fails:
            raise Stop
        log.append("done")
        return "own"

    async def coroutine(fails: bool = False) -> str:
        await turn()
        return work(fails)

    def generator(fails: bool = False) -> Generator[str]:
        yield "first"
        yield work(fails)

    async def agen(fails: bool = False) -> AsyncGenerator[str]:
        yield "first"
        yield work(fails)

    def block(fails: bool = False) -> str:
        with point:
            return work(fails)

    async def ablock(fails: bool = False) -> str:
        async with point:
            return work(fails)

    if kind in ("method", "class", "static"):
        return method(point, kind, work)
    if kind == "partial":
        return point(functools.partial(work))
    if kind == "instance":
        return point(Worker(work))
    if kind == "block":
        return block
    if kind == "async block":
        return lambda fails=False: asyncio.run(ablock(fails))
    functions = {
        "function": work,
        "coroutine": coroutine,
        "generator": generator,
        "async generator": agen,
    }
    decorated: Any = point(functions[kind])
    return lambda fails=False: run(decorated(fails), kind)


ANSWER = ("function", "coroutine", "method", "class", "static", "partial", "instance")
STREAMS = ("generator", "async generator")
KINDS = (*ANSWER, *STREAMS, "block", "async block")
ASYNCHRONOUS = ("coroutine", "async generator", "async block")


# -- every kind of placement -------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_work_is_done_and_the_answer_is_lost(
    registry: Registry, witness: Witness, kind: str
) -> None:
    log: list[object] = []
    call = made(registry, kind, log)
    handle = arm(registry, late(raises()))
    with pytest.raises(Boom) as caught:
        call()
    assert log == ["done"]
    assert caught.value.__context__ is None
    assert (handle.reaches, handle.injections, len(witness.injections)) == (1, 1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_raised_is_not_a_reach(registry: Registry, kind: str) -> None:
    log: list[object] = []
    call = made(registry, kind, log)
    handle = arm(registry, late(raises(), times=1))
    for _ in range(3):
        with pytest.raises(Stop) as caught:
            call(fails=True)
        assert caught.value.__context__ is None
    assert (handle.reaches, handle.rules[0].state) == (0, "armed")
    with pytest.raises(Boom):
        call()


@pytest.mark.parametrize("kind", ANSWER)
def test_the_answer_is_replaced_after_the_call(registry: Registry, kind: str) -> None:
    log: list[object] = []
    call = made(registry, kind, log)
    arm(registry, late(answers("other"), every=2))
    assert [call() for _ in range(4)] == ["own", "other", "own", "other"]
    assert log == ["done"] * 4


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "block" not in kind])
def test_a_call_that_is_answered_instead_of_made_is_not_a_reach(
    registry: Registry, kind: str
) -> None:
    log: list[object] = []
    call = made(registry, kind, log)
    after = arm(registry, late(raises()))
    arm(registry, rule("p", answers(["other"])))
    assert call() == ["other"]
    assert (log, after.reaches) == ([], 0)


@pytest.mark.parametrize("kind", ["partial", "instance"])
def test_a_wrapped_call_that_fails_before_is_not_a_reach(registry: Registry, kind: str) -> None:
    call = made(registry, kind, [])
    after = arm(registry, late(answers(1)))
    arm(registry, rule("p", raises(), times=1), rule("p", sleeps(0)))
    with pytest.raises(Boom):
        call()
    assert after.reaches == 0
    assert (call(), after.reaches) == (1, 1)


# -- streams -----------------------------------------------------------------------------


def echo() -> Generator[object, object, str]:
    sent: object = None
    for _ in range(2):
        try:
            sent = yield sent
        except KeyError as error:
            sent = yield error.args
    return "returned"


def test_a_generator_is_reached_when_it_returns(registry: Registry) -> None:
    point = registry.point("p")
    function = point(type(echo)(echo.__code__, globals(), "echo"))
    handle = arm(registry, late(raises(), skip=1))
    talk = function()
    assert (next(talk), talk.send(1), talk.throw(KeyError(2))) == (None, 1, (2,))
    assert handle.reaches == 0
    with pytest.raises(StopIteration) as stop:
        next(talk)
    assert stop.value.value == "returned"
    assert handle.reaches == 1
    talk = function()
    next(talk)
    next(talk)
    with pytest.raises(Boom):
        next(talk)
    assert list(talk) == []


@pytest.mark.parametrize("end", ["close", "throw", "drop"])
def test_a_stream_closed_early_is_not_a_reach(registry: Registry, end: str) -> None:
    function = registry.point("p")(type(echo)(echo.__code__, globals(), "echo"))
    handle = arm(registry, late(raises()))
    talk = function()
    next(talk)
    if end == "throw":
        with pytest.raises(Stop):
            talk.throw(Stop())
    elif end == "close":
        talk.close()
    del talk
    assert handle.reaches == 0


def test_a_generator_that_swallows_its_close_is_not_a_reach(registry: Registry) -> None:
    @registry.point("p")
    def function() -> Generator[int]:
        try:
            yield 1
        except GeneratorExit:
            return

    handle = arm(registry, late(raises()))
    talk = function()
    next(talk)
    talk.close()
    assert handle.reaches == 0


@pytest.mark.parametrize("end", ["aclose", "athrow", "break", "cancel"])
def test_an_async_stream_closed_early_is_not_a_reach(registry: Registry, end: str) -> None:
    closed = []

    @registry.point("p")
    async def function() -> AsyncGenerator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.append(1)

    handle = arm(registry, late(raises()))

    async def consume() -> None:
        async for _ in function():
            pass

    async def main() -> None:
        items = function()
        if end == "cancel":
            task = asyncio.create_task(consume())
            for _ in range(5):
                await turn()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return
        assert await anext(items) == 1
        if end == "athrow":
            with pytest.raises(Stop):
                await items.athrow(Stop())
        elif end == "aclose":
            await items.aclose()

    asyncio.run(main())
    gc.collect()
    assert (closed, handle.reaches) == ([1], 0)


def test_an_async_stream_that_ends_in_answer_to_a_throw_is_reached(registry: Registry) -> None:
    @registry.point("p")
    async def function() -> AsyncGenerator[int]:
        try:
            yield 1
        except KeyError:
            return

    arm(registry, late(raises()))

    async def main() -> None:
        items = function()
        await anext(items)
        with pytest.raises(Boom) as caught:
            await items.athrow(KeyError())
        assert caught.value.__context__ is None

    asyncio.run(main())


# -- coroutines and blocks ---------------------------------------------------------------


def test_a_cancelled_coroutine_is_not_a_reach(registry: Registry) -> None:
    @registry.point("p")
    async def function() -> None:
        await asyncio.Event().wait()

    handle = arm(registry, late(raises()))

    async def main() -> None:
        task = asyncio.create_task(function())
        await turn()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert handle.reaches == 0


def test_a_coroutine_that_never_runs_is_not_a_reach(registry: Registry) -> None:
    @registry.point("p")
    async def function() -> None:
        pass

    handle = arm(registry, late(raises(), times=1))
    function().close()
    assert (handle.reaches, handle.rules[0].state) == (0, "armed")


def test_a_block_left_by_return_or_break_is_reached(registry: Registry) -> None:
    point = registry.point("p")
    handle = arm(registry, late(sleeps(0)))

    def leave() -> int:
        with point:
            return 1

    for _ in range(1):
        with point:
            break
    assert leave() == 1
    assert handle.reaches == 2


def test_a_block_entered_before_arming_is_as_it_was_entered(registry: Registry) -> None:
    point = registry.point("p")
    with point:
        handle = arm(registry, late(raises()))
    assert handle.reaches == 0


def test_a_block_left_after_disarming_is_not_a_reach(registry: Registry) -> None:
    point = registry.point("p")
    handle = arm(registry, late(raises()))
    with point:
        handle.disarm()
    assert handle.reaches == 0


# -- arming and disarming in the middle --------------------------------------------------


@pytest.mark.parametrize("kind", ANSWER + STREAMS)
def test_arming_in_the_middle_of_a_call_concerns_the_next_one(
    registry: Registry, kind: str
) -> None:
    class Log(list[object]):
        def append(self, item: object) -> None:
            super().append(item)
            if not handles:
                handles.append(arm(registry, late(raises())))

    handles: list[Any] = []
    call = made(registry, kind, Log())
    call()
    assert handles[0].reaches == 0
    with pytest.raises(Boom):
        call()


def test_a_call_that_ends_after_disarming_is_not_a_reach(registry: Registry) -> None:
    @registry.point("p")
    def function() -> str:
        handle.disarm()
        return "own"

    handle = arm(registry, late(raises()))
    assert function() == "own"
    assert (handle.reaches, handle.injections) == (0, 0)


def test_a_point_taken_from_a_glob_in_the_middle_of_its_call_uses_up_nothing(
    registry: Registry,
) -> None:
    @registry.point("a.one")
    def one() -> str:
        registry.disarm("a.one")
        return "own"

    @registry.point("a.two")
    def two() -> None:
        pass

    handle = arm(registry, rule("a.*", raises(), after=True, times=1))
    assert one() == "own"
    assert handle.injections == 0
    with pytest.raises(Boom):
        two()


# -- several at once ---------------------------------------------------------------------


def test_points_stacked_on_one_function_act_from_the_inside_out(
    registry: Registry, witness: Witness
) -> None:
    @registry.point("outer")
    @registry.point("inner")
    def function() -> str:
        return "own"

    arm(
        registry,
        rule("inner", sleeps(0)),
        rule("inner", answers("inner"), after=True),
        rule("outer", sleeps(0)),
        rule("outer", answers("outer"), after=True),
    )
    assert function() == "outer"
    assert [one.point for one in witness.injections] == ["outer", "inner", "inner", "outer"]


def test_an_inner_failure_is_not_a_reach_of_outer_rules_that_act_after_the_call(
    registry: Registry,
) -> None:
    @registry.point("outer")
    @registry.point("inner")
    def function() -> None:
        pass

    outer = arm(registry, rule("outer", answers(1), after=True))
    inner = arm(registry, rule("inner", raises(), times=1))
    with pytest.raises(Boom):
        function()
    assert outer.reaches == 0
    assert function() == 1
    assert inner.reaches == 2


def test_a_call_that_ends_while_disabled_does_not_count_for_restored_rules(
    registry: Registry,
) -> None:
    @registry.point("p")
    def function(disables: bool) -> str:
        if disables:
            registry.disable()
        return "own"

    registry.replace([late(raises(), times=1)], source="env")
    assert function(True) == "own"
    registry.enable()
    with pytest.raises(Boom):
        function(False)


def test_two_registries_on_one_function(registry: Registry) -> None:
    other = Registry()

    @other.point("p")
    @registry.point("p")
    def function() -> str:
        return "own"

    arm(registry, late(answers("first")))
    handle = other.install([late(answers("second"))], source="test")
    assert function() == "second"
    handle.disarm()
    assert function() == "first"
    other.engine.housekeeper.stop()


def test_recursion_is_reached_at_each_end(registry: Registry) -> None:
    @registry.point("p")
    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    handle = arm(registry, late(answers(100), times=1))
    assert factorial(3) == 600, "the innermost call ended first"
    assert handle.reaches == 4


def test_closures_super_and_every_shape_of_arguments(registry: Registry) -> None:
    point = registry.point("p")
    kept = "kept"

    class Base:
        def say(
            self, a: object, /, b: object = 2, *rest: object, k: object = 3, **more: Any
        ) -> Any:
            return (kept, a, b, rest, k, more)

    class Home(Base):
        @point
        def say(
            self, a: object, /, b: object = 2, *rest: object, k: object = 3, **more: Any
        ) -> Any:
            return super().say(a, b, *rest, k=k, **more)

    home, handle = Home(), arm(registry, late(sleeps(0)))
    assert home.say(1) == ("kept", 1, 2, (), 3, {})
    assert home.say(1, 4, 5, k=6, a=7, func=8) == ("kept", 1, 4, (5,), 6, {"a": 7, "func": 8})
    assert handle.injections == 2


def test_times_is_exact_under_threads(registry: Registry, pool: Threads) -> None:
    @registry.point("p")
    def function() -> str:
        return "own"

    handle = arm(registry, late(answers("other"), times=5))
    gate = Barrier(8)

    def work(_: int) -> list[str]:
        gate.wait(PATIENCE)
        return [function() for _ in range(200)]

    seen = [one for some in pool.map(work, range(8)) for one in some]
    assert (seen.count("other"), handle.injections, handle.reaches) == (5, 5, 1600)


# -- what the caller sees ----------------------------------------------------------------


@pytest.mark.parametrize("armed", [False, True])
def test_one_frame_of_chaospoint_is_on_the_stack(registry: Registry, armed: bool) -> None:
    @registry.point("p")
    def function() -> int:
        depth, frame = 0, sys._getframe().f_back
        while frame is not None and frame.f_code is not call.__code__:
            depth, frame = depth + 1, frame.f_back
        return depth

    def call() -> int:
        return function()

    if armed:
        arm(registry, late(sleeps(0)))
    assert call() == int(armed)


# An event loop has cycles of its own.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ASYNCHRONOUS])
def test_an_exception_after_the_call_is_in_no_cycle(registry: Registry, kind: str) -> None:
    call = made(registry, kind, [])
    arm(registry, late(raises()))

    def quiet() -> None:
        try:
            call()
        except Boom:
            pass

    quiet()
    while gc.collect():
        pass  # what earlier tests left, and what that left in turn
    gc.disable()
    try:
        for _ in range(50):
            quiet()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_results_and_arguments_are_released(registry: Registry) -> None:
    import weakref

    class Thing:
        pass

    @registry.point("p")
    def function(thing: Thing) -> Thing:
        return thing

    arm(registry, late(raises(), every=2))
    for _ in range(2):
        thing = Thing()
        seen = weakref.ref(thing)
        try:
            function(thing)
        except Boom:
            pass
        del thing
        assert seen() is None


def test_a_pause_after_the_call_holds_the_answer(registry: Registry, pool: Threads) -> None:
    log: list[object] = []
    call = made(registry, "function", log)
    handle = arm(registry, late(pauses(), answers("other")))
    job = pool.submit(call)
    handle.wait_until_paused()
    assert log == ["done"]
    handle.release()
    assert job.result(PATIENCE) == "other"
