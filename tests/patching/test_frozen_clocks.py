"""Waits that chaospoint injects last as long as asked while a test library freezes time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from helpers import PLACES, afinish, finish, place, python

import chaospoint
from chaospoint import Registry
from chaospoint._kernel.clock import monotonic

freezegun = pytest.importorskip("freezegun")
time_machine = pytest.importorskip("time_machine")

FREEZERS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "freezegun": lambda: freezegun.freeze_time("2026-01-01"),
    "freezegun with a tick": lambda: freezegun.freeze_time("2026-01-01", tick=True),
    "freezegun with real asyncio": lambda: freezegun.freeze_time("2026-01-01", real_asyncio=True),
    "freezegun in the past": lambda: freezegun.freeze_time("1970-01-01"),
    "time-machine": lambda: time_machine.travel(0, tick=False),
    "time-machine with a tick": lambda: time_machine.travel(0, tick=True),
}
SECONDS = 0.02
PATIENCE = 10.0


def taken(call: Callable[[], object]) -> float:
    """Return the real seconds that a call takes."""
    began = monotonic()
    call()
    return monotonic() - began


@pytest.mark.parametrize("freezer", FREEZERS)
@pytest.mark.parametrize("kind", ["latency", "hang"])
def test_a_wait_lasts_as_long_as_asked(freezer: str, kind: str) -> None:
    registry = Registry()
    fault: dict[str, Any] = {kind: SECONDS}
    calls = {name: place(registry.point("p"), name) for name in PLACES}
    with FREEZERS[freezer](), chaospoint.armed("p", registry=registry, **fault) as armed:
        for number, call in enumerate(calls.values(), 1):
            ended = pytest.raises(TimeoutError) if kind == "hang" else None

            def act(call: Callable[[], Any] = call, ended: Any = ended) -> None:
                if ended is None:
                    assert finish(call()) == 7
                else:
                    with ended:
                        finish(call())

            assert SECONDS * 0.9 <= taken(act) < PATIENCE
            assert (armed.injections, armed.interrupted) == (number, 0)


@pytest.mark.parametrize("freezer", [one for one in FREEZERS if "past" not in one])
def test_time_that_is_frozen_and_released_in_the_middle_of_a_wait(freezer: str) -> None:
    registry = Registry()
    call = place(registry.point("p"), "coroutine")

    async def main() -> None:
        with chaospoint.armed("p", registry=registry, latency=SECONDS) as armed:
            with FREEZERS[freezer]():
                first = asyncio.ensure_future(afinish(call()))
                await armed.await_for(injections=1)
            second = asyncio.ensure_future(afinish(call()))
            await armed.await_for(injections=2)
            with FREEZERS[freezer]():
                assert await first == await second == 7
            assert armed.interrupted == 0

    assert SECONDS * 0.9 <= taken(lambda: asyncio.run(main())) < PATIENCE


@pytest.mark.parametrize("freezer", FREEZERS)
def test_deadlines_are_met_and_waiting_for_counts_ends(freezer: str) -> None:
    registry = Registry()
    call = place(registry.point("p"), "function")
    with FREEZERS[freezer]():
        armed = chaospoint.arm("p", hang=True, expires_after=0.5, registry=registry)
        assert call() == 7
        assert armed.interrupted == 1
        with pytest.raises(TimeoutError, match="expired with 1 injection"):
            armed.wait_for(injections=2)
        armed = chaospoint.arm("p", hang=True, registry=registry)
        with pytest.raises(TimeoutError, match=r"waited 0\.01 s for 1 injection"):
            armed.wait_for(timeout=0.01)
        with pytest.raises(TimeoutError, match=r"waited 0\.01 s for 1 injection"):
            asyncio.run(armed.await_for(timeout=0.01))
        armed.disarm()


@pytest.mark.parametrize("first", ["freezegun", "chaospoint"])
def test_whichever_is_imported_first(first: str) -> None:
    """Also when chaospoint is imported while time stands still."""
    said = python(
        f"""
import time
real = [time.monotonic]  # freezegun looks for the function itself
import {first}
import freezegun
with freezegun.freeze_time("2026-01-01"):
    import chaospoint
    @chaospoint.point("bank.charge")
    def charge():
        return "paid"
    with chaospoint.armed("bank.charge", latency="20ms") as armed:
        began = real[0]()
        print(charge(), armed.injections, 0.018 <= real[0]() - began < 10)
""",
        "-W",
        "ignore",
    )
    assert said.stdout.split() == ["paid", "1", "True"]


def test_this_freezes_time() -> None:
    with FREEZERS["freezegun"]():
        assert time.monotonic() == time.monotonic() > 1e9
