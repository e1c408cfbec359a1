"""A decorated function runs where its caller does: same thread, task, context and event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from helpers import FUNCTIONS, PATIENCE, Boom, afinish, finish, run
from patching_kit import STATES, labelled, state

import chaospoint
from chaospoint import Registry

every_state = pytest.mark.parametrize("name", STATES)
WORD: contextvars.ContextVar[str] = contextvars.ContextVar("WORD", default="default")


@every_state
def test_context_variables_are_the_callers(registry: Registry, name: str) -> None:
    point = labelled(registry)

    def turn() -> str:
        found = WORD.get()
        WORD.set(f"{found}+")
        return found

    @point
    def function() -> str:
        return turn()

    @point
    async def coroutine() -> str:
        return turn()

    @point
    def generator() -> Iterator[str]:
        yield turn()
        yield turn()

    @point
    async def async_generator() -> AsyncIterator[str]:
        yield turn()
        yield turn()

    async def main() -> list[str]:
        WORD.set("own")
        seen = [function(), await coroutine(), *generator()]
        seen += [item async for item in async_generator()]
        seen.append(await asyncio.create_task(coroutine()))  # in a copy
        seen.append(await asyncio.to_thread(function))
        seen.append(await anyio.to_thread.run_sync(function))
        return [*seen, WORD.get()]

    with state(registry, name):
        seen = run(main())
        assert contextvars.copy_context().run(function) == "default"
        assert WORD.get() == "default"
    words = ["own" + "+" * n for n in range(6)]
    assert seen == [*words, *["own" + "+" * 6] * 4]


@every_state
def test_thread_locals_are_the_callers(registry: Registry, name: str) -> None:
    here = threading.local()

    @labelled(registry)
    def function(word: str) -> tuple[str, int]:
        before = getattr(here, "word", "none")
        here.word = word
        return before, threading.get_ident()

    with state(registry, name), ThreadPoolExecutor(1) as pool:
        assert function("a") == ("none", threading.get_ident())
        assert pool.submit(function, "b").result(PATIENCE)[0] == "none"
        assert pool.submit(function, "c").result(PATIENCE)[0] == "b"
        assert function("d") == ("a", threading.get_ident())


@every_state
def test_functions_run_in_threads_of_a_loop(registry: Registry, name: str) -> None:
    @labelled(registry)
    def function(a: int = 1) -> int:
        return 2 * a

    @labelled(registry)
    async def coroutine(a: int = 1) -> int:
        return 2 * a

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        return [
            await asyncio.to_thread(function, 2),
            await loop.run_in_executor(None, function, 2),
            await anyio.to_thread.run_sync(function, 2),
            await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(coroutine, 2)),
            *await asyncio.gather(*[coroutine(2) for _ in range(3)]),
        ]

    with state(registry, name) as armed:
        assert run(main()) == [4] * 7
        # An executor does not copy the context, so a rule of this context is not in it.
        assert all(handle.reaches == (6 if name == "scoped" else 7) for handle in armed)


@every_state
@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.filterwarnings("error")
def test_a_loop_in_debug_mode_has_nothing_to_say(
    registry: Registry, kind: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> Any:
        asyncio.get_running_loop().slow_callback_duration = PATIENCE  # the machine may be busy
        return await afinish(call())

    call = FUNCTIONS[kind](labelled(registry))
    with state(registry, name):
        assert asyncio.run(main(), debug=True) == 7
    # A plain function that sleeps on a thread with a loop is told of by chaospoint.
    said = [one for one in caplog.records if one.name == "asyncio" and one.levelname != "DEBUG"]
    assert said == []


@every_state
def test_the_warning_for_a_coroutine_that_is_never_awaited_names_the_function(
    registry: Registry, name: str
) -> None:
    call = FUNCTIONS["coroutine"](labelled(registry))
    with state(registry, name), pytest.warns(RuntimeWarning) as caught:
        call()
    message = "coroutine '_coroutine.<locals>.coroutine' was never awaited"
    assert message in [str(one.message) for one in caught]


@every_state
def test_a_task_is_cancelled_in_the_function(registry: Registry, name: str) -> None:
    ended: list[str] = []

    @labelled(registry)
    async def wait(entered: asyncio.Event) -> None:
        try:
            entered.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def main() -> None:
        entered = asyncio.Event()
        task = asyncio.create_task(wait(entered))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await wait(asyncio.Event())

    with state(registry, name):
        run(main())
    assert ended[0] == "cancelled"


@every_state
def test_generators_receive_sent_values_and_thrown_exceptions(
    registry: Registry, name: str
) -> None:
    @labelled(registry)
    def echo() -> Iterator[Any]:
        got: Any = None
        try:
            while got != "end":
                try:
                    got = yield got
                except KeyError as error:
                    got = error.args[0]
            return "result"
        finally:
            closed.append(1)

    def outer() -> Iterator[Any]:
        result = yield from echo()
        yield result

    closed: list[int] = []
    with state(registry, name):
        made: Any = outer()
        assert [next(made), made.send("a"), made.throw(KeyError("b"))] == [None, "a", "b"]
        assert made.send("end") == "result"
        made.close()
        begun: Any = echo()
        next(begun)
        begun.close()
        with pytest.raises(StopIteration):
            next(begun)
    assert closed == [1, 1]


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_fault_acts_in_the_callers_context(registry: Registry, kind: str) -> None:
    call = FUNCTIONS[kind](registry.point("p"))
    seen: list[str] = []

    def look(injection: object) -> None:
        seen.append(WORD.get())

    def within() -> None:
        WORD.set("within")
        with (
            chaospoint.armed("p", registry=registry, call=look, exception=Boom),
            pytest.raises(Boom),
        ):
            finish(call())

    contextvars.copy_context().run(within)
    assert seen == ["within"]
