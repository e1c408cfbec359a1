"""Pauses: a call is held until it is released, and the later effects then act."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers import Threads

from chaospoint import Registry
from chaospoint.testing import FakeClock

from .kit import (
    PATIENCE,
    Boom,
    Witness,
    answers,
    calls,
    hangs,
    pauses,
    raises,
    rule,
    run_coroutine,
    sleeps,
    turn,
    until,
)


def arm(registry: Registry, *terms: Any) -> Any:
    return registry.install(terms, source="test")


# -- held and let go ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        "function",
        "coroutine",
        "generator",
        "async generator",
        "block",
        "async block",
        "hit",
        "ahit",
        "wrapped",
    ],
)
def test_a_call_is_held_until_it_is_released(registry: Registry, pool: Threads, kind: str) -> None:
    point = registry.point("p")
    log = []

    def work() -> str:
        log.append("done")
        return "own"

    @point
    async def coroutine() -> str:
        return work()

    @point
    def generator() -> Any:
        yield work()

    @point
    async def agen() -> Any:
        yield work()

    def block() -> str:
        with point:
            return work()

    async def ablock() -> str:
        async with point:
            return work()

    def hit() -> str:
        point.hit()
        return work()

    async def ahit() -> str:
        await point.ahit()
        return work()

    async def collect() -> str:
        (item,) = [item async for item in agen()]
        return str(item)

    wrapped = point(threading.local)  # any class will do
    call: Callable[[], Any] = {
        "function": point(lambda: work()),
        "coroutine": lambda: asyncio.run(coroutine()),
        "generator": lambda: next(generator()),
        "async generator": lambda: asyncio.run(collect()),
        "block": block,
        "async block": lambda: asyncio.run(ablock()),
        "hit": hit,
        "ahit": lambda: asyncio.run(ahit()),
        "wrapped": lambda: wrapped() and work(),
    }[kind]
    handle = arm(registry, rule("p", pauses()))
    job = pool.submit(call)
    handle.wait_until_paused()
    assert (log, handle.injections, handle.paused) == ([], 1, 1)
    assert handle.release() == 1
    assert job.result(PATIENCE) == "own"
    assert (handle.paused, handle.interrupted) == (0, 0)
    assert handle.rules[0].sleepers == set()


def test_later_effects_act_after_the_release(
    registry: Registry,
    function: Callable[[], str],
    clock: FakeClock,
    pool: Threads,
    witness: Witness,
) -> None:
    ran = []
    faults = (sleeps(3), pauses(), calls(ran.append), pauses(), sleeps(4), raises())
    handle = arm(registry, rule("p", *faults))
    job = pool.submit(function)
    clock.until_waiting(3)
    assert handle.paused == 0
    clock.advance(3)
    handle.wait_until_paused()
    assert ran == []
    assert handle.release() == 1
    handle.wait_until_paused()  # at the second, and not still at the first
    assert len(ran) == 1
    assert handle.release() == 1
    clock.until_waiting(4)
    clock.advance(4)
    with pytest.raises(Boom):
        job.result(PATIENCE)
    (injection,) = witness.injections
    assert (injection.fault, injection.latency) == (
        "latency+pause+call+pause+latency+exception",
        7.0,
    )


def test_only_paused_calls_are_released_and_the_next_call_is_paused_again(
    registry: Registry, function: Callable[[], str], pool: Threads
) -> None:
    handle = arm(registry, rule("p", pauses()))
    assert handle.release() == registry.release() == 0
    first = [pool.submit(function) for _ in range(3)]
    handle.wait_until_paused(3)
    assert handle.release() == 3
    assert [job.result(PATIENCE) for job in first] == ["own"] * 3
    later = pool.submit(function)
    handle.wait_until_paused()
    assert not later.done()
    handle.disarm()
    assert later.result(PATIENCE) == "own"
    assert (handle.injections, handle.interrupted) == (4, 1)


def test_a_call_is_released_once(registry: Registry) -> None:
    """It is not paused any more when `release` returns, whether or not it has run since."""
    point = registry.point("p")
    handle = arm(registry, rule("p", pauses()))

    async def main() -> None:
        task = asyncio.create_task(point.ahit())
        await until(lambda: handle.paused)
        assert [handle.release(), handle.paused, handle.release()] == [1, 0, 0]
        with pytest.raises(TimeoutError, match=r"saw 1 injection in 1 reach$"):
            handle.wait_until_paused(timeout=0)
        await task

    asyncio.run(main())


def test_a_loop_can_be_stepped_call_by_call(
    registry: Registry, function: Callable[[], str], pool: Threads
) -> None:
    steps: list[int] = []

    def work() -> None:
        for n in range(20):
            function()
            steps.append(n)

    handle = arm(registry, rule("p", pauses()))
    job = pool.submit(work)
    for n in range(20):
        handle.wait_until_paused()
        assert steps == list(range(n))
        assert handle.release() == 1
    job.result(PATIENCE)


def test_many_release_at_once(
    registry: Registry, function: Callable[[], str], pool: Threads, restless: None
) -> None:
    handle = arm(registry, rule("p", pauses()))
    jobs = [pool.submit(function) for _ in range(16)]
    handle.wait_until_paused(16)
    gate = threading.Barrier(4)

    def release(_: int) -> None:
        gate.wait(PATIENCE)
        registry.release()

    pool.map(release, range(4))
    assert [job.result(PATIENCE) for job in jobs] == ["own"] * 16
    assert (handle.paused, handle.interrupted) == (0, 0)


def test_a_hang_and_a_latency_are_no_pauses(
    registry: Registry, function: Callable[[], str], clock: FakeClock, pool: Threads
) -> None:
    for fault in (hangs(), sleeps(30)):
        handle = arm(registry, rule("p", fault))
        job = pool.submit(function)
        clock.until_waiting(None if fault == hangs() else 30)
        assert (handle.paused, handle.release()) == (0, 0)
        handle.disarm()
        assert job.result(PATIENCE) == "own"


# -- which calls -------------------------------------------------------------------------


def test_release_by_point_by_glob_and_by_handle(registry: Registry, pool: Threads) -> None:
    points = [registry.point(name) for name in ("a.one", "a.two", "b.one")]
    both = arm(registry, rule("*", pauses()))
    jobs = {point.name: pool.submit(point.hit) for point in points}
    both.wait_until_paused(3)
    assert registry.release("c.*") == 0
    assert registry.release("a.one") == 1, "another point of the same rule stays paused"
    jobs["a.one"].result(PATIENCE)
    assert not jobs["a.two"].done()
    assert both.paused == 2
    assert registry.release("a.*") == 1
    jobs["a.two"].result(PATIENCE)
    assert not jobs["b.one"].done()
    assert both.release() == 1
    jobs["b.one"].result(PATIENCE)


def test_a_handle_releases_its_own_alone(registry: Registry, pool: Threads) -> None:
    one, two = registry.point("one"), registry.point("two")
    first, second = arm(registry, rule("one", pauses())), arm(registry, rule("two", pauses()))
    jobs = [pool.submit(one.hit), pool.submit(two.hit)]
    first.wait_until_paused()
    second.wait_until_paused()
    assert first.release() == 1
    jobs[0].result(PATIENCE)
    assert (second.paused, jobs[1].done()) == (1, False)
    assert registry.release("*") == 1
    jobs[1].result(PATIENCE)


# -- disarmed ----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["handle", "pattern", "disable", "expiry", "part", "replaced"])
def test_disarming_lets_the_call_through_without_the_rest(
    registry: Registry, clock: FakeClock, pool: Threads, end: str
) -> None:
    @registry.point("a.p")
    def function() -> str:
        return "own"

    terms = rule("a.*", pauses(), raises(), expires_after=60)
    handle = registry.replace([terms], source="file")
    job = pool.submit(function)
    handle.wait_until_paused()
    {
        "handle": handle.disarm,
        "pattern": lambda: registry.disarm("a.*"),
        "disable": registry.disable,
        "expiry": lambda: (clock.advance(60), registry.engine.expire()),
        "part": lambda: registry.disarm("a.p"),
        "replaced": lambda: registry.replace([], source="file"),
    }[end]()
    assert job.result(PATIENCE) == "own"
    assert (handle.injections, handle.interrupted, handle.paused) == (1, 1, 0)
    assert handle.release() == 0


def test_disarming_another_point_of_the_rule_leaves_it_paused(
    registry: Registry, pool: Threads
) -> None:
    point = registry.point("a.p")
    registry.point("a.q")
    handle = arm(registry, rule("a.*", pauses()))
    job = pool.submit(point.hit)
    handle.wait_until_paused()
    registry.disarm("a.q")
    assert (handle.paused, job.done()) == (1, False)
    assert handle.release() == 1
    job.result(PATIENCE)
    assert handle.interrupted == 0


# -- on event loops ----------------------------------------------------------------------


def test_a_paused_task_leaves_the_loop_to_others(
    registry: Registry, coroutine: Callable[[], Any]
) -> None:
    handle = arm(registry, rule("p", pauses(), answers("other")))

    async def main() -> None:
        task = asyncio.create_task(coroutine())
        await handle.await_until_paused()
        for _ in range(10):
            await turn()
        assert not task.done()
        assert handle.release() == 1
        assert await task == "other"

    asyncio.run(main())


def test_waiting_on_one_loop_for_a_call_that_is_paused_on_another(
    registry: Registry, coroutine: Callable[[], Any], function: Callable[[], str], pool: Threads
) -> None:
    handle = arm(registry, rule("p", pauses()))

    async def main() -> None:
        waits = asyncio.create_task(handle.await_until_paused(2))
        await turn()
        jobs = [pool.submit(lambda: asyncio.run(coroutine())), pool.submit(function)]
        await waits
        assert handle.release() == 2
        assert [job.result(PATIENCE) for job in jobs] == ["own"] * 2

    asyncio.run(main())


def test_a_cancelled_task_is_paused_no_more(
    registry: Registry, coroutine: Callable[[], Any]
) -> None:
    handle = arm(registry, rule("p", pauses(), raises()))

    async def main() -> None:
        task = asyncio.create_task(coroutine())
        await handle.await_until_paused()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (handle.paused, handle.release(), handle.interrupted) == (0, 0, 0)
    assert handle.rules[0].sleepers == set()


def test_a_loop_that_closed_during_a_pause_does_not_disturb_other_calls(
    registry: Registry, coroutine: Callable[[], Any], function: Callable[[], str], pool: Threads
) -> None:
    handle = arm(registry, rule("p", pauses()))
    loop = asyncio.new_event_loop()
    abandoned = coroutine()

    async def step() -> None:
        abandoned.send(None)  # as a task would, and nobody ever comes back to it

    loop.run_until_complete(step())
    loop.close()
    job = pool.submit(function)
    handle.wait_until_paused(2)
    assert handle.release() == 2
    assert job.result(PATIENCE) == "own"
    abandoned.close()
    assert (handle.paused, handle.rules[0].sleepers) == (0, set())


def test_a_waiter_whose_loop_closed_does_not_disturb_others(
    registry: Registry, function: Callable[[], str], pool: Threads
) -> None:
    handle = arm(registry, rule("p", pauses()))
    loop = asyncio.new_event_loop()
    waits = handle.await_until_paused()

    async def step() -> None:
        waits.send(None)

    loop.run_until_complete(step())
    loop.close()
    job = pool.submit(function)
    handle.wait_until_paused()
    handle.release()
    assert job.result(PATIENCE) == "own"
    waits.close()
    assert handle.rules[0].watchers == set()


def test_a_plain_call_on_a_thread_with_a_loop_is_released_from_another(
    registry: Registry,
    function: Callable[[], str],
    pool: Threads,
    log: pytest.LogCaptureFixture,
) -> None:
    handle = arm(registry, rule("p", pauses()))

    async def main() -> str:
        return function()

    job = pool.submit(lambda: asyncio.run(main()))
    handle.wait_until_paused()
    handle.release()
    assert job.result(PATIENCE) == "own"
    assert "'p' delays a thread that runs an event loop" in log.text


def test_under_another_event_loop_the_call_goes_through(
    registry: Registry, coroutine: Callable[[], Any], expected_bugs: list[BaseException]
) -> None:
    handle = arm(registry, rule("p", pauses()))
    assert run_coroutine(coroutine()) == "own"
    assert (handle.paused, handle.injections) == (0, 0)


# -- waiting for it ----------------------------------------------------------------------


def test_a_timeout_of_a_wait_says_which_counts_were_seen(
    registry: Registry, function: Callable[[], str], clock: FakeClock, pool: Threads
) -> None:
    handle = arm(registry, rule("p", pauses(), text="the rule"))
    job = pool.submit(function)
    handle.wait_until_paused()
    said = "waited 0 s for 2 paused calls of the rule: saw 1 injection in 1 reach, 1 paused"
    with pytest.raises(TimeoutError, match=said):
        handle.wait_until_paused(2, timeout=0)
    with pytest.raises(TimeoutError, match=said):
        asyncio.run(handle.await_until_paused(2, timeout=0))
    handle.disarm()
    job.result(PATIENCE)
    with pytest.raises(TimeoutError, match="for 1 paused call of the rule: disarmed with 1 inj"):
        handle.wait_until_paused()


def test_waiters_are_informed_of_the_end(registry: Registry) -> None:
    registry.point("p")
    handle = arm(registry, rule("p", pauses()))

    async def main() -> None:
        waits = asyncio.create_task(handle.await_until_paused())
        await turn()
        handle.disarm()
        with pytest.raises(TimeoutError, match="disarmed"):
            await waits

    asyncio.run(main())


# -- forks and Ctrl-C --------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_child_has_no_paused_calls(
    registry: Registry, function: Callable[[], str], pool: Threads
) -> None:
    handle = arm(registry, rule("p", pauses(), times=1))
    job = pool.submit(function)
    handle.wait_until_paused()
    child = os.fork()
    if child == 0:
        good = (handle.paused, registry.release(), handle.injections) == (0, 0, 0)
        os._exit(0 if good and not handle.rules[0].sleepers else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (handle.paused, job.done()) == (1, False)
    assert handle.release() == 1
    assert job.result(PATIENCE) == "own"


def test_ctrl_c_in_a_pause_passes_and_leaves_nothing_behind(
    registry: Registry,
    function: Callable[[], str],
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry.engine.housekeeper.stop()  # it waits on the same clock
    handle = arm(registry, rule("p", pauses(), raises()))

    def pressed(*_: object) -> None:
        assert handle.paused == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "wait", pressed)
    with pytest.raises(KeyboardInterrupt):
        function()
    monkeypatch.undo()
    assert (handle.paused, handle.interrupted) == (0, 0)


def test_released_by_an_observer_of_the_very_injection_it_is_not_paused_yet(
    registry: Registry, function: Callable[[], str], pool: Threads
) -> None:
    released = []

    class Eager:
        def observe(self, injection: object) -> None:
            released.append(registry.release())

    registry.add_observer(Eager())
    handle = arm(registry, rule("p", pauses()))
    job = pool.submit(function)
    handle.wait_until_paused()
    assert released == [0]
    handle.release()
    job.result(PATIENCE)


@pytest.mark.parametrize("kind", ["thread", "task"])
def test_a_released_call_continues_though_disarmed_since(
    registry: Registry, function: Callable[[], str], coroutine: Callable[[], Any], kind: str
) -> None:
    async def staged() -> None:
        handle = arm(registry, rule("p", pauses(), raises()))
        call = coroutine() if kind == "task" else asyncio.to_thread(function)
        job = asyncio.create_task(call)
        await handle.await_until_paused()
        assert handle.release() == 1
        handle.disarm()
        with pytest.raises(Boom):
            await job
        assert (handle.injections, handle.interrupted) == (1, 0)

    asyncio.run(staged())
