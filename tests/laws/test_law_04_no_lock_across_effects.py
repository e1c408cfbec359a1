"""Law 4. No lock is held across an effect or a foreign callback; disarming wakes all at once."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from helpers import PATIENCE, Boom, Threads, afinish, finish, place, places, run, tick

from chaospoint import Injection, Registry, arm, disable, disarm
from chaospoint._kernel.chance import Draws, Schedule
from chaospoint._kernel.compiled_rule import CompiledRule
from chaospoint._kernel.effects import Effect, Raise
from chaospoint._kernel.lock import arming_lock
from chaospoint.testing import FakeClock

ENDLESS = [{"latency": 30}, {"hang": True}, {"hang": 30}]
SYNCHRONOUS = ("function", "generator", "method", "block", "statement", "wrapped")


def _is_free(pool: Threads) -> bool:
    """Whether another thread gets the one lock of the kernel meanwhile."""

    def take() -> bool:
        got = arming_lock.acquire(timeout=1)  # the keeper may have it for a moment
        if got:
            arming_lock.release()
        return got

    return pool.submit(take).result(PATIENCE)


@pytest.mark.parametrize("name", SYNCHRONOUS)
@pytest.mark.parametrize("keys", ENDLESS, ids=str)
def test_law_04_no_lock_is_held_across_an_effect(
    name: str, keys: dict[str, Any], still: Registry, clock: FakeClock, pool: Threads
) -> None:
    """While one call sleeps, others sleep beside it, and whoever wants to arm or disarm can."""
    call = place(still.point("db.query"), name)
    handle = arm("db.query", **keys, registry=still)
    sleepers = [pool.submit(lambda: finish(call())) for _ in range(8)]
    seconds = None if keys == {"hang": True} else 30
    clock.until_waiting(seconds, count=8)
    assert _is_free(pool)
    with arming_lock:  # and nobody who wakes needs it
        handle_of_another = arm("db.other*", latency=1, registry=_with_point(still, "db.others"))
    handle_of_another.disarm()
    handle.disarm()
    assert [sleeper.result(PATIENCE) for sleeper in sleepers] == [7] * 8
    assert handle.interrupted == handle.injections == 8


def _with_point(registry: Registry, name: str) -> Registry:
    registry.point(name)
    return registry


class _Nosy:
    """An observer that looks, at whatever it is told of, whether a lock is held."""

    def __init__(self, pool: Threads) -> None:
        self._pool = pool
        self.told: list[tuple[str, bool]] = []

    def observe(self, injection: Injection) -> None:
        self._note(injection)

    def notice(self, notice: object) -> None:
        self._note(notice)

    def _note(self, what: object) -> None:
        self.told.append((type(what).__name__, _is_free(self._pool)))


def test_law_04_no_lock_is_held_across_a_foreign_callback(
    still: Registry, clock: FakeClock, pool: Threads
) -> None:
    """Observers are told of everything that can happen with no lock held."""
    nosy = _Nosy(pool)
    still.add_observer(nosy)
    point = still.point("db.query")
    arm("db.query", latency=0, registry=still)
    point.hit()
    still.flush()
    disarm(registry=still)
    env = CompiledRule("db.query", "one", (_Builds(),), Schedule(1), expires_after=5)
    still.replace([env], source="env")
    still.replace([env, env], source="env")
    still.replace([env], source="env")
    disable(registry=still)
    still.enable()
    http = still.replace([env], source="http")
    still.replace([env._replace(key="again")], source="http")
    clock.advance(5)
    still.engine.expire()
    assert http.rules[0].why == "replaced"
    told = {name for name, _ in nosy.told}
    assert told == {"Injection", "Reached", "RuleArmed", "RuleDisarmed", "StateChanged", "Switched"}
    assert [name for name, free in nosy.told if not free] == []


class _Builds:
    """A fault whose exception is built by a function of the user's."""

    kind = "exception"

    def __init__(self, build: Callable[[], BaseException] = Boom) -> None:
        self._build = build

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        return (Raise(self._build, "Boom"),)


def test_law_04_no_lock_is_held_while_a_class_is_looked_up_or_built(
    registry: Registry, pool: Threads
) -> None:
    """Importing a module and building an exception are foreign code too."""
    free: list[bool] = []

    def build() -> BaseException:
        free.append(_is_free(pool))
        return Boom()

    def resolve() -> tuple[_Builds, ...]:
        free.append(_is_free(pool))
        return (_Builds(build),)

    point = registry.point("db.query")
    terms = CompiledRule("db.query", "one", (_Builds(),), Schedule(1), resolve=resolve)
    registry.install([terms], source="env")
    with pytest.raises(Boom):
        point.hit()
    assert free == [True, True]


class _Wakes:
    """Times how long sleepers take to come back once woken; beside them, some of Python's own."""

    def __init__(self, call: Callable[[], Any], registry: Registry, keys: dict[str, Any]) -> None:
        self.call = call
        self.arm = lambda: arm("bank.charge", **keys, registry=registry)
        self.seconds: list[float] = []
        self.plain: list[float] = []

    def in_a_thread(self, pool: Threads) -> None:
        waits, woken = threading.Event(), threading.Event()
        plain = pool.submit(lambda: (waits.set(), woken.wait(PATIENCE), time.monotonic())[2])
        assert waits.wait(PATIENCE)
        before = time.monotonic()
        woken.set()
        self.plain.append(plain.result(PATIENCE) - before)

        handle = self.arm()
        sleeper: Future[float] = pool.submit(lambda: (finish(self.call()), time.monotonic())[1])
        handle.wait_for(timeout=PATIENCE)
        before = time.monotonic()
        handle.disarm()
        self.seconds.append(sleeper.result(PATIENCE) - before)
        assert handle.interrupted == 1

    async def in_a_task(self) -> None:
        woken = asyncio.Event()
        plain = asyncio.ensure_future(woken.wait())
        await tick()
        before = time.monotonic()
        woken.set()
        await plain
        self.plain.append(time.monotonic() - before)

        handle = self.arm()
        sleeper = asyncio.ensure_future(afinish(self.call()))
        await handle.await_for(timeout=PATIENCE)
        await tick()
        before = time.monotonic()
        handle.disarm()
        assert await sleeper == 7
        self.seconds.append(time.monotonic() - before)
        assert handle.interrupted == 1


@pytest.mark.parametrize("keys", ENDLESS, ids=str)
@pytest.mark.parametrize("name", ["function", "coroutine"])
def test_law_04_disarming_wakes_at_once(
    name: str, keys: dict[str, Any], registry: Registry, pool: Threads
) -> None:
    """A latency of 30 s and a hang end within 10 ms of disarming: the median of 20.

    Where the machine does other things, too, what it takes Python's own waits is allowed thrice.
    """
    wakes = _Wakes(place(registry.point("bank.charge"), name), registry, keys)

    async def twenty() -> None:
        for _ in range(20):
            await wakes.in_a_task()

    if name == "coroutine":
        run(twenty())
    else:
        for _ in range(20):
            wakes.in_a_thread(pool)
    assert len(wakes.seconds) == 20
    assert statistics.median(wakes.seconds) < 0.010 + 3 * statistics.median(wakes.plain)


@pytest.mark.parametrize("keys", ENDLESS, ids=str)
@pytest.mark.parametrize("way", ["handle", "pattern", "part of a glob", "disable", "expiry"])
def test_law_04_every_way_to_end_wakes_threads_and_tasks(
    way: str, keys: dict[str, Any], still: Registry, clock: FakeClock, pool: Threads
) -> None:
    """Whatever ends a rule, its sleepers come back: the call goes through, counted as woken."""
    calls = places(still.point("bank.charge"))
    if keys != {"hang": True}:
        keys = dict.fromkeys(keys, 60)  # longer than the expiry
    handle = arm("bank.*", **keys, expires_after=30, registry=still)
    ends: dict[str, Callable[[], object]] = {
        "handle": handle.disarm,
        "pattern": lambda: disarm("*", registry=still),
        "part of a glob": lambda: disarm("bank.charge", registry=still),
        "disable": lambda: disable(registry=still),
        "expiry": lambda: clock.advance(30),
    }
    sleeping = None if keys == {"hang": True} else 60
    threads = [pool.submit(calls["function"]) for _ in range(3)]
    clock.until_waiting(sleeping, count=3)

    async def main() -> list[Any]:
        tasks = [asyncio.ensure_future(calls["coroutine"]()) for _ in range(3)]
        while handle.injections < 6:
            await tick()
        ends[way]()
        return await asyncio.gather(*tasks)

    assert run(main()) == [7] * 3
    assert [thread.result(PATIENCE) for thread in threads] == [7] * 3
    assert handle.interrupted == 6


def test_law_04_disarming_never_waits_for_a_sleeper(still: Registry) -> None:
    """A sleeper that cannot come back, because its loop is busy, holds nobody up."""
    coroutine = place(still.point("bank.charge"), "coroutine")
    handle = arm("bank.charge", hang=True, registry=still)

    async def main() -> None:
        task = asyncio.ensure_future(coroutine())
        while handle.injections < 1:
            await tick()
        handle.disarm()  # on the loop's own thread, so the task cannot run before this returns
        assert not task.done()
        assert await task == 7

    run(main())


def test_law_04_disarming_gets_past_a_sleeper_whose_loop_is_closed(
    still: Registry, clock: FakeClock, pool: Threads
) -> None:
    """A loop that was closed under its task keeps neither disarming nor other sleepers back."""
    calls = places(still.point("bank.charge"))
    handle = arm("bank.charge", hang=True, registry=still)
    loop = asyncio.new_event_loop()
    abandoned = loop.create_task(calls["coroutine"]())
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    sleeper = pool.submit(calls["function"])
    clock.until_waiting(None, count=2)
    handle.disarm()
    assert sleeper.result(PATIENCE) == 7
    abandoned._log_destroy_pending = False  # type: ignore[attr-defined]
    abandoned.get_coro().close()  # type: ignore[union-attr]


def test_law_04_taking_one_point_out_of_a_glob_wakes_each_of_many_sleepers_once(
    registry: Registry, pool: Threads
) -> None:
    """Those at other points sleep on, and do not keep who disarms busy by coming back."""
    registry.point("db.other")
    point = registry.point("db.query")
    handle = arm("db.*", hang=True, registry=registry)
    (rule,) = handle.rules
    sleepers = [pool.submit(point.hit) for _ in range(50)]
    handle.wait_for(injections=50, timeout=PATIENCE)
    calls = 0

    def come_back() -> None:
        nonlocal calls
        calls += 1
        rule.sleepers.add(come_back)
        assert calls < 100, "disarming is kept busy"

    rule.sleepers.add(come_back)
    assert disarm("db.other", registry=registry) == 1
    assert calls == 1
    assert not any(sleeper.done() for sleeper in sleepers)
    handle.disarm()
    for sleeper in sleepers:
        sleeper.result(PATIENCE)


@pytest.mark.parametrize("which", ["label", "function", "callable"])
def test_law_04_no_lock_is_held_while_values_are_compared_or_signatures_read(
    still: Registry, which: str
) -> None:
    """Comparing labels and showing a signature may run foreign code, and that may arm."""
    still.point("other")
    stuck: list[bool] = []

    def arm_elsewhere() -> None:
        thread = threading.Thread(
            target=lambda: arm("other", latency=0, registry=still), daemon=True
        )
        thread.start()
        thread.join(2)
        stuck.append(thread.is_alive())

    class Label:
        def __eq__(self, other: object) -> bool:
            arm_elsewhere()
            return False

        __hash__ = object.__hash__

    class Callee:
        @property
        def __signature__(self) -> object:
            arm_elsewhere()
            raise AttributeError

        def __call__(self, to: str = "") -> int:
            return 7

    def function(*args: object, **keys: object) -> int:
        return 7

    function.__wrapped__ = Callee()  # type: ignore[attr-defined]
    target = {"label": function, "function": function, "callable": Callee()}[which]
    if which == "label":
        del function.__wrapped__  # type: ignore[attr-defined]
        placed = still.point("bank.charge", labels={"to": Label()})(target)
    else:
        placed = still.point("bank.charge")(target)
    handle = arm("bank.charge", latency=0, where={"to": "db"}, registry=still)
    assert placed() == 7  # type: ignore[operator]
    assert handle.injections == 0
    handle.disarm()
    assert stuck
    assert not any(stuck)
