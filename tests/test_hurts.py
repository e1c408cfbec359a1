"""What hurt the users of other libraries, each as a test that it cannot happen here."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    PATIENCE,
    PLACES,
    Boom,
    Threads,
    Witness,
    finish,
    place,
    places,
    python,
    run,
    tick,
)

from chaospoint import Injection, Plan, Registry, arm, armed, disable, enable, start, stop
from chaospoint.control.messages import Request
from chaospoint.control.service import Service
from chaospoint.errors import ChaosWarning, InvalidPlan, NotPermitted, UnsupportedFault
from chaospoint.settings import Settings
from chaospoint.testing import FakeClock


def test_a_lock_held_while_sleeping_made_n_callers_queue_n_sleeps(
    still: Registry, clock: FakeClock, pool: Threads
) -> None:
    """All callers sleep side by side: one latency later all of them are through."""
    call = place(still.point("db.query"), "function")
    arm("db.query", latency=30, registry=still)
    sleepers = [pool.submit(call) for _ in range(20)]
    clock.until_waiting(30, count=20)
    clock.advance(30)
    assert [sleeper.result(PATIENCE) for sleeper in sleepers] == [7] * 20


def test_disarming_blocked_behind_a_sleep(still: Registry, clock: FakeClock, pool: Threads) -> None:
    """Disarming returns while the sleeper has not even been given a chance to wake."""
    point = still.point("db.query")
    handle = arm("db.query", latency=30, registry=still)
    left = threading.Event()

    def held() -> None:
        point.hit()
        left.set()

    sleeper = pool.submit(held)
    clock.until_waiting(30)
    before = time.monotonic()
    handle.disarm()
    assert time.monotonic() - before < 1
    assert left.wait(PATIENCE)
    sleeper.result(PATIENCE)


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


@pytest.mark.parametrize("kind", PLACES)
def test_skip_and_times_could_not_be_combined(kind: str, registry: Registry) -> None:
    """The first three pass, then every second fires, twice."""
    call = place(registry.point("bank.charge"), kind)
    arm("bank.charge", exception=Boom, skip=3, every=2, times=2, registry=registry)
    fired = []
    for ordinal in range(1, 13):
        try:
            finish(call())
        except Boom:
            fired.append(ordinal)
    assert fired == [5, 7]


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


def test_counters_counted_only_what_did_not_raise(registry: Registry) -> None:
    """Every injection is one count, whether it delays, answers or raises."""
    call = place(registry.point("bank.charge"), "function")
    counts = {}
    for keys in ({"latency": 0}, {"returns": 8}, {"exception": Boom}, {"exception": SystemExit}):
        witness = Witness()
        registry.add_observer(witness)
        with armed("bank.charge", registry=registry, **keys) as handle:
            for _ in range(3):
                try:
                    call()
                except (Boom, SystemExit):
                    pass
        registry.remove_observer(witness)
        counts[str(keys)] = (handle.injections, handle.reaches, len(witness.injections))
    assert set(counts.values()) == {(3, 3, 3)}


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


def test_the_armed_point_was_never_reached_and_the_test_passed(
    still: Registry, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Waiting for an injection says what was seen instead, and disarming says so in the log."""
    still.point("bank.charge")
    with armed("bank.charge", exception=Boom, registry=still) as handle:
        clock.advance(1)
        with pytest.raises(TimeoutError, match=r"1 injections.*saw 0 injections in 0 reaches"):
            handle.wait_for(timeout=0)
    with pytest.raises(TimeoutError, match=r"disarmed with 0 injections in 0 reaches"):
        handle.wait_for(timeout=PATIENCE)
    assert "never reached" in caplog.text


def test_batch_updates_were_applied_by_half(registry: Registry) -> None:
    """A plan that cannot be armed whole is not armed at all."""
    call = place(registry.point("bank.charge"), "function")
    registry.point("db.query")
    good = {"point": "bank.charge", "returns": 8}
    with pytest.raises(UnsupportedFault, match=r"db\.query"):
        arm(Plan(rules=[good, {"point": "db.query", "returns": 8}, good]), registry=registry)
    bad = {"point": "bank.charge", "exception": "no.such.Error"}
    with pytest.raises(InvalidPlan, match=r"no\.such\.Error"):
        arm(Plan(rules=[good, bad]), registry=registry)
    with pytest.raises(InvalidPlan, match="latency"):
        Plan(rules=[good, {"point": "bank.charge", "latency": -1}])
    assert registry.rules() == ()
    assert call() == 7


@pytest.mark.parametrize(
    "keys",
    [{"exception": Boom, "probability": 0}, {"exception": Boom, "failure_rate": 0}],
    ids=["probability", "failure rate"],
)
@pytest.mark.filterwarnings("ignore:.*can never fire:chaospoint.errors.ChaosWarning")
def test_toxicity_0_still_bit(keys: dict[str, Any], registry: Registry) -> None:
    """A probability or a rate of nought means never, over many seeds and calls."""
    point = registry.point("bank.charge")
    for seed in range(100):
        with armed("bank.charge", seed=seed, registry=registry, **keys) as handle:
            for _ in range(100):
                point.hit()
        assert (handle.injections, handle.reaches) == (0, 100)


def test_a_failure_rate_of_0_beside_a_latency_still_bit(registry: Registry) -> None:
    """The latency hits all, the exception nobody, and the record names what acted."""
    point = registry.point("bank.charge")
    witness = Witness()
    registry.add_observer(witness)
    with armed("bank.charge", latency=0, exception=Boom, failure_rate=0, registry=registry):
        for _ in range(100):
            point.hit()
    assert {(one.fault, one.exception) for one in witness.injections} == {("latency", None)}


@pytest.mark.parametrize("value", ["false", "False", "no", "off", "0", "", "  "])
def test_an_environment_variable_that_says_false_enabled_the_library(value: str) -> None:
    """A process in which the switch says no is as quiet as if chaospoint were not there."""
    program = """
        import sys, threading
        import chaospoint

        @chaospoint.point("payment.charge")
        def charge():
            return 7

        chaospoint.start()
        assert charge() == 7
        assert threading.active_count() == 1
        assert not any(rule for rule in chaospoint.point("a.b").core.rules)
    """
    python(
        program,
        CHAOSPOINT_ENABLED=value,
        CHAOSPOINT_POINTS='[{"point": "*", "exception": "TimeoutError"}]',
        CHAOSPOINT_ADMIN="127.0.0.1:0",
    )


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
    still.board.expire()
    assert rule.why == "expired"
    assert call() == 7


def test_an_http_toggle_reached_one_of_four_workers_and_nobody_could_tell(
    registry: Registry,
) -> None:
    """Until a store reaches them all, the status says whose counts it shows."""
    request = Request("GET", "/v1/status", {"host": "localhost"}, b"", "127.0.0.1")
    status = json.loads(Service.of(Settings(enabled=True), registry).answer(request).body)
    assert status["counts"] == "of this process alone"
    assert status["pid"] > 0


def test_a_latency_on_a_busy_point_starved_the_others(registry: Registry) -> None:
    """A delayed task holds up its own request and no other one on the loop."""
    calls = places(registry.point("bank.charge"))
    arm("bank.charge", latency=30, times=1, registry=registry)

    async def main() -> None:
        slow = asyncio.ensure_future(calls["coroutine"]())
        await tick()
        assert [await calls["coroutine"]() for _ in range(100)] == [7] * 100
        assert not slow.done()
        registry.disarm()
        assert await slow == 7

    run(main())


def test_a_file_that_was_half_written_disarmed_everything(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing, empty or broken file leaves in force what the last good one said."""
    call = place(registry.point("bank.charge"), "function")
    path = tmp_path / "plan.json"
    good = json.dumps([{"point": "bank.charge", "returns": 8}])
    path.write_text(good)
    try:
        start(Settings(enabled=True, config=path), registry=registry)
        assert call() == 8
        from chaospoint import config

        running = config._running
        assert running is not None
        poller = running._sources.poller
        assert poller is not None
        poller.rounds.stop()
        for bad in ("", good[:-3], "{}", '[{"point": "bank.charge"}]', None):
            path.unlink() if bad is None else path.write_text(bad)
            assert poller.poll() is False
            assert call() == 8
        assert caplog.text.count("is refused whole") == 5
        path.write_text("[]")
        assert poller.poll() is True
        assert call() == 7
    finally:
        stop()
