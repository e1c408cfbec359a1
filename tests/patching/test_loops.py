"""Waits in tasks go by the time of their loop, whatever loop it is; others are left out."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from helpers import PLACES, Witness, afinish, place

import chaospoint
from chaospoint import Registry
from chaospoint._kernel import reporting
from chaospoint._kernel.clock import monotonic

ASYNC = [name for name in PLACES if "async" in name or name == "coroutine"]
PATIENCE = 10.0


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time jumps to its next timer whenever nothing is ready."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0].cancelled():
            heapq.heappop(timers)._scheduled = False  # type: ignore[attr-defined]
        if timers and not self._ready:  # type: ignore[attr-defined]
            self._now = max(self._now, timers[0].when())
        super()._run_once()  # type: ignore[misc]


class OwnLoop(asyncio.AbstractEventLoop):
    """A simulator's loop that shares nothing with asyncio's own."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers.append(timer)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._timers = [timer for timer in self._timers if timer is not handle]

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **keys: Any) -> Any:
        return asyncio.Task(coro, loop=self, **keys)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        raise AssertionError(context)

    def run_until_complete(self, future: Any) -> Any:
        task = self.create_task(future)
        asyncio._set_running_loop(self)
        try:
            while not task.done():
                if not self._ready:
                    first = min(self._timers, key=asyncio.TimerHandle.when)
                    self._timers.remove(first)
                    self._now = max(self._now, first.when())
                    self._ready.append(first)
                self._ready.popleft()._run()
        finally:
            asyncio._set_running_loop(None)
        return task.result()

    def close(self) -> None:
        """Hold nothing."""


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "virtual": VirtualLoop,
    "own": OwnLoop,
}


def on(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a loop, and close that."""
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("name", ASYNC)
def test_a_wait_goes_by_the_time_of_its_loop(kind: str, name: str) -> None:
    """An hour passes in the simulation, and none of it outside."""
    registry, loop = Registry(), LOOPS[kind]()
    call = place(registry.point("p"), name)
    chaospoint.arm("p", latency=3600, registry=registry)
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            ticks.append(loop.time())
            await asyncio.sleep(600)

    async def main() -> None:
        ticking = asyncio.ensure_future(tick())
        assert await afinish(call()) == 7
        ticking.cancel()
        await asyncio.wait([ticking])

    began, before = monotonic(), loop.time()
    on(loop, main())
    assert monotonic() - began < PATIENCE
    assert loop.time() - before == 3600
    assert 6 <= len(ticks) <= 7  # others ran meanwhile, by the same time
    registry.disarm()


@pytest.mark.parametrize("kind", LOOPS)
def test_hangs_and_timeouts_of_a_simulation(kind: str) -> None:
    registry, loop = Registry(), LOOPS[kind]()
    call = place(registry.point("p"), "coroutine")

    async def main() -> None:
        with chaospoint.armed("p", hang="2h", registry=registry):
            before = loop.time()
            with pytest.raises(TimeoutError):
                await call()
            assert loop.time() - before == 7200
        with chaospoint.armed("p", hang=True, registry=registry) as armed:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call(), 60)
            loop.call_later(900, armed.disarm)
            before = loop.time()
            assert await call() == 7
            assert (loop.time() - before, armed.interrupted) == (900, 1)

    on(loop, main())


def test_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")
    registry = Registry()
    calls = [place(registry.point("p"), name) for name in ASYNC]

    async def main() -> None:
        began = monotonic()
        with chaospoint.armed("p", latency=0.05, registry=registry) as armed:
            jobs = [asyncio.ensure_future(afinish(call())) for call in calls]
            assert await asyncio.gather(*jobs) == [7] * len(calls)
            assert armed.injections == len(calls)
        assert 0.04 < monotonic() - began < PATIENCE
        with chaospoint.armed("p", hang=True, registry=registry) as armed:
            asyncio.get_running_loop().call_later(0.01, armed.disarm)
            assert await afinish(calls[0]()) == 7
            assert armed.interrupted == 1

    on(uvloop.new_event_loop(), main())


# -- loops that are not asyncio's ---------------------------------------------------------


@pytest.mark.parametrize("name", ASYNC)
def test_under_trio_waits_are_left_out_and_not_counted(
    name: str, expected_bugs: list[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    trio = pytest.importorskip("trio")
    registry, witness = Registry(), Witness()
    registry.add_observer(witness)
    call = place(registry.point("p"), name)

    async def main() -> None:
        for fault in ({"latency": 1}, {"hang": True}, {"hang": 1}, {"faults": [{"kind": "pause"}]}):
            with chaospoint.armed("p", registry=registry, max_active=1, **fault) as armed:
                for _ in range(2):
                    assert await afinish(call()) == 7
                assert (armed.injections, armed.interrupted, armed.reaches) == (0, 0, 2)
        with chaospoint.armed("p", registry=registry, latency=1, exception=KeyError) as armed:
            with pytest.raises(KeyError):
                await afinish(call())
            assert armed.injections == 1

    trio.run(main)
    assert [(seen.fault, seen.latency) for seen in witness.injections] == [("exception", None)]
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "run the code under asyncio, or arm an exception" in said
    assert len(expected_bugs) == 0
    assert {type(bug) for bug in reporting.bugs} == {RuntimeError}
