"""`max_active`: firings above the limit are suppressed and counted."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import threading
from collections.abc import Callable
from concurrent.futures import as_completed
from itertools import islice
from typing import Any

import pytest
from helpers import Threads

from chaospoint import Armed, Registry
from chaospoint._kernel.chance import Schedule
from chaospoint._kernel.tally import BoundedTally
from chaospoint._registry.notices import Overflowed
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
)


def arm(registry: Registry, *terms: Any) -> Any:
    return registry.install(terms, source="test")


def bounded(*faults: Any, at_most: int = 1, **more: Any) -> Any:
    return rule("p", *faults, max_active=at_most, **more)


def free(handle: Any, function: Callable[[], str]) -> bool:
    """Whether a place is free: the call fails if so."""
    before = handle.injections
    try:
        function()
    except Boom:
        pass
    return bool(handle.injections > before)


# -- exact -------------------------------------------------------------------------------


@pytest.mark.parametrize("at_most", [1, 3, 8])
def test_no_more_than_that_are_held_at_once(
    registry: Registry, function: Callable[[], str], pool: Threads, restless: None, at_most: int
) -> None:
    gate = threading.Barrier(12)

    def call() -> str:
        gate.wait(PATIENCE)
        return function()

    handle = arm(registry, bounded(pauses(), answers("other"), at_most=at_most))
    jobs = [pool.submit(call) for _ in range(12)]
    handle.wait_until_paused(at_most)
    for job in islice(as_completed(jobs, PATIENCE), 12 - at_most):
        assert job.result() == "own"
    assert handle.release() == at_most
    seen = [job.result(PATIENCE) for job in jobs]
    assert (seen.count("other"), seen.count("own")) == (at_most, 12 - at_most)
    assert (handle.injections, handle.overflow, handle.reaches) == (at_most, 12 - at_most, 12)


def test_the_bound_holds_at_every_moment_and_times_is_exact(
    registry: Registry, function: Callable[[], str], pool: Threads, restless: None
) -> None:
    going, lock, most = 0, threading.Lock(), 0

    def work(_: object) -> None:
        nonlocal going, most
        with lock:
            going += 1
            most = max(most, going)
        threading.Event().wait(0)
        with lock:
            going -= 1

    handle = arm(registry, bounded(calls(work), at_most=2, times=300))
    gate = threading.Barrier(8)

    def hammer(_: int) -> None:
        gate.wait(PATIENCE)
        while handle.rules[0].state != "spent":
            function()

    pool.map(hammer, range(8))
    assert most <= 2
    assert (handle.injections, handle.rules[0].tally._taken) == (300, {})
    assert 300 + handle.overflow <= handle.reaches


def test_ordinals_go_on_and_the_draws_are_those_of_an_unbounded_rule() -> None:
    schedule = Schedule(7, skip=3, every=2, probability=0.4, times=9)
    tally = BoundedTally(schedule, 1)
    free = BoundedTally(schedule, 10**6)
    fired = [n for n in range(1, 200) if tally.take(n) is not None]
    kept = [(n, slot) for n in range(1, 200) if (slot := free.take(n)) is not None]
    assert fired == [n for n, _ in kept]
    assert len(fired) == 9
    assert tally.overflow == free.overflow == 0
    assert tally.spent
    assert tally.next_ordinal is None


def test_a_call_in_a_call_is_one_more(registry: Registry) -> None:
    @registry.point("p")
    def function(depth: int) -> int:
        return depth

    depths = []

    def again(_: object) -> None:
        depths.append(1)
        function(0)

    handle = arm(registry, bounded(calls(again), at_most=3))
    function(0)
    assert (len(depths), handle.injections, handle.overflow) == (3, 3, 1)


def test_the_real_call_does_not_count_towards_the_limit(registry: Registry) -> None:
    @registry.point("p")
    def function(depth: int) -> int:
        return function(depth - 1) if depth else 0

    handle = arm(registry, bounded(sleeps(0)))
    function(5)
    assert (handle.injections, handle.overflow) == (6, 0)


# -- given back --------------------------------------------------------------------------


def test_after_an_exception_which_is_kept(registry: Registry, function: Callable[[], str]) -> None:
    handle = arm(registry, bounded(raises()))
    kept = []
    for _ in range(3):
        with pytest.raises(Boom) as caught:
            function()
        kept.append(caught)
    assert (handle.injections, handle.overflow) == (3, 0)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_after_an_exception_of_a_function_of_the_program(
    registry: Registry, function: Callable[[], str], error: type[BaseException]
) -> None:
    def fail(_: object) -> None:
        raise error

    handle = arm(registry, bounded(calls(fail)))
    for _ in range(3):
        with pytest.raises(error):
            function()
    assert (handle.injections, handle.overflow) == (3, 0)


def test_after_ctrl_c_in_an_observer(registry: Registry, function: Callable[[], str]) -> None:
    class Pressed:
        def observe(self, injection: object) -> None:
            raise KeyboardInterrupt

    pressed = Pressed()
    registry.add_observer(pressed)
    handle = arm(registry, bounded(raises()))
    with pytest.raises(KeyboardInterrupt) as kept:
        function()
    registry.remove_observer(pressed)
    assert free(handle, function)
    assert kept.tb is not None  # which keeps the frame, and whatever is in it


def test_after_a_bug_of_ours(
    registry: Registry,
    function: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    expected_bugs: list[BaseException],
) -> None:
    handle = arm(registry, bounded(raises()))
    monkeypatch.setattr("chaospoint._kernel.drive.mark", None)
    assert function() == "own"
    monkeypatch.undo()
    assert free(handle, function)


def test_after_cancelling(registry: Registry, coroutine: Callable[[], Any]) -> None:
    handle = arm(registry, bounded(hangs()))

    async def main() -> None:
        for _ in range(3):
            task = asyncio.create_task(coroutine())
            await handle.await_for(injections=handle.injections + 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert (handle.injections, handle.overflow) == (3, 0)


def test_after_disabling_and_enabling(
    registry: Registry, function: Callable[[], str], pool: Threads
) -> None:
    handle = registry.replace([bounded(pauses())], source="env")
    job = pool.submit(function)
    handle.wait_until_paused()
    registry.disable()
    assert job.result(PATIENCE) == "own"
    registry.enable()
    (heir,) = registry.rules()
    heirs = Armed(registry.engine, [heir])
    job = pool.submit(function)
    heirs.wait_until_paused()
    assert (heirs.release(), heirs.overflow) == (1, 0)
    job.result(PATIENCE)


KINDS = ("coroutine", "generator", "async generator")


def makers(registry: Registry) -> dict[str, Callable[[], Any]]:
    point = registry.point("p")

    @point
    async def coroutine() -> str:
        return "own"

    @point
    def generator() -> Any:
        yield "own"

    @point
    async def agen() -> Any:
        yield "own"

    return {"coroutine": coroutine, "generator": generator, "async generator": agen}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_coroutine_that_never_runs_holds_its_slot_until_it_is_deleted(
    registry: Registry, kind: str
) -> None:
    make, point = makers(registry)[kind], registry.point("p")
    handle = arm(registry, bounded(raises()))
    made = make()
    point.hit()
    assert handle.overflow == 1
    del made
    assert free(handle, lambda: point.hit() or "own")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_coroutine_in_a_cycle_that_never_runs_releases_its_slot(
    registry: Registry, kind: str
) -> None:
    make, point = makers(registry)[kind], registry.point("p")
    handle = arm(registry, bounded(raises()))
    cycle: list[Any] = [make()]
    cycle.append(cycle)
    point.hit()
    assert handle.overflow == 1
    del cycle
    gc.collect()
    assert free(handle, lambda: point.hit() or "own")


def close(made: Any, kind: str) -> None:
    """Close what a call made and nobody began."""
    if kind == "async generator":
        with pytest.raises(StopIteration):
            made.aclose().send(None)
    else:
        made.close()


def throw(made: Any, kind: str) -> None:
    """Throw into what a call made and nobody began."""
    with pytest.raises(Boom):
        made.athrow(Boom()).send(None) if kind == "async generator" else made.throw(Boom())


@pytest.mark.parametrize("end", [close, throw])
@pytest.mark.parametrize("wrapped", [False, True], ids=["patched", "wrapped"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_coroutine_closed_before_it_runs_releases_its_slot(
    registry: Registry, kind: str, wrapped: bool, end: Callable[[Any, str], None]
) -> None:
    make, point = makers(registry)[kind], registry.point("p")
    if wrapped:
        unarmed = makers(Registry())[kind]
        make = point(functools.partial(unarmed))
    handle = arm(registry, bounded(raises()))
    made = make()
    assert not free(handle, lambda: point.hit() or "own")
    end(made, kind)
    assert free(handle, lambda: point.hit() or "own")
    assert (handle.injections, handle.overflow) == (1, 1)
    assert made is not None


def test_a_task_cancelled_before_its_first_step_gives_its_place_back_though_it_is_kept(
    registry: Registry, coroutine: Callable[[], Any]
) -> None:
    handle = arm(registry, bounded(raises()))

    async def main() -> asyncio.Task[str]:
        task = asyncio.create_task(coroutine())
        task.cancel()
        await asyncio.wait([task])
        return task

    task = asyncio.run(main())
    with pytest.raises(Boom):
        run_coroutine(coroutine())
    assert handle.overflow == 0
    assert task.cancelled()


def test_a_stream_that_is_under_way_holds_no_place(registry: Registry) -> None:
    make = makers(registry)["generator"]
    handle = arm(registry, bounded(sleeps(0)))
    streams = [make() for _ in range(1)]
    next(streams[0])
    second = make()
    next(second)
    assert (handle.injections, handle.overflow) == (2, 0)


def test_a_coroutine_made_before_disarming_gives_its_place_back(
    registry: Registry, coroutine: Callable[[], Any]
) -> None:
    handle = arm(registry, bounded(raises()))
    (one,) = handle.rules
    made = coroutine()
    assert len(one.tally._taken) == 1
    handle.disarm()
    assert run_coroutine(made) == "own"
    assert one.tally._taken == {}


# -- seen --------------------------------------------------------------------------------


def test_observers_are_informed_of_the_overflow(
    registry: Registry, function: Callable[[], str], pool: Threads, witness: Witness
) -> None:
    handle = arm(registry, bounded(pauses()))
    job = pool.submit(function)
    handle.wait_until_paused()
    function()
    function()
    registry.flush()
    function()
    registry.flush()
    registry.flush()
    assert [one.count for one in witness.of(Overflowed)] == [2, 1]
    handle.disarm()
    job.result(PATIENCE)
    assert len(witness.injections) == 1


def test_overflow_is_reported_once_if_enabling_comes_before_disabling_is_complete(
    registry: Registry,
    function: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    pool: Threads,
    witness: Witness,
) -> None:
    """Another thread enables as soon as the lock is free, before the counts are told."""
    registry.engine.housekeeper.stop()  # it would flush in between
    handle = registry.replace([bounded(pauses())], source="env")
    job = pool.submit(function)
    handle.wait_until_paused()
    for _ in range(3):
        function()
    real = registry.engine._announce

    def late(ended: Any, *more: Any) -> None:
        monkeypatch.undo()
        registry.enable()
        for _ in range(5):  # the place is still taken
            function()
        real(ended, *more)

    monkeypatch.setattr(registry.engine, "_announce", late)
    registry.disable()
    job.result(PATIENCE)
    registry.flush()
    assert [told.count for told in witness.of(Overflowed)] == [3, 5]
    assert (handle.overflow, registry.rules()[0].overflow) == (3, 8)


def test_tasks_are_bounded_too(
    registry: Registry, coroutine: Callable[[], Any], clock: FakeClock
) -> None:
    handle = arm(registry, bounded(sleeps(30), answers("other"), at_most=2))

    async def main() -> list[str]:
        tasks = [asyncio.create_task(coroutine()) for _ in range(6)]
        await handle.await_for(injections=2)
        for _ in range(5):
            await turn()
        clock.advance(30)
        return await asyncio.gather(*tasks)

    assert sorted(asyncio.run(main())) == ["other"] * 2 + ["own"] * 4
    assert handle.overflow == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_child_has_all_places_free(
    registry: Registry, function: Callable[[], str], pool: Threads
) -> None:
    handle = arm(registry, bounded(pauses(), times=2), rule("p", raises()))
    job = pool.submit(function)
    handle.wait_until_paused()
    child = os.fork()
    if child == 0:
        (one, _) = handle.rules
        slot = one.tally.take(1)
        good = slot is not None and one.tally.take(2) is None and one.overflow == 1
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with pytest.raises(Boom):
        function()
    assert handle.overflow == 1
    handle.release()
    job.result(PATIENCE)
