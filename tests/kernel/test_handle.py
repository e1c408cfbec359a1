"""The handle: counts, disarming, and waiting for what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chaospoint import Armed, Registry
from chaospoint.testing import FakeClock

from .kit import PATIENCE, Boom, Does, raises, rule, sleeps, turn

PASS = Does("off", ())


@pytest.fixture
def hit(registry: Registry) -> Callable[[], None]:
    point = registry.point("p")

    def hit() -> None:
        with pytest.raises(Boom):
            point.hit()

    return hit


def arm(registry: Registry, *terms: Any) -> Armed:
    return registry.install(terms, source="test")


def test_it_adds_up_its_rules_and_no_others(registry: Registry, hit: Callable[[], None]) -> None:
    arm(registry, rule("p", PASS, times=1, skip=10))
    handle = arm(registry, rule("p", raises(), times=1), rule("p", raises(), skip=1))
    hit()
    registry.point("p").hit()  # the first is spent, the second skips one
    hit()
    assert [one.reaches for one in handle.rules] == [3, 2]
    assert [one.shadowed for one in handle.rules] == [0, 1]
    for _ in range(2):
        assert (handle.reaches, handle.injections, handle.interrupted) == (5, 2, 0)
        handle.disarm()


def test_repr_says_what_happened(registry: Registry, hit: Callable[[], None]) -> None:
    handle = arm(registry, rule("p", raises(), text="the rule"))
    hit()
    assert repr(handle) == "<Armed the rule: 1 injection in 1 reach>"


def test_waiting_for_a_count_that_is_already_reached_returns_at_once(
    registry: Registry, hit: Callable[[], None]
) -> None:
    handle = arm(registry, rule("p", raises()))
    handle.wait_for(injections=0, timeout=0)
    hit()
    handle.wait_for(timeout=0)
    asyncio.run(handle.await_for(timeout=0))
    handle.disarm()
    handle.wait_for(timeout=0)


def test_waiting_on_a_thread_ends_with_the_last_injection(
    registry: Registry, hit: Callable[[], None], clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    handle = arm(registry, rule("p", raises()))
    job = pool.submit(handle.wait_for, injections=3, timeout=77)
    for _ in range(3):
        clock.until_waiting(77)
        assert not job.done()
        hit()
    job.result(PATIENCE)
    assert handle.rules[0].watchers == set()


def test_waiting_in_a_coroutine_ends_with_the_last_injection(
    registry: Registry, hit: Callable[[], None], clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    handle = arm(registry, rule("p", raises()))

    async def main() -> None:
        await handle.await_for(injections=2, timeout=77)

    job = pool.submit(asyncio.run, main())
    for _ in range(2):
        clock.until_waiting(77)
        assert not job.done()
        hit()
    job.result(PATIENCE)
    assert handle.rules[0].watchers == set()


def test_it_returns_after_the_observers_are_informed_and_before_the_effect_ends(
    registry: Registry, clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    registry.point("p")
    handle = arm(registry, rule("p", sleeps(30)))
    job = pool.submit(registry.point("p").hit)
    handle.wait_for(timeout=77)
    clock.until_waiting(30)
    assert not job.done()


def waiting(handle: Armed, kind: str, **keys: Any) -> None:
    if kind == "thread":
        handle.wait_for(**keys)
    else:
        asyncio.run(handle.await_for(**keys))


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_a_timeout_says_which_counts_were_seen(
    registry: Registry,
    hit: Callable[[], None],
    clock: FakeClock,
    pool: ThreadPoolExecutor,
    kind: str,
) -> None:
    handle = arm(registry, rule("p", raises(), text="the rule", times=1))
    hit()
    registry.point("p").hit()
    job = pool.submit(waiting, handle, kind, injections=5, timeout=7.5)
    clock.until_waiting(7.5)
    clock.advance(7.5)
    with pytest.raises(TimeoutError) as caught:
        job.result(PATIENCE)
    assert (
        str(caught.value)
        == "waited 7.5 s for 5 injections of the rule: saw 1 injection in 2 reaches"
    )
    assert handle.rules[0].watchers == set()


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "meanwhile"])
def test_once_the_rules_ended_it_does_not_wait(
    registry: Registry, clock: FakeClock, pool: ThreadPoolExecutor, kind: str, before: bool
) -> None:
    registry.point("p")
    handle = arm(registry, rule("p", raises(), text="the rule"))
    if before:
        handle.disarm()
    job = pool.submit(waiting, handle, kind, injections=2, timeout=77)
    if not before:
        clock.until_waiting(77)
        registry.disable()
    with pytest.raises(TimeoutError) as caught:
        job.result(PATIENCE)
    how = "disarmed" if before else "disabled"
    assert str(caught.value) == (
        f"waited for 2 injections of the rule: {how} with 0 injections in 0 reaches"
    )


def test_many_may_wait_at_once(
    registry: Registry, hit: Callable[[], None], clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    handle = arm(registry, rule("p", raises()))
    jobs = [pool.submit(waiting, handle, kind, timeout=77) for kind in ("thread", "coroutine") * 3]
    clock.until_waiting(77, count=6)
    hit()
    for job in jobs:
        job.result(PATIENCE)


def test_one_injection_wakes_waiters_for_another_rule_of_the_handle(
    registry: Registry, clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    registry.point("q"), registry.point("p")
    handle = arm(registry, rule("p", raises()), rule("q", raises()))
    job = pool.submit(handle.wait_for, injections=2, timeout=77)
    for name in ("p", "q"):
        clock.until_waiting(77)
        with pytest.raises(Boom):
            registry.point(name).hit()
    job.result(PATIENCE)


def test_cancelling_a_waiter_leaves_nothing_behind(
    registry: Registry, hit: Callable[[], None]
) -> None:
    handle = arm(registry, rule("p", raises()))

    async def main() -> None:
        task = asyncio.create_task(handle.await_for(timeout=77))
        while not handle.rules[0].watchers:
            await turn()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert handle.rules[0].watchers == set()
    hit()
