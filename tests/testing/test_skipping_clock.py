"""Latencies, hangs and expiries pass at once and keep their order."""

from __future__ import annotations

import asyncio
import threading
import time
from asyncio import BaseEventLoop
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import anyio
import freezegun
import pytest
from helpers import PATIENCE, Boom, Threads, python, tick

from chaospoint import ChaosError, Plan, Registry, Rule, arm
from chaospoint._kernel.bell import Bell
from chaospoint._kernel.threads import OwnThread
from chaospoint.arming import Origin, install_plan
from chaospoint.testing import FakeClock, SkippingClock
from chaospoint.testing.clocks import loop_time, pacer, patience
from chaospoint.testing.clocks.skipping import skipping

QUICK = 2.0
"""The maximum real seconds besides the skipped ones, also on a busy machine."""

SOON = pytest.approx(0.0, abs=QUICK)


def about(seconds: float) -> Any:
    """Return a value that equals ``seconds`` plus the real time of a test."""
    return pytest.approx(seconds + QUICK / 2, abs=QUICK / 2 + 0.001)


@pytest.fixture(autouse=True)
def _quick_and_restored() -> Iterator[None]:
    """Check that each test takes little time, restores asyncio and leaves no thread."""
    own, began = BaseEventLoop.time, time.monotonic()
    yield
    assert time.monotonic() - began < PATIENCE / 2
    assert BaseEventLoop.time is own
    assert not [one for one in threading.enumerate() if one.name == "chaospoint-pacer"]


@pytest.fixture
def within(pool: Threads) -> Callable[[Callable[[], Any]], Any]:
    """Run a call on a new thread, so that it cannot hang the test; return its result."""
    return lambda call: pool.submit(call).result(PATIENCE)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable skipping during the test."""
    monkeypatch.setattr(pacer, "_SLICE", PATIENCE)


class Shop:
    """A registry with one call on each kind of thread of control."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

        @registry.point("charge")
        def charge() -> str:
            return "charged"

        @registry.point("acharge")
        async def acharge() -> str:
            return "charged"

        @registry.point("aship")
        async def aship() -> str:
            return "shipped"

        self.charge, self.acharge, self.aship = charge, acharge, aship

    def arm(self, point: str, **keys: Any) -> Any:
        return arm(point, registry=self.registry, **keys)


@pytest.fixture
def shop(registry: Registry) -> Shop:
    return Shop(registry)


def until(reached: Callable[[], object]) -> None:
    """Check a condition repeatedly in real time until it holds."""
    began = time.monotonic()
    while not reached():
        assert time.monotonic() - began < PATIENCE
        time.sleep(0)


# -- threads ------------------------------------------------------------------------------


def test_a_latency_in_a_thread_passes_at_once_and_is_recorded(shop: Shop, within: Any) -> None:
    shop.arm("charge", latency="30s")
    with skipping(shop.registry) as clock:
        before = clock.monotonic()
        assert within(lambda: (shop.charge(), shop.charge())) == ("charged", "charged")
        assert clock.monotonic() - before == about(60)
    assert clock.waits == (30.0, 30.0)
    assert clock.waiting == ()
    assert 60 - QUICK < clock.skipped < 60.001


def test_a_hang_with_a_limit_ends_at_its_limit(shop: Shop, within: Any) -> None:
    shop.arm("charge", hang="30s")
    with skipping(shop.registry) as clock, pytest.raises(TimeoutError):
        within(shop.charge)
    assert clock.waits == (30.0,)


def test_a_hang_without_one_ends_when_its_rule_expires(shop: Shop, within: Any) -> None:
    armed = shop.arm("charge", hang=True, expires_after=60)
    with skipping(shop.registry) as clock:
        assert within(shop.charge) == "charged"
    assert clock.waits == (None,)
    assert clock.skipped == pytest.approx(60, abs=QUICK)
    assert (armed.rules[0].why, armed.interrupted) == ("expired", 1)


@pytest.mark.parametrize("keys", [{"latency": "30s"}, {"hang": True, "expires_after": 30}])
def test_waits_that_end_at_nearly_the_same_time_all_pass(
    shop: Shop, pool: Threads, keys: Any
) -> None:
    """The time it takes to wake some does not skip the others."""
    points = [shop.registry.point(f"near.{number}") for number in range(20)]
    barrier = threading.Barrier(len(points))

    def call(point: Any) -> None:
        barrier.wait()
        point.hit()

    with skipping(shop.registry):
        for point in points:
            shop.arm(point, **keys)
        pool.map(call, points)


def test_a_rule_expires_in_the_middle_of_a_longer_wait(shop: Shop, within: Any) -> None:
    armed = shop.arm("charge", latency="90s", expires_after=60)
    with skipping(shop.registry) as clock:
        assert within(shop.charge) == "charged"
        assert clock.skipped == pytest.approx(60, abs=QUICK)
    assert armed.interrupted == 1


def test_the_processor_is_kept_busy_for_its_real_time(shop: Shop, within: Any) -> None:
    shop.arm("charge", faults=[{"kind": "delay", "seconds": "20ms"}])
    with skipping(shop.registry) as clock:
        assert within(shop.charge) == "charged"
    assert (clock.waits, clock.skipped) == ((), 0.0)


def test_other_threads_have_their_turn_before_time_is_skipped(shop: Shop, within: Any) -> None:
    """The pacer waits 2 ms, so that it does not overtake a call that is about to wait less."""
    shop.arm("charge", latency="30s")
    with skipping(shop.registry):
        began = time.monotonic()
        within(lambda: [shop.charge() for _ in range(10)])
        assert time.monotonic() - began >= 0.02


def test_nothing_is_skipped_until_who_was_woken_goes_on(
    shop: Shop, pool: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the machine takes."""
    monkeypatch.setattr(patience, "_SECONDS", PATIENCE)
    shop.arm("charge", latency="30s")
    with skipping(shop.registry) as clock:
        woken = Bell()
        with clock._waits.going_on(1, woken, None):
            job = pool.submit(shop.charge)
            assert woken.wait(PATIENCE)
            with pytest.raises(TimeoutError):
                job.result(0.05)
        assert job.result(PATIENCE) == "charged"


def test_giving_up_the_turn_skips_nothing(shop: Shop, within: Any) -> None:
    shop.arm("charge", faults=[{"kind": "yield"}])
    with skipping(shop.registry) as clock:
        assert within(shop.charge) == "charged"
    assert (clock.waits, clock.skipped) == ((0.0,), 0.0)


@pytest.mark.usefixtures("slow")
def test_a_wait_that_is_woken_early_goes_on_and_is_recorded_once(
    shop: Shop, pool: Threads, within: Any
) -> None:
    armed = shop.arm("charge", latency="30s")
    armed_too = shop.arm("acharge", latency="20s")
    with skipping(shop.registry) as clock:
        jobs = [pool.submit(shop.charge), pool.submit(asyncio.run, shop.acharge())]
        until(lambda: len(clock.waiting) == 2)
        going = list(clock._waits.going)
        armed.rules[0].wake()
        armed_too.rules[0].wake()
        until(lambda: len(clock.waiting) == 2 and not {*going} & {*clock._waits.going})
        assert sorted(clock.waits) == [20.0, 30.0]
        clock.advance(30)
        assert [job.result(PATIENCE) for job in jobs] == ["charged", "charged"]


# -- event loops --------------------------------------------------------------------------


def around_run(main: Callable[[], Any], registry: Registry) -> SkippingClock:
    with skipping(registry) as clock:
        asyncio.run(main())
    return clock


def around_runner(main: Callable[[], Any], registry: Registry) -> SkippingClock:
    with skipping(registry) as clock, asyncio.Runner(debug=True) as runner:
        runner.run(main())
    return clock


def around_anyio(main: Callable[[], Any], registry: Registry) -> SkippingClock:
    with skipping(registry) as clock:
        anyio.run(main)
    return clock


def inside(main: Callable[[], Any], registry: Registry) -> SkippingClock:
    async def test() -> SkippingClock:
        await tick()
        with skipping(registry) as clock:
            await main()
        return clock

    return asyncio.run(test())


WAYS = pytest.mark.parametrize("way", [around_run, around_runner, around_anyio, inside])


@WAYS
def test_a_latency_beyond_a_timeout_ends_at_the_timeout(shop: Shop, within: Any, way: Any) -> None:
    shop.arm("acharge", latency="60s")

    async def main() -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await shop.acharge()
        assert asyncio.get_running_loop().time() - began == about(30)

    clock = within(lambda: way(main, shop.registry))
    assert clock.waits == (60.0,)
    assert clock.skipped == pytest.approx(30, abs=QUICK)


@WAYS
def test_a_latency_within_a_timeout_passes(shop: Shop, within: Any, way: Any) -> None:
    shop.arm("acharge", latency="10s")

    async def main() -> None:
        async with asyncio.timeout(30):
            assert await shop.acharge() == "charged"

    clock = within(lambda: way(main, shop.registry))
    assert clock.skipped == pytest.approx(10, abs=QUICK)


async def by_wait_for(call: Any) -> None:
    await asyncio.wait_for(call(), 30)


async def by_fail_after(call: Any) -> None:
    with anyio.fail_after(30):
        await call()


async def by_call_later(call: Any) -> None:
    task = asyncio.ensure_future(call())
    asyncio.get_running_loop().call_later(30, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        raise TimeoutError from None


@pytest.mark.parametrize("bounded", [by_wait_for, by_fail_after, by_call_later])
@pytest.mark.parametrize("keys", [{"hang": True}, {"latency": "60s"}])
def test_every_kind_of_timeout_ends_a_wait(
    shop: Shop, within: Any, bounded: Any, keys: Any
) -> None:
    shop.arm("acharge", **keys)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await bounded(shop.acharge)

    clock = within(lambda: around_anyio(main, shop.registry))
    assert clock.skipped == pytest.approx(30, abs=QUICK)


def test_tasks_end_in_the_order_of_their_latencies(shop: Shop, within: Any) -> None:
    shop.arm("acharge", latency="10s")
    shop.arm("aship", latency="5s")
    ended: list[tuple[str, float]] = []

    async def call(point: Any, began: float) -> None:
        ended.append((await point(), asyncio.get_running_loop().time() - began))

    async def main() -> None:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(call(point, began) for point in (shop.acharge, shop.aship)))

    within(lambda: around_run(main, shop.registry))
    assert ended == [("shipped", about(5)), ("charged", about(10))]


def test_retries_each_meet_their_own_timeout(shop: Shop, within: Any) -> None:
    shop.arm("acharge", latency="60s", times=2)

    async def main() -> int:
        for attempt in range(5):
            try:
                async with asyncio.timeout(1):
                    await shop.acharge()
                    return attempt
            except TimeoutError:
                pass
        raise AssertionError

    async def checked() -> None:
        assert await main() == 2

    clock = within(lambda: around_run(checked, shop.registry))
    assert clock.waits == (60.0, 60.0)
    assert clock.skipped == pytest.approx(2, abs=1)


def test_a_latency_in_a_worker_thread_meets_the_timeout_of_the_loop(
    shop: Shop, within: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that waits for a fault does not count as working."""
    monkeypatch.setattr(patience, "_SECONDS", PATIENCE)
    shop.arm("charge", latency="60s")

    async def main() -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.to_thread(shop.charge)
        assert asyncio.get_running_loop().time() - began == about(30)

    clock = within(lambda: around_run(main, shop.registry))
    assert clock.skipped == pytest.approx(60, abs=QUICK)  # its thread is waited for


def test_a_loop_on_another_thread_meets_its_own_timeout(
    shop: Shop, pool: Threads, within: Any
) -> None:
    shop.arm("charge", latency="60s")
    waiting = threading.Event()

    async def client() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        loop.call_soon(waiting.set)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.create_future(), 30)
        return loop.time() - began

    with skipping(shop.registry):
        job = pool.submit(lambda: asyncio.run(client()))
        assert waiting.wait(PATIENCE)
        assert within(shop.charge) == "charged"
        assert job.result(PATIENCE) == about(30)


def test_a_latency_that_blocks_the_loop_passes_beyond_its_timers(
    shop: Shop, within: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Woken tasks on a blocked loop do not delay the skip, because they cannot continue."""
    monkeypatch.setattr(patience, "_SECONDS", PATIENCE)
    shop.arm("charge", latency="30s")
    shop.arm("acharge", latency="10s")
    due: list[str] = []

    async def main() -> None:
        asyncio.get_running_loop().call_later(5, due.append, "timer")
        other = asyncio.ensure_future(shop.acharge())
        await tick()
        assert shop.charge() == "charged"
        assert due == []
        assert await other == "charged"
        assert due == ["timer"]

    clock = within(lambda: around_run(main, shop.registry))
    assert clock.waits == (10.0, 30.0)
    assert clock.skipped == pytest.approx(30, abs=QUICK)


def test_a_loop_that_waits_for_a_thread_with_a_latency_is_passed_over(
    shop: Shop, pool: Threads, within: Any
) -> None:
    shop.arm("charge", latency="30s")

    async def main() -> None:
        asyncio.get_running_loop().call_later(5, int)
        assert within(lambda: [shop.charge() for _ in range(3)]) == ["charged"] * 3

    clock = pool.submit(around_run, main, shop.registry).result(PATIENCE)
    assert clock.waits == (30.0, 30.0, 30.0)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("keys", [{"hang": True}, {"latency": "60s"}])
def test_a_task_that_its_loop_left_behind_makes_nobody_wait(shop: Shop, keys: Any) -> None:
    """Otherwise time would be skipped for it until the end of the block."""
    shop.arm("acharge", **keys)
    loop = asyncio.new_event_loop()

    async def main() -> bool:
        await tick()
        return clock._waits.makes_wait()

    with skipping(shop.registry) as clock:
        task = loop.create_task(shop.acharge())
        assert loop.run_until_complete(main())
        assert not clock._waits.makes_wait()
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()


@pytest.mark.usefixtures("slow")
def test_who_was_woken_waits_no_more_though_he_has_not_gone_on(shop: Shop) -> None:
    """Otherwise a busy machine would skip the rest of the wait."""
    with skipping(shop.registry) as clock:
        woken = threading.Event()
        with clock._waits.going_on(60, woken, None):
            assert clock._waits.makes_wait()
            assert not clock._waits.awaited(())
            assert clock._waits.left() == pytest.approx(60, abs=QUICK)
            woken.set()
            assert not clock._waits.makes_wait()
            assert clock._waits.awaited(())
            assert clock._waits.left() == float("inf")


def test_a_loop_that_is_never_idle_does_not_stop_time(shop: Shop, within: Any) -> None:
    shop.arm("acharge", latency="30s")

    async def main() -> None:
        task = asyncio.ensure_future(shop.acharge())
        while not task.done():
            await asyncio.sleep(0)

    clock = within(lambda: around_run(main, shop.registry))
    assert clock.skipped == pytest.approx(30, abs=QUICK)


def test_the_timers_of_a_loop_that_is_never_idle_are_kept_to(shop: Shop, within: Any) -> None:
    """However slow it is, as long as it makes progress."""
    shop.arm("acharge", latency="30s")

    async def main() -> None:
        task = asyncio.ensure_future(asyncio.wait_for(shop.acharge(), 5))
        while not task.done():
            time.sleep(0.03)
            await asyncio.sleep(0)
        assert isinstance(task.exception(), TimeoutError)

    within(lambda: around_run(main, shop.registry))


def test_a_task_that_never_waits_for_long_is_not_overtaken(shop: Shop, within: Any) -> None:
    """However often it yields to others."""
    shop.arm("acharge", latency="10s")

    async def busy() -> str:
        async with asyncio.timeout(5):
            for _ in range(3000):
                await asyncio.sleep(0)
        return "done"

    async def main() -> None:
        assert await asyncio.gather(shop.acharge(), busy()) == ["charged", "done"]

    within(lambda: around_run(main, shop.registry))


def test_work_in_the_default_executor_is_not_overtaken(shop: Shop, within: Any) -> None:
    shop.arm("acharge", latency="10s")

    async def work() -> str:
        async with asyncio.timeout(5):
            for _ in range(3):
                await asyncio.to_thread(time.sleep, 0.02)
        return "done"

    async def main() -> None:
        began = time.monotonic()
        assert await asyncio.gather(shop.acharge(), work()) == ["charged", "done"]
        assert time.monotonic() - began >= 0.06

    within(lambda: around_run(main, shop.registry))


def test_work_that_waits_for_a_fault_is_waited_for_once_only(shop: Shop, within: Any) -> None:
    """Otherwise each later skip would take as long as the patience."""
    shop.arm("acharge", latency="10s", times=20)
    ended = threading.Event()

    async def main() -> None:
        began = time.monotonic()
        server = asyncio.ensure_future(asyncio.to_thread(ended.wait, PATIENCE))
        for _ in range(20):
            await shop.acharge()
            await asyncio.to_thread(int)
        assert not server.done()
        assert time.monotonic() - began < QUICK
        ended.set()
        await server

    assert within(lambda: around_run(main, shop.registry)).skipped == pytest.approx(200, abs=QUICK)


def test_work_is_waited_for_as_long_as_patience_lasts_each_time_anew() -> None:
    work, ends = loop_time._Work(), [threading.Event() for _ in range(4)]
    with ThreadPoolExecutor() as executor:
        loop = cast("asyncio.AbstractEventLoop", SimpleNamespace(_default_executor=executor))

        def goes_on() -> bool:
            return work.goes_on(loop, tuple)

        def begin(number: int) -> None:
            executor.submit(ends[number].wait, PATIENCE)

        def end(*numbers: int) -> None:
            for number in numbers:
                ends[number].set()
            until(lambda: executor._idle_semaphore._value == len(executor._threads))
            assert not goes_on()

        assert not goes_on()
        begin(0)
        assert goes_on()
        until(lambda: not goes_on())
        assert not goes_on()  # it was given up, and what comes later is not
        begin(1)
        assert goes_on()
        end(0, 1)
        begin(2)
        assert all(goes_on() for _ in range(15))
        end(2)
        began = time.monotonic()
        until(lambda: time.monotonic() > began + 0.25)
        begin(3)
        assert all(goes_on() for _ in range(15))
        end(3)


def test_a_timer_that_shows_no_callback_stands_in_nobodys_way(shop: Shop, within: Any) -> None:
    """The callback of a timer is not public."""
    shop.arm("acharge", latency="30s")

    async def main() -> None:
        timer = asyncio.get_running_loop().call_later(60, int)
        del timer._callback  # type: ignore[attr-defined]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await shop.acharge()
        timer.cancel()

    assert within(lambda: around_run(main, shop.registry)).skipped == pytest.approx(5, abs=QUICK)


@pytest.mark.usefixtures("expected_bugs")
def test_a_loop_that_cannot_be_looked_at_is_not_waited_for(
    shop: Shop, within: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_SECONDS", PATIENCE)
    monkeypatch.setattr(loop_time._Work, "goes_on", lambda *_: 1 // 0)
    shop.arm("acharge", latency="30s")

    async def main() -> None:
        assert await shop.acharge() == "charged"

    within(lambda: around_run(main, shop.registry))


def test_what_is_ready_runs_before_time_is_skipped(shop: Shop, within: Any) -> None:
    """No timer is skipped, however far apart they are."""
    shop.arm("acharge", latency="30s")
    seen: list[float] = []

    async def ticker() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(20):
            await asyncio.sleep(1)
            for _ in range(5):
                await asyncio.sleep(0)
            seen.append(loop.time() - began)

    async def main() -> None:
        await asyncio.gather(shop.acharge(), ticker())

    within(lambda: around_run(main, shop.registry))
    assert [round(one) for one in seen] == pytest.approx(list(range(1, 21)), abs=1)


class OwnTime(asyncio.SelectorEventLoop):
    """A loop whose time chaospoint cannot replace."""

    def time(self) -> float:
        return time.monotonic()


class OwnTimeOnTop(asyncio.SelectorEventLoop):
    def time(self) -> float:
        return super().time()


@pytest.mark.parametrize("kind", [OwnTime, OwnTimeOnTop])
def test_a_loop_with_a_time_of_its_own_keeps_it_and_waits_pass(
    shop: Shop, within: Any, kind: Any
) -> None:
    shop.arm("acharge", latency="30s")

    async def main() -> None:
        began = asyncio.get_running_loop().time()
        assert await shop.acharge() == "charged"
        assert asyncio.get_running_loop().time() - began == SOON

    def run() -> None:
        with skipping(shop.registry), asyncio.Runner(loop_factory=kind) as runner:
            runner.run(main())

    within(run)


# -- what is not skipped ------------------------------------------------------------------


def test_an_idle_loop_has_its_real_time(shop: Shop, within: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await tick(0.02)

    assert within(lambda: around_run(main, shop.registry)).skipped == 0.0


def test_a_call_that_the_test_holds_lets_no_time_pass(shop: Shop, within: Any) -> None:
    paused = shop.arm("acharge", faults=[{"kind": "pause"}])
    shop.arm("aship", latency="5s")

    async def main() -> None:
        async with asyncio.timeout(30) as limit:
            held = asyncio.ensure_future(shop.acharge())
            await paused.await_until_paused()
            await tick(0.02)
            assert cast("SkippingClock", shop.registry.engine.clock).skipped == 0.0
            limit.reschedule(None)
            assert await shop.aship() == "shipped"
            assert not held.done()
            paused.release()
            assert await held == "charged"

    clock = within(lambda: around_run(main, shop.registry))
    assert clock.skipped == pytest.approx(5, abs=QUICK)
    assert clock.waits == (None, 5.0)


def test_a_call_on_a_thread_that_the_test_holds_lets_no_time_pass(
    shop: Shop, pool: Threads, within: Any
) -> None:
    paused = shop.arm("charge", faults=[{"kind": "pause"}])
    with skipping(shop.registry) as clock:
        held = pool.submit(shop.charge)
        paused.wait_until_paused()
        until(lambda: None in clock.waiting)
        within(lambda: asyncio.run(tick(0.02)))
        assert clock.skipped == 0.0
        paused.release()
        assert held.result(PATIENCE) == "charged"


def test_a_hang_passes_though_calls_are_held_from_before_the_block(
    shop: Shop, pool: Threads, within: Any
) -> None:
    """They wait in real time and do not count as waits of the clock."""
    paused = shop.arm("charge", faults=[{"kind": "pause"}])
    shop.arm("acharge", hang=True)
    held = pool.submit(shop.charge)
    paused.wait_until_paused()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await shop.acharge()

    clock = within(lambda: around_run(main, shop.registry))
    assert clock.skipped == pytest.approx(30, abs=QUICK)
    paused.release()
    assert held.result(PATIENCE) == "charged"


def test_a_hang_passes_though_a_loop_left_behind_a_call_that_is_held(
    shop: Shop, within: Any
) -> None:
    paused = shop.arm("acharge", faults=[{"kind": "pause"}])
    shop.arm("charge", hang=True, expires_after=30)
    loop = asyncio.new_event_loop()
    with skipping(shop.registry) as clock:
        held = loop.create_task(shop.acharge())
        loop.run_until_complete(tick())
        assert within(shop.charge) == "charged"
        assert clock.skipped == pytest.approx(30, abs=QUICK)
    paused.release()
    assert loop.run_until_complete(held) == "charged"
    loop.close()


def test_the_waits_of_the_test_itself_go_by_real_time(shop: Shop, within: Any) -> None:
    hung = shop.arm("acharge", hang=True)

    async def main() -> None:
        tasks = [asyncio.ensure_future(shop.acharge())]
        loop = asyncio.get_running_loop()
        wait = asyncio.ensure_future(hung.await_for(injections=2, timeout=PATIENCE))
        await asyncio.to_thread(time.sleep, 0.02)
        tasks.append(loop.create_task(shop.acharge()))
        await wait
        hung.disarm()
        assert await asyncio.gather(*tasks) == ["charged", "charged"]

    assert within(lambda: around_run(main, shop.registry)).skipped == 0.0


# -- by hand ------------------------------------------------------------------------------


def test_a_rule_expires_when_the_clock_is_advanced(shop: Shop) -> None:
    armed = shop.arm("charge", exception=Boom, expires_after=60)
    with skipping(shop.registry) as clock:
        clock.advance(59)
        with pytest.raises(Boom):
            shop.charge()
        clock.advance(1)
        assert armed.rules[0].state == "expired"
        assert shop.charge() == "charged"
        assert clock.skipped == 60


def test_timers_of_a_loop_are_due_when_the_clock_is_advanced(shop: Shop, within: Any) -> None:
    async def main() -> None:
        due = asyncio.ensure_future(asyncio.sleep(1000, "due"))
        await tick()
        with skipping(shop.registry) as clock:
            clock.advance(1000)
            assert await due == "due"

    within(lambda: asyncio.run(main()))


def test_an_idle_loop_on_another_thread_wakes_when_the_clock_is_advanced(
    shop: Shop, pool: Threads
) -> None:
    started = threading.Event()

    async def main() -> str:
        asyncio.get_running_loop().call_soon(started.set)
        return await asyncio.sleep(1000, "due")

    with skipping(shop.registry) as clock:
        job = pool.submit(lambda: asyncio.run(main()))
        assert started.wait(PATIENCE)
        clock.advance(1000)
        assert job.result(PATIENCE) == "due"


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_clock_is_not_advanced_by_what_is_no_time(shop: Shop, seconds: float) -> None:
    with skipping(shop.registry) as clock:
        with pytest.raises(ChaosError, match=r"advanced by .*: write seconds, 0 or more"):
            clock.advance(seconds)
        assert clock.skipped == 0.0


def test_a_clock_is_not_advanced_when_its_block_has_ended(shop: Shop) -> None:
    with skipping(shop.registry) as clock:
        pass
    with pytest.raises(ChaosError, match="has ended"):
        clock.advance(1)


# -- in and out ---------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, asyncio.CancelledError])
def test_everything_is_as_before_however_the_block_ends(
    shop: Shop, within: Any, error: type[BaseException]
) -> None:
    shop.arm("charge", latency="30s")
    before = shop.registry.engine.clock

    def block() -> None:
        with skipping(shop.registry) as clock:
            assert shop.registry.engine.clock is clock
            within(shop.charge)
            raise error

    with pytest.raises(error):
        block()
    assert shop.registry.engine.clock is before


@pytest.mark.parametrize("early", [False, True])
def test_rules_have_as_much_time_left_after_the_block_as_in_it(shop: Shop, early: bool) -> None:
    if early:
        armed = shop.arm("charge", latency="1s", expires_after=100)
    with skipping(shop.registry) as clock:
        if not early:
            clock.advance(1000)
            armed = shop.arm("charge", latency="1s", expires_after=100)
        clock.advance(40)
    assert armed.rules[0].seconds_left == pytest.approx(60, abs=QUICK)


def test_a_rule_that_is_brought_back_after_the_block_has_its_time_too(shop: Shop) -> None:
    plan = Plan(rules=[Rule(point="charge", latency="1s", expires_after=100)])
    with skipping(shop.registry) as clock:
        install_plan(plan, origin=Origin("file"), registry=shop.registry, replace=True)
        clock.advance(40)
        shop.registry.engine.disable()
    shop.registry.engine.enable()
    (rule,) = shop.registry.rules()
    assert rule.seconds_left == pytest.approx(60, abs=QUICK)


def test_a_registry_has_one_skipping_clock_at_a_time(shop: Shop, within: Any) -> None:
    shop.arm("charge", latency="30s")
    with skipping(shop.registry) as clock:
        with pytest.raises(ChaosError, match="already uses a skipping clock"):
            skipping(shop.registry).__enter__()
        within(shop.charge)
        assert clock.skipped == pytest.approx(30, abs=QUICK)
    with skipping(shop.registry) as again:
        within(shop.charge)
    assert again.skipped == pytest.approx(30, abs=QUICK)


def test_what_is_skipped_for_one_registry_passes_for_all_with_a_clock(
    shop: Shop, within: Any
) -> None:
    other = Shop(Registry())
    shop.arm("acharge", latency="10s")
    other.arm("acharge", latency="5s")
    ended: list[str] = []

    async def call(name: str, point: Any) -> None:
        await point()
        ended.append(name)

    async def main() -> None:
        with skipping(shop.registry) as one:
            assert await shop.acharge() == "charged"
            with skipping(other.registry) as two:
                await asyncio.gather(call("ten", shop.acharge), call("five", other.acharge))
            assert two.skipped == pytest.approx(10, abs=QUICK)
            assert await shop.acharge() == "charged"
            assert two.skipped == pytest.approx(10, abs=QUICK)
        assert one.skipped == pytest.approx(30, abs=QUICK)

    within(lambda: asyncio.run(main()))
    assert ended == ["five", "ten"]
    other.registry.disarm()
    other.registry.engine.housekeeper.stop()


def test_a_registry_without_a_clock_waits_in_real_time(shop: Shop, within: Any) -> None:
    other = Shop(Registry())
    shop.arm("acharge", latency="10s")
    other.arm("aship", latency="20ms")

    async def main() -> None:
        began = time.monotonic()
        await asyncio.gather(shop.acharge(), other.aship())
        assert time.monotonic() - began >= 0.02

    within(lambda: around_run(main, shop.registry))
    other.registry.disarm()
    other.registry.engine.housekeeper.stop()


def test_the_time_of_a_loop_never_goes_back(shop: Shop, within: Any) -> None:
    shop.arm("acharge", latency="100s")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        times = [loop.time()]
        with skipping(shop.registry):
            await shop.acharge()
            times.append(loop.time())
            late = asyncio.ensure_future(asyncio.sleep(0.01, "late"))
            await tick()
        times.append(loop.time())
        assert await late == "late"  # in real time
        with skipping(shop.registry):
            times.append(loop.time())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(30):
                    await shop.acharge()
            times.append(loop.time())
        assert times == sorted(times)
        assert [one - times[0] for one in times[1:]] == [*map(about, [100, 100, 100, 130])]

    within(lambda: asyncio.run(main()))


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_time_that_somebody_else_gave_all_loops_is_left_to_him(
    shop: Shop, within: Any, monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    """Also if other code restores chaospoint's method after the block, or keeps using it."""
    shop.arm("acharge", latency="30s")

    async def main() -> None:
        assert await shop.acharge() == "charged"

    async def outside() -> None:
        await tick()
        assert "time" not in vars(asyncio.get_running_loop())

    with monkeypatch.context() as patched:
        with skipping(shop.registry):
            ours = BaseEventLoop.time
            theirs = (lambda loop: ours(loop)) if wrapped else ours
            patched.setattr(BaseEventLoop, "time", theirs)
        if not wrapped:
            patched.undo()
        assert BaseEventLoop.time is theirs
        within(lambda: asyncio.run(outside()))
        clock = within(lambda: around_run(main, shop.registry))
        assert clock.skipped == pytest.approx(30, abs=QUICK)
        if wrapped:
            assert BaseEventLoop.time is theirs
    if wrapped:
        with skipping(shop.registry):
            pass


def test_a_loop_for_which_nothing_was_skipped_has_its_own_time_again(shop: Shop) -> None:
    async def main() -> None:
        with skipping(shop.registry):
            assert "time" in vars(asyncio.get_running_loop())
        assert "time" not in vars(asyncio.get_running_loop())

    asyncio.run(main())


@pytest.mark.usefixtures("slow")
def test_waits_with_a_bound_end_with_the_block(shop: Shop, pool: Threads) -> None:
    shop.arm("charge", latency="30s")
    shop.arm("acharge", latency="60s")
    hung = shop.arm("aship", hang=True)
    with skipping(shop.registry) as clock:
        jobs = [pool.submit(shop.charge), pool.submit(asyncio.run, shop.acharge())]
        kept = pool.submit(asyncio.run, shop.aship())
        until(lambda: len(clock.waiting) == 3)
    assert [job.result(PATIENCE) for job in jobs] == ["charged", "charged"]
    assert clock.skipped == 0.0
    assert not kept.done()
    hung.disarm()
    assert kept.result(PATIENCE) == "shipped"


def test_without_a_thread_a_wait_ends_in_real_time(
    shop: Shop, within: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Thread(OwnThread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pacer, "OwnThread", Thread)
    shop.arm("charge", latency="20ms")
    shop.arm("acharge", latency="20ms")
    with skipping(shop.registry) as clock:
        assert within(shop.charge) == "charged"
        assert within(lambda: asyncio.run(shop.acharge())) == "charged"
    assert clock.skipped == 0.0


def test_a_clock_that_stands_still_can_be_skipped_too(still: Registry, clock: FakeClock) -> None:
    shop = Shop(still)
    shop.arm("charge", latency="30s", expires_after=60)
    with skipping(still) as skipped:
        assert shop.charge() == "charged"
        assert skipped.monotonic() == pytest.approx(30, abs=0.01)
    assert still.engine.clock is clock


def test_a_forked_child_skips_as_well() -> None:
    """The child has no thread of chaospoint and no waits of other threads, and holds no lock."""
    python(
        """
        import asyncio, os, threading, warnings
        from chaospoint import Registry, arm
        from chaospoint.testing.clocks.skipping import skipping

        warnings.simplefilter("ignore")
        registry = Registry()

        @registry.point("charge")
        def charge():
            return "charged"

        @registry.point("hung")
        def hung():
            pass

        arm("charge", latency="30s", registry=registry)
        arm("hung", hang=True, registry=registry)
        with skipping(registry) as clock:
            threading.Thread(target=hung, daemon=True).start()
            charge()
            while None not in clock.waiting:
                pass
            for _ in range(5):
                child = os.fork()
                if not child:
                    try:
                        assert clock.waiting == ()
                        charge()
                        async def main():
                            try:
                                async with asyncio.timeout(5):
                                    await asyncio.to_thread(charge)
                            except TimeoutError:
                                return
                            assert False
                        asyncio.run(main())
                        assert clock.waits[-2:] == (30.0, 30.0)
                    except BaseException:
                        import traceback
                        traceback.print_exc()
                        os._exit(1)
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
                charge()
        registry.disarm()
        """
    )


def test_the_time_of_loops_that_freezegun_has_frozen_once_is_skipped_as_well() -> None:
    """It sets the method it found on the type of the loop, where it hides that of the base."""
    with freezegun.freeze_time("2026-01-01", real_asyncio=True):
        pass
    loop = asyncio.new_event_loop()
    loop.close()
    assert "time" in vars(type(loop))
    with skipping(Registry()):
        assert type(loop).time is BaseEventLoop.time
