"""Calls that are held, and their release."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from threading import Thread, Timer
from typing import Any

import pytest
from shop import charge, read, refund, write

import chaospoint
from chaospoint.errors import UnknownPoint
from chaospoint.testing import Chaos

expected = pytest.mark.expected


class Call(Thread):
    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.result: Any = "none yet"
        self.start()

    def run(self) -> None:
        self.result = self._call()

    def end(self) -> Any:
        self.join(10)
        assert not self.is_alive()
        return self.result


def test_pause_and_release(chaos: Chaos) -> None:
    chaos.pause("payment.charge")
    calls = [Call(lambda n=n: charge(n)) for n in range(3)]
    chaos.wait_until_paused("payment.charge", calls=3)
    assert {call.result for call in calls} == {"none yet"}
    assert chaos.release("payment.charge") == 3
    assert [call.end() for call in calls] == [0, 1, 2]


def test_pause_and_release_in_tasks(chaos: Chaos) -> None:
    async def main() -> list[int]:
        chaos.pause("payment.*", times=2)
        tasks = [asyncio.ensure_future(refund(n)) for n in range(2)]
        await chaos.await_until_paused("payment.refund", calls=2)
        assert not any(task.done() for task in tasks)
        assert chaos.release() == 2
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [0, 1]


leaked: list[Call] = []


@expected("failed", "a call of payment.charge is still paused", "release paused calls")
def test_still_paused(chaos: Chaos) -> None:
    chaos.pause("payment.charge")
    leaked.append(Call(charge))
    chaos.wait_until_paused("payment.charge")


@expected("failed", "2 calls of payment.charge are still paused")
def test_two_still_paused(chaos: Chaos) -> None:
    chaos.pause("payment.charge")
    leaked.extend(Call(charge) for _ in range(2))
    chaos.wait_until_paused("payment.charge", calls=2)


def test_what_was_still_paused_went_on() -> None:
    assert [call.end() for call in leaked] == [1] * len(leaked)


@expected("failed", "payment.charge was paused", "not released within 0.05 s")
def test_nobody_releases(chaos: Chaos) -> None:
    chaos.pause("payment.charge", timeout=0.05)
    assert charge(4) == 4


@expected("failed", "payment.refund was paused", "not released within 0.05 s")
def test_nobody_releases_a_task(chaos: Chaos) -> None:
    chaos.pause("payment.refund", timeout=0.05)
    assert asyncio.run(refund(4)) == 4


@expected("failed", "never fired", "never reached")
def test_pause_never_reached(chaos: Chaos) -> None:
    chaos.pause("payment.charge")


@expected("failed", "TimeoutError: waited 0.05 s for 1 paused call of payment.charge=pause")
def test_nobody_comes(chaos: Chaos) -> None:
    chaos.pause("payment.charge")
    chaos.wait_until_paused("payment.charge", timeout=0.05)


@expected("failed", "TimeoutError: waited 0.05 s for 2 paused calls of payment.refund=pause")
def test_too_few_tasks_come(chaos: Chaos) -> None:
    async def main() -> None:
        chaos.pause("payment.refund")
        task = asyncio.ensure_future(refund())
        try:
            await chaos.await_until_paused("payment.refund", calls=2, timeout=0.05)
        finally:
            chaos.release()
            await task

    asyncio.run(main())


def test_misuse(chaos: Chaos) -> None:
    assert chaos.release("payment.charge") == 0
    with pytest.raises(chaospoint.ChaosError, match="nothing pauses at"):
        chaos.wait_until_paused("payment.charge")
    with pytest.raises(chaospoint.ChaosError, match="is a glob"):
        chaos.hold("stock.*", until="stock.write")
    with pytest.raises(chaospoint.ChaosError, match="is a glob"):
        chaos.hold("stock.read", until="stock.*")
    with pytest.raises(chaospoint.ChaosError, match="does not take 'faults'"):
        chaos.pause("payment.charge", faults=[{"kind": "latency", "seconds": 1}])
    with pytest.raises(chaospoint.ChaosError, match="does not take 'latency'"):
        chaos.pause("payment.charge", latency="1s")
    with pytest.raises(chaospoint.ChaosError, match="does not take 'expires_after'"):
        chaos.pause("payment.charge", expires_after=1)
    with pytest.raises(chaospoint.ChaosError, match="cannot wait for itself"):
        chaos.hold("stock.read", until="stock.read")
    with pytest.raises(UnknownPoint, match=r"payment\.charge"):
        chaos.release("payment.chrage")
    with pytest.raises(UnknownPoint, match=r"payment\.charge"):
        chaos.disarm("payment.chrage")
    assert not chaospoint.Registry.default().rules()


@expected("failed", "stock.read should wait for stock.write", "another rule fired there")
def test_another_rule_lets_by_who_was_to_wait(chaos: Chaos) -> None:
    chaos.hold("stock.read", until="stock.write")
    chaos.arm("stock.read", latency=0)
    read()
    write()


@expected("failed", "chaos.armed('stock.read', ...) was never entered", "fake_clock()")
def test_blocks_that_nobody_enters(chaos: Chaos) -> None:
    chaos.armed("stock.read", returns=4)
    chaos.fake_clock()
    assert read() == 1


def test_a_block_may_be_entered_again(chaos: Chaos) -> None:
    four = chaos.armed("stock.read", returns=4)
    for _ in range(2):
        with four as armed:
            assert read() == 4
        assert armed.injections == 1
    with pytest.raises(chaospoint.ChaosError):
        chaos.armed("stock.read", latency="fast")


def test_a_limit_counts_from_the_pause(chaos: Chaos) -> None:
    """Without a held call there is no timeout."""
    others = threading.enumerate()  # one of an earlier test may be about to end

    def limits() -> int:
        timers = (thread for thread in threading.enumerate() if isinstance(thread, Timer))
        return sum(not timer.finished.is_set() for timer in timers if timer not in others)

    chaos.pause("stock.read", timeout=60)
    assert limits() == 0
    first = Call(read)
    chaos.wait_until_paused("stock.read")
    for _ in range(1000):  # the paused call starts it, on its own thread
        if limits():
            break
        threading.Event().wait(0.01)
    assert limits() == 1
    chaos.release("stock.read")
    assert first.end() == 1


def test_several_wait_for_another(chaos: Chaos) -> None:
    chaos.hold("stock.read", until="stock.write")
    readers = [Call(read) for _ in range(3)]
    chaos.wait_until_paused("stock.read", calls=3)
    assert {reader.result for reader in readers} == {"none yet"}
    assert write(5) == 5
    assert [reader.end() for reader in readers] == [1, 1, 1]


def test_who_is_waited_for_came_first(chaos: Chaos) -> None:
    chaos.hold("stock.read", until="stock.write")
    assert write() == read() == 1


def test_tasks_wait_for_each_other(chaos: Chaos) -> None:
    async def main() -> list[str]:
        chaos.hold("payment.refund", until="stock.write")
        order = []

        async def waits() -> None:
            await refund()
            order.append("refund")

        async def goes() -> None:
            await chaos.await_until_paused("payment.refund")
            order.append("write")
            write()

        await asyncio.gather(waits(), goes())
        return order

    assert asyncio.run(main()) == ["write", "refund"]


@expected("failed", "a call of stock.read waited 0.05 s for stock.write, which was not reached")
def test_who_is_waited_for_never_comes(chaos: Chaos) -> None:
    chaos.hold("stock.read", until="stock.write", timeout=0.05)
    assert read(3) == 3


@expected("failed", "stock.read should wait for stock.write", "'stock.read' was never reached")
def test_who_was_to_wait_never_comes(chaos: Chaos) -> None:
    chaos.hold("stock.read", until="stock.write")
    write()


def test_neighbour() -> None:
    assert read() == 1
