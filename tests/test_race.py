"""Races over one thing, many times over, with threads switched all the time.

Nobody who calls, arms or expires in the middle of another's doing loses anything by it.
`test_soak` has everything at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import PATIENCE, Boom, code_of, place, some_or_all

from chaospoint import Registry, arm

pytestmark = pytest.mark.usefixtures("restless")


@pytest.fixture(autouse=True)
def _without_a_log() -> Iterator[None]:
    log = logging.getLogger("chaospoint")
    before = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(before)


@some_or_all("rounds", 60, 200)
def test_a_race_over_one_name_loses_no_exception(rounds: int, pool: Any) -> None:
    """Arming, disarming and calling one function: each armed rule fires exactly as often as due."""
    registry = Registry()
    call = place(registry.point("bank.charge"), "function")
    own = code_of(call)
    stop = threading.Event()

    def calling() -> int:
        count = 0
        while not stop.is_set():
            try:
                assert call() == 7
            except Boom:
                count += 1
        return count

    calling_ones = [pool.submit(calling) for _ in range(8)]
    fired = 0
    for _ in range(rounds):
        handle = arm("bank.charge", exception=Boom, times=3, registry=registry)
        handle.wait_for(injections=3, timeout=PATIENCE)
        handle.disarm()
        fired += handle.injections
    stop.set()
    assert sum(one.result(PATIENCE) for one in calling_ones) == fired == 3 * rounds
    assert code_of(call) is own
    registry.engine.housekeeper.stop()


def test_a_rule_that_is_armed_as_the_keeper_ends_expires_all_the_same() -> None:
    """The keeper's last look and the next rule never miss each other, however often they meet."""
    registry = Registry()
    registry.point("db.query")
    for _ in range(300):
        handle = arm("db.query", latency=0, expires_after=0.001, registry=registry)
        with pytest.raises(TimeoutError, match="expired"):
            handle.wait_for(timeout=PATIENCE)
    ended = time.monotonic() + PATIENCE
    while registry.engine.housekeeper._thread is not None:
        assert time.monotonic() < ended


def test_a_rule_that_is_armed_in_the_keepers_last_look_finds_a_keeper(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The keeper found nothing armed and is about to end, and the next rule comes just then."""
    registry = Registry()
    engine, housekeeper = registry.engine, registry.engine.housekeeper
    registry.point("db.query")
    looked, armed_meanwhile = threading.Event(), threading.Event()
    deadlines = engine.deadlines

    def looking(every: bool) -> list[float]:
        found = deadlines(every)
        if every and not found and not looked.is_set():
            looked.set()
            armed_meanwhile.wait(PATIENCE)
        return found

    class Nudge(threading.Event):
        def set(self) -> None:
            if looked.is_set() and not armed_meanwhile.is_set():
                armed_meanwhile.set()
                thread.join(0.2)  # ends now if it is going to
            super().set()

    monkeypatch.setattr(housekeeper, "_look", Nudge())
    thread: threading.Thread | None = None
    first = arm("db.query", latency=0, registry=registry)
    thread = housekeeper._thread
    assert thread is not None
    monkeypatch.setattr(engine, "deadlines", looking)
    first.disarm()
    housekeeper._look.set()
    assert looked.wait(PATIENCE)
    handle = arm("db.query", latency=0, expires_after=0.001, registry=registry)
    with pytest.raises(TimeoutError, match="expired"):
        handle.wait_for(timeout=PATIENCE)
    housekeeper.stop()
