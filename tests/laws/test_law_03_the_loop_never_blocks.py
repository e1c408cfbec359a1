"""Law 3. Latency in a coroutine never blocks the loop."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from helpers import PATIENCE, afinish, place, run, tick

from chaospoint import Registry, arm
from chaospoint.testing import FakeClock

ASYNCHRONOUS = ("coroutine", "async_method", "async_generator", "async_block", "async_statement")


async def _beside(call: Callable[[], Awaitable[Any]]) -> tuple[int, float]:
    """Count the ticks of another task while ``call`` runs; return them and the longest gap."""
    loop = asyncio.get_running_loop()
    gaps: list[float] = []

    async def other() -> None:
        before = loop.time()
        while True:
            await tick(0.001)
            now = loop.time()
            gaps.append(now - before)
            before = now

    task = asyncio.ensure_future(other())
    await tick()
    await call()
    task.cancel()
    return len(gaps), max(gaps, default=1.0)


@pytest.mark.parametrize("name", ASYNCHRONOUS)
def test_law_03_latency_in_a_coroutine_never_blocks_the_loop(name: str, registry: Registry) -> None:
    """During 50 ms of latency another task ticks 10 times, and never waits 25 ms: medians of 11.

    Where the machine does other things, too, the gaps beside `asyncio.sleep` are allowed thrice.
    """
    call = place(registry.point("bank.charge"), name)
    handle = arm("bank.charge", latency="50ms", registry=registry)
    plain: list[tuple[int, float]] = []
    delayed: list[tuple[int, float]] = []
    for _ in range(11):
        plain.append(run(_beside(lambda: asyncio.sleep(0.05))))
        delayed.append(run(_beside(lambda: afinish(call()))))
    assert handle.injections == 11
    ticks, longest = map(statistics.median, zip(*delayed, strict=True))
    plain_ticks, plain_longest = map(statistics.median, zip(*plain, strict=True))
    assert ticks >= min(10, plain_ticks / 3)
    assert longest < 0.025 + 3 * plain_longest


@pytest.mark.parametrize("name", ASYNCHRONOUS)
@pytest.mark.parametrize("keys", [{"latency": 30}, {"hang": True}, {"hang": 30}], ids=str)
def test_law_03_a_delayed_task_waits_on_its_loop(
    name: str, keys: dict[str, Any], still: Registry, clock: FakeClock
) -> None:
    """A hundred tasks are delayed at once, and all by one thread that goes on turning."""
    call = place(still.point("bank.charge"), name)
    handle = arm("bank.charge", **keys, registry=still)

    async def main() -> None:
        tasks = [asyncio.ensure_future(afinish(call())) for _ in range(100)]
        while handle.injections < 100:
            await tick()
        assert not any(task.done() for task in tasks)
        handle.disarm()
        assert await asyncio.gather(*tasks) == [7] * 100

    run(main())


def test_law_03_a_plain_block_on_a_loop_waits_and_says_which_form_to_use(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """`with` and `hit` on a thread that runs a loop cannot but block it; it is said, once."""
    point = registry.point("db.query-on-a-loop")
    handle = arm("db.query-on-a-loop", latency="1ms", registry=registry)

    async def main() -> None:
        for _ in range(3):
            point.hit()
            with point:
                pass

    run(main())
    said = [record for record in caplog.messages if "event loop" in record]
    assert len(said) == 1
    assert "'db.query-on-a-loop'" in said[0]
    assert "ahit" in said[0]
    assert handle.injections == 6


def test_law_03_without_a_loop_nothing_is_logged(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread without a loop may be delayed by whatever form it likes."""
    point = registry.point("db.query")
    arm("db.query", latency="1ms", registry=registry)
    point.hit()
    assert "event loop" not in caplog.text


def _without_asyncio(made: Awaitable[Any]) -> Any:
    steps = made.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


def test_law_03_under_another_loop_the_call_goes_through(
    registry: Registry, expected_bugs: list[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Where asyncio does not run, there is one clear error and no delay."""
    call = place(registry.point("bank.charge"), "coroutine")
    arm("bank.charge", latency=PATIENCE, registry=registry)
    assert _without_asyncio(call()) == 7
    assert _without_asyncio(call()) == 7
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "act only in tasks of asyncio's event loop" in errors[0]
