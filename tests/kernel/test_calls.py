"""Continuations: callers cannot distinguish them from the original callables."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import warnings
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

from chaospoint import Registry
from chaospoint.testing import FakeClock

from .kit import Boom, Does, Witness, answers, raises, rule, sleeps, turn

STATES = ("disarmed", "passes", "fires")


@pytest.fixture(params=STATES)
def state(request: pytest.FixtureRequest, registry: Registry) -> str:
    """Arm the point 'p' so that calls pass through, in three ways that must look the same."""
    registry.point("p")
    if request.param == "passes":
        registry.install([rule("p", raises(), skip=10**9)], source="test")
    elif request.param == "fires":
        registry.install([rule("p", sleeps(0))], source="test")
    return str(request.param)


def arm(registry: Registry, *terms: Any) -> Any:
    return registry.install(terms, source="test")


class Stop(Exception):
    pass


# -- functions ---------------------------------------------------------------------------


def test_a_function_that_passes_is_called_once_with_its_arguments(
    registry: Registry, state: str
) -> None:
    calls = []

    @registry.point("p")
    def function(*args: object, **kwargs: object) -> object:
        calls.append((args, kwargs))
        return function

    assert function(1, a=2) is function
    assert calls == [((1,), {"a": 2})]


def test_exceptions_of_the_function_pass_unchanged(registry: Registry, state: str) -> None:
    error = Stop()

    @registry.point("p")
    def function() -> None:
        raise error

    with pytest.raises(Stop) as caught:
        function()
    assert caught.value is error
    assert error.__cause__ is error.__context__ is None
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize("value", [None, 0, False, (), [1], RuntimeError("a value")])
def test_an_answer_is_returned_itself_in_place_of_the_call(
    registry: Registry, value: object
) -> None:
    @registry.point("p")
    def function() -> None:
        pytest.fail("the call was made")

    arm(registry, rule("p", answers(value)))
    assert function() is value
    assert function() is value


def test_a_copied_answer_is_another_one_each_time(registry: Registry) -> None:
    value = {"a": [1]}

    @registry.point("p")
    def function() -> None:
        pytest.fail("the call was made")

    arm(registry, rule("p", answers(value, copy=True)))
    first, second = function(), function()
    assert first == second == value
    first["a"].append(2)
    assert second == value == {"a": [1]}
    assert function() == value


# -- coroutines --------------------------------------------------------------------------


def test_a_coroutine_returns_and_raises_as_its_own(registry: Registry, state: str) -> None:
    @registry.point("p")
    async def function(error: Exception | None) -> str:
        await turn()
        if error:
            raise error
        return "own"

    error = Stop()

    async def main() -> None:
        assert await function(None) == "own"
        assert await asyncio.create_task(function(None)) == "own"
        with pytest.raises(Stop) as caught:
            await function(error)
        assert caught.value is error
        assert error.__context__ is None

    asyncio.run(main())


def test_cancelling_reaches_the_coroutine(registry: Registry, state: str) -> None:
    log = []

    @registry.point("p")
    async def function() -> None:
        log.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cleaned")

    async def main() -> None:
        task = asyncio.create_task(function())
        while not log:
            await turn()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert log == ["started", "cleaned"]


@pytest.mark.parametrize("state", STATES)
def test_a_coroutine_that_is_never_awaited_warns_once(registry: Registry, state: str) -> None:
    @registry.point("p")
    async def function() -> None:
        pass

    if state != "disarmed":
        skip = 10**9 if state == "passes" else 0
        arm(registry, rule("p", raises(), skip=skip))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
        gc.collect()
    assert [one.category for one in caught] == [RuntimeWarning]
    assert "was never awaited" in str(caught[0].message)


@pytest.mark.parametrize("kind", ["coroutine", "generator", "async generator"])
def test_a_coroutine_that_never_runs_uses_its_ordinal_and_is_not_an_injection(
    registry: Registry, witness: Witness, kind: str
) -> None:
    async def coroutine() -> str:
        return "own"

    def generator() -> Generator[str]:
        yield "own"

    async def agen() -> AsyncGenerator[str]:
        yield "own"

    function = {"coroutine": coroutine, "generator": generator, "async generator": agen}[kind]
    registry.point("p")(function)
    handle = arm(registry, rule("p", raises(), times=1))
    made = function()
    assert (handle.reaches, handle.injections, witness.injections) == (1, 0, [])
    assert handle.rules[0].state == "spent"
    if kind == "coroutine":
        made.close()
        coro: Any = function()
        with pytest.raises(StopIteration, match="own"):
            coro.send(None)
    del made
    assert (handle.injections, witness.injections) == (0, [])


def test_a_coroutine_made_before_disarming_and_run_after_it_is_not_hit(
    registry: Registry, witness: Witness
) -> None:
    @registry.point("p")
    async def function() -> str:
        return "own"

    handle = arm(registry, rule("p", raises()))
    made = function()
    handle.disarm()
    assert asyncio.run(_await(made)) == "own"
    assert (handle.reaches, handle.injections, witness.injections) == (1, 0, [])


async def _await(made: Any) -> Any:
    return await made


# -- generators --------------------------------------------------------------------------


def talker(log: list[object]) -> Generator[object, object, str]:
    """Echo what is sent and thrown."""
    sent: object = "nothing"
    try:
        for n in range(4):
            try:
                sent = yield (n, sent)
            except KeyError as error:
                sent = yield ("caught", error.args)
    finally:
        log.append("closed")
    return "returned"


def test_a_generator_is_sent_thrown_closed_and_returns_as_its_own(
    registry: Registry, state: str
) -> None:
    log: list[object] = []
    registry.point("p")
    function = registry.point("p")(type(talker)(talker.__code__, globals(), "talker"))

    made = function(log)
    assert inspect.isgenerator(made)
    assert next(made) == (0, "nothing")
    assert made.send("hello") == (1, "hello")
    assert made.throw(KeyError("k")) == ("caught", ("k",))
    assert made.send("x") == (2, "x")
    assert next(made) == (3, None)
    with pytest.raises(StopIteration) as stop:
        next(made)
    assert stop.value.value == "returned"
    assert log == ["closed"]

    log.clear()
    made = function(log)
    next(made)
    made.close()
    assert log == ["closed"]

    log.clear()
    made = function(log)
    next(made)
    with pytest.raises(Stop):
        made.throw(Stop())
    assert log == ["closed"]

    def delegate() -> Generator[object, object, object]:
        return (yield from function(log))

    made = delegate()
    assert len([next(made) for _ in range(4)]) == 4
    with pytest.raises(StopIteration) as stop:
        next(made)
    assert stop.value.value == "returned"


def test_a_generator_that_is_dropped_is_closed(registry: Registry, state: str) -> None:
    log: list[object] = []
    function = registry.point("p")(type(talker)(talker.__code__, globals(), "talker"))
    made = function(log)
    next(made)
    del made
    assert log == ["closed"]


def test_a_generator_acts_at_its_first_item(registry: Registry, witness: Witness) -> None:
    @registry.point("p")
    def function() -> Generator[int]:
        yield 1

    arm(registry, rule("p", raises()))
    made = function()
    assert witness.injections == []
    with pytest.raises(Boom):
        next(made)
    assert len(witness.injections) == 1
    assert list(made) == []


def test_the_answer_of_a_generator_is_iterated_from_the_start_at_each_call(
    registry: Registry,
) -> None:
    class Items:
        def __iter__(self) -> Any:
            return iter("ab")

    @registry.point("p")
    def function() -> Generator[Any]:
        pytest.fail("the call was made")
        yield

    for value in ("ab", ["a", "b"], {"a": 1, "b": 2}, Items()):
        handle = arm(registry, rule("p", answers(value)))
        assert list(function()) == list(function()) == ["a", "b"]
        handle.disarm()


def test_sending_into_the_answer_of_a_generator_gives_the_next_item(registry: Registry) -> None:
    """A list takes no send(); the caller must not get an AttributeError of ours."""
    log: list[object] = []
    function = registry.point("p")(type(talker)(talker.__code__, globals(), "talker"))
    arm(registry, rule("p", answers(["a", "b"])))
    made = function(log)
    assert next(made) == "a"
    assert made.send("hello") == "b"
    with pytest.raises(StopIteration) as stop:
        made.send("more")
    assert stop.value.value is None
    made = function(log)
    next(made)
    with pytest.raises(KeyError):
        made.throw(KeyError())
    assert log == []


# -- async generators --------------------------------------------------------------------


async def atalker(log: list[object]) -> AsyncGenerator[object, object]:
    """Echo what is sent and thrown, and clean up with an await."""
    sent: object = "nothing"
    try:
        for n in range(4):
            await turn()
            try:
                sent = yield (n, sent)
            except KeyError as error:
                sent = yield ("caught", error.args)
    except Stop:
        log.append("stopped")
        raise
    finally:
        await turn()
        log.append("closed")


@pytest.fixture
def async_talker(registry: Registry) -> Any:
    return registry.point("p")(type(atalker)(atalker.__code__, globals(), "atalker"))


def test_an_async_generator_is_sent_thrown_and_closed_as_its_own(
    state: str, async_talker: Any
) -> None:
    async def main() -> None:
        log: list[object] = []
        made = async_talker(log)
        assert inspect.isasyncgen(made)
        assert await made.asend(None) == (0, "nothing")
        assert await made.asend("hello") == (1, "hello")
        assert await made.athrow(KeyError("k")) == ("caught", ("k",))
        assert await made.asend("x") == (2, "x")
        assert await made.__anext__() == (3, None)
        with pytest.raises(StopAsyncIteration):
            await made.asend(None)
        assert log == ["closed"]

        log.clear()
        made = async_talker(log)
        await made.__anext__()
        await made.aclose()
        assert log == ["closed"]
        await made.aclose()  # again does nothing

        log.clear()
        made = async_talker(log)
        await made.__anext__()
        error = Stop()
        with pytest.raises(Stop) as caught:
            await made.athrow(error)
        assert caught.value is error
        assert error.__context__ is None
        assert log == ["stopped", "closed"]

        made = async_talker(log)
        with pytest.raises(TypeError, match="non-None value to a just-started"):
            await made.asend("too early")
        await made.aclose()

    asyncio.run(main())


def test_an_async_generator_that_is_closed_before_it_began_does_nothing(
    registry: Registry, state: str, async_talker: Any, witness: Witness
) -> None:
    async def main() -> None:
        log: list[object] = []
        await async_talker(log).aclose()
        assert log == []

    asyncio.run(main())
    assert witness.injections == []


def test_breaking_out_of_async_for_closes_when_the_loop_ends(
    state: str, async_talker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Both the wrapper and what it wraps must be closed, once, and in order."""
    log: list[object] = []
    kept = []

    async def main() -> None:
        made = async_talker(log)
        kept.append(made)
        before = len(log)
        async for _ in made:
            break
        assert len(log) == before

    for n in range(1, 6):  # a loop closes in no fixed order
        asyncio.run(main())
        assert log == ["closed"] * n
    # asyncio logs what goes wrong there.
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_breaking_out_of_async_for_closes_when_it_is_collected(
    state: str, async_talker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[object] = []

    async def main() -> None:
        async for _ in async_talker(log):
            break
        gc.collect()
        while not log:
            await turn()

    asyncio.run(main())
    assert log == ["closed"]
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_the_loops_hooks_are_as_before(registry: Registry, async_talker: Any) -> None:
    import sys

    arm(registry, rule("p", sleeps(0)))

    async def main() -> None:
        before = sys.get_asyncgen_hooks()
        made = async_talker([])
        await made.__anext__()
        assert sys.get_asyncgen_hooks() == before
        await made.aclose()

    asyncio.run(main())


def test_cancelling_reaches_the_async_generator(state: str, registry: Registry) -> None:
    log: list[object] = []

    @registry.point("p")
    async def function() -> AsyncGenerator[int]:
        try:
            yield 1
            log.append("waiting")
            await asyncio.Event().wait()
        finally:
            log.append("cleaned")

    async def use() -> None:
        async for _ in function():
            pass

    async def main() -> None:
        task = asyncio.create_task(use())
        while not log:
            await turn()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert log == ["waiting", "cleaned"]


def test_an_async_generator_that_will_not_close_says_so_as_ever(
    state: str, registry: Registry
) -> None:
    @registry.point("p")
    async def function() -> AsyncGenerator[int]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    async def main() -> None:
        made = function()
        await made.__anext__()
        with pytest.raises(RuntimeError, match="async generator ignored GeneratorExit"):
            await made.aclose()

    asyncio.run(main())


def test_an_async_generator_under_aclosing_and_comprehensions(
    state: str, async_talker: Any
) -> None:
    from contextlib import aclosing

    async def main() -> None:
        log: list[object] = []
        assert len([item async for item in async_talker(log)]) == 4
        async with aclosing(async_talker(log)) as items:
            async for _ in items:
                break
        assert log == ["closed"] * 2

    asyncio.run(main())


def test_the_answer_of_an_async_generator_is_iterated_from_the_start_at_each_call(
    registry: Registry, async_talker: Any
) -> None:
    arm(registry, rule("p", answers(["a", "b"])))

    async def main() -> None:
        for _ in range(2):
            assert [item async for item in async_talker([])] == ["a", "b"]
        made = async_talker([])
        assert await made.asend(None) == "a"
        assert await made.asend("ignored") == "b"

    asyncio.run(main())


def test_async_context_managers_made_of_generators(state: str, registry: Registry) -> None:
    from contextlib import asynccontextmanager, contextmanager

    log = []

    @asynccontextmanager
    @registry.point("p")
    async def session() -> AsyncGenerator[str]:
        try:
            yield "session"
        except Stop:
            log.append("stopped")
        finally:
            log.append("closed")

    @contextmanager
    @registry.point("p")
    def plain() -> Generator[str]:
        try:
            yield "plain"
        except Stop:
            log.append("stopped")
        finally:
            log.append("closed")

    async def main() -> None:
        async with session() as one:
            assert one == "session"
        async with session():
            raise Stop
        with pytest.raises(Boom):
            async with session():
                raise Boom

    asyncio.run(main())
    with plain() as one:
        assert one == "plain"
    with plain():
        raise Stop
    assert log == ["closed", "stopped", "closed", "closed", "closed", "stopped", "closed"]


def test_an_observer_alone_does_not_replace_the_answer(
    registry: Registry, clock: FakeClock
) -> None:
    @registry.point("p")
    def function() -> int:
        return 3

    handle = arm(registry, rule("p", Does("off", ())))
    assert function() == 3
    assert (handle.reaches, handle.injections) == (1, 0)
