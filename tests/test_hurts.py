"""What hurt the users of other libraries, each as a test that it cannot happen here."""

from __future__ import annotations

import gc
import json
import threading
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext

import pytest
from helpers import (
    PATIENCE,
    PLACES,
    Boom,
    Threads,
    Witness,
    finish,
    place,
)

from chaospoint import Injection, Registry, arm, armed, disable, enable, start, stop
from chaospoint.control.http import Request
from chaospoint.control.service import Service
from chaospoint.errors import ChaosWarning, NotPermitted
from chaospoint.sources.settings import Settings
from chaospoint.testing import FakeClock


def test_a_hang_plus_disable_plus_enable_deadlocked(
    still: Registry, clock: FakeClock, pool: Threads
) -> None:
    """The switch is turned under hanging calls, from many threads, and everybody comes back."""
    call = place(still.point("db.query"), "function")
    hanging = []
    for _ in range(5):
        arm("db.query", hang=True, registry=still)
        hanging += [pool.submit(call) for _ in range(4)]
        clock.until_waiting(None, count=4)
        turning: list[Future[None]] = [
            pool.submit(turn, registry=still) for turn in (disable, enable, disable, enable)
        ]
        for turned in turning:
            turned.result(PATIENCE)
        for one in hanging:
            assert one.result(PATIENCE) == 7
        enable(registry=still)


@pytest.mark.parametrize("kind", PLACES)
def test_disable_was_not_seen_by_armed_faults(kind: str, registry: Registry) -> None:
    """After the switch is off nothing acts, whatever was armed on whatever placement."""
    call = place(registry.point("bank.charge"), kind)
    handle = arm("bank.*", exception=Boom, registry=registry)
    disable(registry=registry)
    assert finish(call()) == 7
    assert handle.injections == 0
    with pytest.raises(NotPermitted, match="enable"):
        arm("bank.*", exception=Boom, registry=registry)
    enable(registry=registry)
    assert finish(call()) == 7


@pytest.mark.parametrize("kind", ["coroutine", "async_method", "generator", "async_generator"])
@pytest.mark.parametrize("end", ["handle", "part of a glob", "disable"])
def test_disable_was_not_seen_by_calls_that_were_made_but_not_run(
    kind: str, end: str, registry: Registry
) -> None:
    """A coroutine or generator made before, and run after, does nothing and counts nothing."""
    call = place(registry.point("bank.charge"), kind)
    witness = Witness()
    registry.add_observer(witness)
    handle = arm("bank.*", exception=Boom, registry=registry)
    made = call()
    ends: dict[str, Callable[[], object]] = {
        "handle": handle.disarm,
        "part of a glob": lambda: registry.disarm("bank.charge"),
        "disable": lambda: disable(registry=registry),
    }
    ends[end]()
    assert finish(made) == 7
    assert (handle.injections, witness.injections) == (0, [])
    assert handle.reaches == 1


def test_a_reach_that_did_not_count_used_up_times(registry: Registry) -> None:
    """Neither a point taken out of a glob nor a call of an observer's uses one of `times`."""
    point, other = registry.point("bank.charge"), registry.point("bank.refund")

    class Calls:
        def observe(self, injection: Injection) -> None:
            point.hit()

    registry.add_observer(Calls())
    handle = arm("bank.*", exception=Boom, times=2, registry=registry)
    registry.disarm("bank.refund")
    for _ in range(5):
        other.hit()
    for _ in range(2):
        with pytest.raises(Boom):
            point.hit()
    point.hit()
    assert (handle.injections, handle.reaches) == (2, 3)


def test_background_work_of_the_library_ate_times_1(still: Registry, clock: FakeClock) -> None:
    """What our own thread calls, through an observer, is no reach of the one rule meant for you."""
    point = still.point("db.query")
    told = threading.Event()

    class Stores:
        def observe(self, injection: Injection) -> None:
            point.hit()

        def notice(self, notice: object) -> None:
            point.hit()
            if threading.current_thread().name == "chaospoint-keeper":
                told.set()

    still.add_observer(Stores())
    arm("db.other*", latency=0, registry=_having(still, "db.others")).disarm()
    handle = arm("db.query", exception=Boom, times=1, registry=still)
    arm("db.others", latency=0, expires_after=5, registry=still)
    clock.until_waiting(1)
    clock.advance(5)
    assert told.wait(PATIENCE)
    assert handle.reaches == 0
    with pytest.raises(Boom):
        point.hit()


def _having(registry: Registry, name: str) -> Registry:
    registry.point(name)
    return registry


@pytest.mark.parametrize("way_out", [None, Boom, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_fault_armed_in_one_test_leaked_into_the_next(
    way_out: type[BaseException] | None, registry: Registry
) -> None:
    """`armed` disarms on every way out of its block."""
    point = registry.point("bank.charge")
    leaving = nullcontext() if way_out is None else pytest.raises(way_out)
    with leaving, armed("bank.charge", exception=Boom, registry=registry):
        if way_out is not None:
            raise way_out
    assert registry.rules() == ()
    point.hit()


def test_a_fault_armed_in_one_test_leaked_from_a_block_that_was_never_entered(
    registry: Registry,
) -> None:
    """A warning that is an error keeps the block from being entered, and nothing stays armed."""
    with (
        pytest.raises(ChaosWarning),
        armed("bank.chrage", exception=Boom, registry=registry),
    ):
        raise AssertionError("entered")
    assert registry.rules() == ()


def test_an_equals_sign_inside_a_value_broke_the_parser(registry: Registry) -> None:
    """What a message or a returned value contains is nobody's syntax."""
    text = 'a=b; c->d, {"e": "f"} 30%*+"\' ü\n'
    call = place(registry.point("bank.charge"), "function")
    exception = {"type": "ValueError", "args": [text]}
    points = json.dumps([{"point": "bank.charge", "exception": exception}])
    try:
        start(Settings(enabled=True, points=points), registry=registry)
        with pytest.raises(ValueError) as raised:  # noqa: PT011 - the arguments are compared
            call()
        assert raised.value.args == (text,)
        with armed("bank.charge", returns=text, registry=registry):
            assert call() == text
    finally:
        stop()


@pytest.mark.parametrize("kind", PLACES)
def test_one_exception_instance_raised_again_grew_its_traceback_for_ever(
    kind: str, registry: Registry
) -> None:
    """Each injection raises an instance of its own, and the hundredth traceback is as short."""
    call = place(registry.point("bank.charge"), kind)
    arm("bank.charge", exception=Boom, registry=registry)
    seen = []
    for _ in range(100):
        with pytest.raises(Boom) as raised:
            finish(call())
        seen.append(raised.value)
    assert len(set(map(id, seen))) == 100
    assert {len(error.__notes__) for error in seen} == {1}
    assert len({len(traceback.extract_tb(error.__traceback__)) for error in seen}) == 1


def test_an_injected_exception_kept_the_frames_of_its_call_alive(registry: Registry) -> None:
    """Once the caller has dropped it, the exception is gone without a garbage collection."""
    call = place(registry.point("bank.charge"), "function")

    class Local(Exception):
        pass

    arm("bank.charge", exception=Local, registry=registry)
    gone = []

    def caller() -> None:
        try:
            call()
        except Local as error:
            gone.append(weakref.ref(error))

    gc.disable()
    try:
        caller()
        assert gone[0]() is None
    finally:
        gc.enable()


def test_a_chaos_run_that_was_killed_left_the_fault_armed(
    still: Registry, clock: FakeClock
) -> None:
    """What is armed over HTTP ends by itself, inside the program, when nobody takes it off."""
    call = place(still.point("bank.charge"), "function")
    service = Service.of(Settings(enabled=True), still)
    headers = {"content-type": "application/json", "host": "localhost"}
    put = Request("PUT", "/v1/points/bank.charge", headers, b'{"returns": 8}', "127.0.0.1")
    answer = service.answer(put)
    assert answer.status == 200, answer.body
    (rule,) = still.rules()
    assert rule.seconds_left == pytest.approx(600, abs=1)
    assert call() == 8
    clock.until_waiting(1)
    clock.advance(598)
    assert call() == 8
    clock.advance(2)
    still.engine.expire()
    assert rule.state == "expired"
    assert call() == 7
