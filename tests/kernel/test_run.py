"""Faults that call a function, print a line, yield the thread or keep it busy."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from helpers import Threads

from chaospoint import Registry, armed, injection_of
from chaospoint._kernel.context import in_chaospoint
from chaospoint._kernel.effects import Hold, Sleep
from chaospoint._kernel.injection import Injection
from chaospoint.errors import ChaosWarning, UnsupportedFault
from chaospoint.testing import FakeClock

from .kit import (
    PATIENCE,
    Boom,
    Does,
    Witness,
    answers,
    calls,
    raises,
    rule,
    run,
    run_coroutine,
    sleeps,
    turn,
)


def arm(registry: Registry, *terms: Any) -> Any:
    return registry.install(terms, source="test")


def burns(seconds: float) -> Does:
    return Does("delay", (Sleep(seconds, busy=True),))


def yields() -> Does:
    return Does("yield", (Hold(0.0),))


# -- a function of one's own -------------------------------------------------------------


def test_it_gets_the_injection_and_its_result_is_ignored(
    registry: Registry, function: Callable[[], str], witness: Witness
) -> None:
    got: list[Injection] = []

    def call(injection: Injection) -> str:
        got.append(injection)
        return "ignored"

    handle = arm(registry, rule("p", calls(call)))
    assert [function(), function()] == ["own", "own"]
    assert got == witness.injections
    assert [(one.point, one.fault, one.ordinal, one.exception) for one in got] == [
        ("p", "call", 1, None),
        ("p", "call", 2, None),
    ]
    assert (handle.injections, handle.interrupted) == (2, 0)


def test_it_runs_after_the_observers_and_in_its_place_among_the_faults(
    registry: Registry, function: Callable[[], str], clock: FakeClock, pool: Threads
) -> None:
    log: list[str] = []

    class Told:
        def observe(self, injection: Injection) -> None:
            log.append("told")

    registry.add_observer(Told())
    first, last = (calls(lambda _, name=name: log.append(name)) for name in ("first", "last"))
    arm(registry, rule("p", first, sleeps(30), last, answers("other")))
    job = pool.submit(function)
    clock.until_waiting(30)
    assert log == ["told", "first"]
    clock.advance(30)
    assert job.result(PATIENCE) == "other"
    assert log == ["told", "first", "last"]


@pytest.mark.parametrize(
    "kind", ["function", "coroutine", "generator", "async generator", "block", "wrapped"]
)
@pytest.mark.parametrize("error", [Boom, KeyboardInterrupt])
def test_its_exceptions_reach_the_caller_and_are_not_marked(
    registry: Registry, kind: str, error: type[BaseException]
) -> None:
    point = registry.point("p")

    async def coroutine() -> None:
        pytest.fail("the call was made")

    def generator() -> Any:
        yield pytest.fail("the call was made")

    async def agen() -> Any:
        yield pytest.fail("the call was made")

    def block() -> None:
        with point:
            pytest.fail("the call was made")

    def fail(_: Injection) -> None:
        raise thrown

    made: dict[str, Any] = {
        "function": point(lambda: pytest.fail("the call was made")),
        "coroutine": point(coroutine),
        "generator": point(generator),
        "async generator": point(agen),
        "block": block,
        "wrapped": point(partial(pytest.fail, "the call was made")),
    }
    thrown = error()
    handle = arm(registry, rule("p", calls(fail), sleeps(30)))
    with pytest.raises(error) as caught:
        run(
            made[kind](),
            kind if kind in ("coroutine", "generator", "async generator") else "function",
        )
    assert caught.value is thrown
    assert thrown.__context__ is None
    assert injection_of(thrown) is None
    assert not hasattr(thrown, "__notes__")
    assert handle.injections == 1


def test_it_may_arm_disarm_and_reach_other_points(
    registry: Registry, function: Callable[[], str]
) -> None:
    other = registry.point("other")

    def call(_: Injection) -> None:
        assert not in_chaospoint.get()
        handle.disarm()
        arm(registry, rule("other", raises(), times=1))
        with pytest.raises(Boom):
            other.hit()

    handle = arm(registry, rule("p", calls(call)))
    assert function() == "own"
    assert function() == "own"
    assert (handle.injections, handle.interrupted) == (1, 0)


def test_no_lock_is_held_while_it_runs(
    registry: Registry, function: Callable[[], str], pool: Threads
) -> None:
    def call(_: Injection) -> None:
        pool.submit(lambda: arm(registry, rule("q", raises())).disarm()).result(PATIENCE)
        pool.submit(registry.flush).result(PATIENCE)

    registry.point("q")
    arm(registry, rule("p", calls(call), max_active=1))
    assert function() == "own"


def test_a_plain_function_runs_at_asynchronous_placements_too(
    registry: Registry, coroutine: Callable[[], Any]
) -> None:
    got: list[Injection] = []
    arm(registry, rule("p", calls(got.append)))
    assert run_coroutine(coroutine()) == "own"
    run_coroutine(registry.point("p").ahit())
    assert len(got) == 2


def test_a_coroutine_function_is_awaited_under_any_loop(
    registry: Registry, coroutine: Callable[[], Any]
) -> None:
    got: list[Injection] = []

    async def call(injection: Injection) -> None:
        await turn()
        got.append(injection)

    @registry.point("p")
    async def agen() -> Any:
        yield "own"

    async def ablock() -> None:
        async with registry.point("p"):
            pass

    arm(registry, rule("p", calls(call, needs_await=True)))
    assert asyncio.run(coroutine()) == "own"
    assert run(agen(), "async generator") == ["own"]
    asyncio.run(ablock())
    asyncio.run(registry.point("p").ahit())
    assert len(got) == 4
    by_hand = coroutine()
    by_hand.send(None)
    with pytest.raises(StopIteration, match="own"):
        by_hand.send(None)


def test_cancelling_reaches_the_coroutine_function(
    registry: Registry, coroutine: Callable[[], Any]
) -> None:
    log: list[str] = []

    async def call(_: Injection) -> None:
        log.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cleaned")

    arm(registry, rule("p", calls(call, needs_await=True), raises()))

    async def main() -> None:
        task = asyncio.create_task(coroutine())
        while not log:
            await turn()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert log == ["started", "cleaned"]


def test_a_coroutine_function_needs_an_asynchronous_placement(registry: Registry) -> None:
    async def call(_: Injection) -> None: ...

    awaited = calls(call, needs_await=True)

    @registry.point("p")
    def function() -> None: ...

    with pytest.raises(UnsupportedFault, match="can be awaited at asynchronous placements only"):
        arm(registry, rule("p", awaited))

    @registry.point("p")
    async def coroutine() -> None: ...

    with pytest.warns(ChaosWarning, match="'call' is left out at 'p': a coroutine function"):
        handle = arm(registry, rule("p", awaited))
    function()
    assert handle.reaches == 0
    run_coroutine(coroutine())
    assert handle.injections == 1


def test_a_block_leaves_a_coroutine_function_out_and_says_so(
    registry: Registry, log: pytest.LogCaptureFixture
) -> None:
    async def call(_: Injection) -> None: ...

    point = registry.point("p")
    handle = arm(registry, rule("p", calls(call, needs_await=True)))
    with point:
        point.hit()
    assert handle.reaches == 0
    assert log.text.count("can be awaited at asynchronous placements only") == 2
    run_coroutine(point.ahit())
    assert handle.injections == 1


def test_it_leaves_no_cycle(registry: Registry, function: Callable[[], str]) -> None:
    def fail(_: Injection) -> None:
        raise Boom

    arm(registry, rule("p", calls(fail), max_active=1))

    def quiet() -> None:
        try:
            function()
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


# -- a line in the log -------------------------------------------------------------------


def test_print_writes_a_line_and_the_call_is_made(
    registry: Registry, function: Callable[[], str], log: pytest.LogCaptureFixture
) -> None:
    faults = [{"kind": "print", "message": "100 % here"}, {"kind": "print"}]
    with armed("p", faults=faults, registry=registry) as handle:
        assert function() == "own"
    lines = [one.getMessage() for one in log.records if one.levelname == "WARNING"]
    assert lines[-2:] == ["100 % here", "p was reached"]
    assert handle.injections == 1


# -- a turn ------------------------------------------------------------------------------


def test_yield_gives_up_the_turn_once_on_a_thread(
    registry: Registry, function: Callable[[], str], clock: FakeClock, witness: Witness
) -> None:
    registry.engine.housekeeper.stop()  # it waits on the same clock
    before = len(clock.waits)
    handle = arm(registry, rule("p", yields(), answers("other")))
    registry.engine.housekeeper.stop()
    before = len(clock.waits)
    assert function() == "other"
    assert clock.waits[before:] == (0.0,)
    assert witness.injections[0].latency is None
    assert handle.interrupted == 0


def test_yield_lets_other_tasks_run(registry: Registry, coroutine: Callable[[], Any]) -> None:
    log: list[str] = []

    async def one() -> None:
        await coroutine()
        log.append("one")

    async def two() -> None:
        log.append("two")

    async def main() -> None:
        await asyncio.gather(one(), two())

    asyncio.run(main())
    assert log == ["one", "two"]
    log.clear()
    arm(registry, rule("p", yields()))
    asyncio.run(main())
    assert log == ["two", "one"]


def test_yield_on_a_thread_with_a_loop_is_nothing_to_warn_of(
    registry: Registry, function: Callable[[], str], log: pytest.LogCaptureFixture
) -> None:
    arm(registry, rule("p", yields()))

    async def main() -> None:
        assert function() == "own"

    asyncio.run(main())
    assert not [one for one in log.records if one.levelname == "WARNING"]


# -- a busy delay ------------------------------------------------------------------------


def test_a_busy_delay_never_waits_and_ends_in_time(
    registry: Registry, function: Callable[[], str], clock: FakeClock, pool: Threads
) -> None:
    handle = arm(registry, rule("p", burns(5), answers("other")))
    job = pool.submit(function)
    handle.wait_for()
    assert 5 not in clock.waiting
    assert not job.done()
    clock.advance(5)
    assert job.result(PATIENCE) == "other"
    assert handle.interrupted == 0


def test_disarming_ends_a_busy_delay(
    registry: Registry, function: Callable[[], str], pool: Threads, witness: Witness
) -> None:
    handle = arm(registry, rule("p", burns(5), raises()))
    job = pool.submit(function)
    handle.wait_for()
    handle.disarm()
    assert job.result(PATIENCE) == "own"
    assert handle.interrupted == 1
    assert witness.injections[0].latency == 5
    assert handle.rules[0].sleepers == set()


def test_a_busy_delay_keeps_an_event_loop_busy_as_it_is_meant_to(
    registry: Registry,
    coroutine: Callable[[], Any],
    clock: FakeClock,
    pool: Threads,
    log: pytest.LogCaptureFixture,
) -> None:
    handle = arm(registry, rule("p", burns(5)))
    ticks: list[int] = []
    started = threading.Event()

    async def main() -> None:
        task = asyncio.create_task(coroutine())
        asyncio.get_running_loop().call_soon(started.set)
        await turn()
        ticks.append(1)
        await task

    job = pool.submit(lambda: asyncio.run(main()))
    handle.wait_for()
    assert ticks == []
    clock.advance(5)
    job.result(PATIENCE)
    assert "delays a thread" not in log.text
