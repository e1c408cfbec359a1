"""Rules that act in the context that armed them and in its copies, and nowhere else."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from helpers import Threads

from chaospoint import Registry
from chaospoint._kernel import context
from chaospoint.errors import NotPermitted, UnknownPoint, UnsupportedFault

from .kit import PATIENCE, Boom, answers, raises, rule, run, sleeps, turn


def arm(registry: Registry, *terms: Any) -> Any:
    return registry.install(terms, source="test")


def here(*faults: Any, **trigger: Any) -> Any:
    return rule("p", *(faults or (raises(),)), scoped=True, **trigger)


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Let no test hand its context to the next."""
    token = context.scoped_rules.set(frozenset())
    yield
    context.scoped_rules.reset(token)


@pytest.fixture
def hit(function: Callable[[], str]) -> Callable[[], bool]:
    """Whether a call in this context is hit."""

    def hit() -> bool:
        try:
            function()
        except Boom:
            return True
        return False

    return hit


# -- where it acts -----------------------------------------------------------------------


def test_it_acts_in_the_context_that_armed_it_and_in_its_copies(
    registry: Registry, hit: Callable[[], bool]
) -> None:
    before = contextvars.copy_context()
    handle = arm(registry, here())
    assert hit()
    assert contextvars.copy_context().run(hit)
    assert not before.run(hit)
    assert not contextvars.Context().run(hit)
    assert handle.reaches == 2


def test_plain_threads_and_executors_are_other_contexts(
    registry: Registry, hit: Callable[[], bool], pool: Threads
) -> None:
    handle = arm(registry, here())
    assert pool.submit(hit).result(PATIENCE) is False
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(hit).result(PATIENCE) is False
        copy = contextvars.copy_context()
        assert executor.submit(copy.run, hit).result(PATIENCE) is True
        assert executor.submit(hit).result(PATIENCE) is False
    assert handle.reaches == 1


def test_tasks_to_thread_and_callbacks_have_a_copy(
    registry: Registry, hit: Callable[[], bool]
) -> None:
    async def task() -> bool:
        await turn()
        return hit()

    async def main() -> list[bool]:
        loop = asyncio.get_running_loop()
        called: asyncio.Future[bool] = loop.create_future()
        arm(registry, here())
        loop.call_soon(lambda: called.set_result(hit()))
        async with asyncio.TaskGroup() as group:
            child = group.create_task(task())
            grandchild = group.create_task(asyncio.wait_for(task(), PATIENCE))
        in_executor = await loop.run_in_executor(None, hit)
        in_thread = await asyncio.to_thread(hit)
        return [child.result(), grandchild.result(), in_thread, await called, in_executor]

    assert asyncio.run(main()) == [True, True, True, True, False]


def test_armed_in_a_task_it_acts_neither_in_the_parent_nor_in_a_sibling(
    registry: Registry, hit: Callable[[], bool]
) -> None:
    async def main() -> None:
        armed, asked = asyncio.Event(), asyncio.Event()

        async def arms() -> bool:
            arm(registry, here())
            armed.set()
            await asked.wait()
            return hit()

        async def sibling() -> bool:
            await armed.wait()
            return hit()

        one, other = asyncio.create_task(arms()), asyncio.create_task(sibling())
        assert not await other
        assert not hit()
        asked.set()
        assert await one

    asyncio.run(main())


def test_two_tasks_have_each_their_own(registry: Registry, function: Callable[[], str]) -> None:
    async def main() -> list[str]:
        async def one(name: str) -> str:
            arm(registry, here(answers(name)))
            for _ in range(3):
                await turn()
            return function()

        return await asyncio.gather(*map(one, "abc"))

    assert asyncio.run(main()) == ["a", "b", "c"]


KINDS = ("function", "coroutine", "generator", "async generator")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", [False, True])
def test_every_kind_of_function(registry: Registry, kind: str, after: bool) -> None:
    async def coroutine() -> None: ...

    def generator() -> Any:
        yield 1

    async def agen() -> Any:
        yield 1

    kinds: dict[str, Any] = {
        "function": lambda: None,
        "coroutine": coroutine,
        "generator": generator,
        "async generator": agen,
    }
    call = registry.point("p")(kinds[kind])
    arm(registry, here(after=after))
    with pytest.raises(Boom):
        run(call(), kind)
    contextvars.Context().run(lambda: run(call(), kind))


def test_blocks_statements_and_wrapped_callables(registry: Registry) -> None:
    point = registry.point("p")

    def block() -> None:
        with point:
            pass

    handle = arm(registry, here())
    for number, call in enumerate((block, point.hit, point(dict)), 1):
        contextvars.Context().run(call)
        with pytest.raises(Boom):
            call()
        assert handle.reaches == number


def test_a_coroutine_is_reached_where_it_is_called_and_not_where_it_runs(
    registry: Registry,
) -> None:
    @registry.point("p")
    async def coroutine() -> str:
        return "own"

    handle = arm(registry, here())
    elsewhere = contextvars.Context().run(coroutine)
    assert run(elsewhere, "coroutine") == "own"
    assert handle.reaches == 0


@pytest.mark.parametrize(
    "more", [[], [rule("p", answers("own"), after=True, scoped=True)]], ids=len
)
def test_calls_of_other_contexts_are_counted_as_missed(
    registry: Registry, hit: Callable[[], bool], more: list[Any]
) -> None:
    handle = arm(registry, here(skip=1), *more)
    assert [contextvars.Context().run(hit) for _ in range(3)] == [False] * 3
    assert [hit(), hit()] == [False, True]
    one = registry.point("p").explain().rules[0]
    assert (one.missed, one.reaches, one.injections) == (3, 2, 1)
    assert "3 calls did not match where or scope" in str(one)
    assert handle.rules[0].missed == 3


# -- what it goes with -------------------------------------------------------------------


def test_it_goes_with_where_and_consumes_nothing_elsewhere(registry: Registry) -> None:
    point = registry.point("p")
    handle = arm(registry, here(where={"tenant": "acme"}, times=1))
    for _ in range(3):
        contextvars.Context().run(point.hit, tenant="acme")
        point.hit(tenant="other")
    assert (handle.reaches, handle.rules[0].state) == (0, "armed")
    with pytest.raises(Boom):
        point.hit(tenant="acme")


def test_it_stands_before_whatever_else_is_armed(
    registry: Registry, function: Callable[[], str]
) -> None:
    arm(registry, here(answers("here"), times=1))
    below = arm(registry, rule("p", answers("everywhere")))
    assert contextvars.Context().run(function) == "everywhere"
    assert below.rules[0].shadowed == 0
    assert [function(), function()] == ["here", "everywhere"]
    assert below.rules[0].shadowed == 1


def test_rules_armed_one_after_the_other_both_act(
    registry: Registry, function: Callable[[], str]
) -> None:
    first = arm(registry, here(answers("first"), times=2))
    second = arm(registry, here(answers("second"), times=1))
    assert [function() for _ in range(4)] == ["second", "first", "first", "own"]
    assert (first.rules[0].shadowed, second.reaches) == (1, 4)


# -- its end -----------------------------------------------------------------------------


def test_it_is_disarmed_from_any_context(
    registry: Registry, hit: Callable[[], bool], pool: Threads
) -> None:
    handle = arm(registry, here())
    pool.submit(handle.disarm).result(PATIENCE)
    assert not hit()
    arm(registry, here())
    assert contextvars.Context().run(registry.disarm) == 1
    assert not hit()


def test_a_context_forgets_the_rules_that_ended(
    registry: Registry, hit: Callable[[], bool]
) -> None:
    kept = arm(registry, here())
    for _ in range(10_000):
        arm(registry, here(times=1)).disarm()
        assert len(context.scoped_rules.get()) <= 2
    assert hit()
    kept.disarm()


def test_rules_that_are_not_scoped_or_were_refused_enter_no_context(registry: Registry) -> None:
    @registry.point("stream")
    def stream() -> Any:
        yield 1

    registry.point("p")
    arm(registry, rule("p", sleeps(0)))
    with pytest.raises(UnknownPoint):
        registry.install([rule("nowhere", raises(), scoped=True)], source="code", strict=True)
    with pytest.raises(UnsupportedFault):
        arm(registry, rule("stream", answers([]), scoped=True, after=True))
    registry.disable()
    with pytest.raises(NotPermitted):
        arm(registry, here())
    assert context.scoped_rules.get() == frozenset()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_it_acts_in_a_forked_child_too(registry: Registry, hit: Callable[[], bool]) -> None:
    arm(registry, here(times=1))
    assert hit()
    child = os.fork()
    if child == 0:
        good = hit() and not hit() and not contextvars.Context().run(hit)
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not hit()
