"""Finalizers, signal handlers and forks that interrupt chaospoint."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread, current_thread
from typing import Any

import pytest
from helpers import PATIENCE, Threads, python

from chaospoint import InjectedFault, Registry, arm, armed
from chaospoint._kernel.armed_rule import ArmedRule
from chaospoint._kernel.lock import arming_lock
from chaospoint.errors import InvalidPlan
from chaospoint.testing import FakeClock

from .kit import hangs, off, rule, sleeps


def test_a_finalizer_that_reaches_the_point_being_decided_finds_no_lock() -> None:
    """The collector may run anywhere, also while the next firings are being drawn."""
    python("""
        import faulthandler, gc
        faulthandler.dump_traceback_later(50, exit=True)
        import chaospoint
        from chaospoint._kernel import tally

        close = chaospoint.point("db.close")(lambda: None)

        class Connection:
            def __init__(self):
                self.itself = self

            def __del__(self):
                close()

        decide = tally.decide

        def deciding(schedule):
            for ordinal in decide(schedule):
                Connection()
                gc.collect()
                yield ordinal

        tally.decide = deciding
        handle = chaospoint.arm("db.*", latency=0)
        gc.freeze()  # each collection is short
        close()
        assert handle.injections == 1
    """)


def test_a_call_wakes_though_another_thread_attends_to_an_earlier_change(
    registry: Registry, pool: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may take the waking of a change that has not ended its rules yet for done."""
    engine, point = registry.engine, registry.point("p")
    registry.point("q")
    handle = registry.install([rule("p", hangs(), expires_after=3600.0)], source="code")
    call = pool.submit(point.hit)
    handle.wait_for(injections=1)
    attending, changing, attended = Event(), Event(), Event()

    def catch_up(catch_up: Callable[[], None] = engine._catch_up) -> None:
        catch_up()
        if arming_lock._carrying_out and not attending.is_set():  # of the change that arms "q"
            attending.set()
            assert changing.wait(PATIENCE)

    def finish(finish: Callable[[], None] = engine._finish) -> None:
        if engine._change is not None and engine._change.ended:
            changing.set()
            assert attended.wait(PATIENCE)
        finish()

    def start(deadline: float, start: Callable[[float], bool] = engine.housekeeper.start) -> bool:
        attended.set()
        return start(deadline)

    woken: list[str | None] = []

    def wake(one: ArmedRule, wake: Callable[[ArmedRule], None] = ArmedRule.wake) -> None:
        woken.append(one.why)
        wake(one)

    monkeypatch.setattr(ArmedRule, "wake", wake)
    monkeypatch.setattr(engine, "_catch_up", catch_up)
    monkeypatch.setattr(engine, "_finish", finish)
    monkeypatch.setattr(engine.housekeeper, "start", start)
    armed = pool.submit(registry.install, [rule("q", off())], source="code")
    assert attending.wait(PATIENCE)
    disarmed = pool.submit(handle.disarm)
    armed.result(PATIENCE).disarm()
    disarmed.result(PATIENCE)
    assert set(woken) == {"disarmed"}
    assert call.result(PATIENCE) is None


def test_armed_may_be_entered_twice_and_leaks_nothing(registry: Registry) -> None:
    point = registry.point("p")
    twice = armed("p", failure_rate=1.0, registry=registry)
    with twice as outer, twice as inner, pytest.raises(InjectedFault):
        point.hit()
    point.hit()
    assert (outer.injections, inner.injections) == (0, 1)
    assert registry.rules() == ()


@pytest.mark.parametrize("entered", [1, 2])
@pytest.mark.parametrize("reached", [False, True])
def test_each_entry_is_disarmed_when_its_object_is_gone_and_the_log_says_so(
    registry: Registry, log: pytest.LogCaptureFixture, entered: int, reached: bool
) -> None:
    point = registry.point("p")
    block = armed("p", latency=0, registry=registry)
    handles = [block.__enter__() for _ in range(entered)]
    if reached:
        point.hit()
    del block
    arming_lock.carry_out()
    assert [handle.rules[0].why for handle in handles] == ["disarmed"] * entered
    lines = [one.getMessage() for one in log.records if one.getMessage().startswith("disarmed")]
    assert len(lines) == entered
    assert all("its block was left" in line for line in lines)


def test_a_block_that_is_left_as_usual_says_nothing_of_that(
    registry: Registry, log: pytest.LogCaptureFixture
) -> None:
    point = registry.point("p")
    with armed("p", latency=0, registry=registry):
        point.hit()
    (line,) = [one.getMessage() for one in log.records if one.getMessage().startswith("disarmed")]
    assert line.endswith("1 injection in 1 reach")


def test_a_point_may_be_armed_by_itself(registry: Registry) -> None:
    point = registry.point("p")
    with armed(point, failure_rate=1.0, registry=registry), pytest.raises(InjectedFault):
        point.hit()


@pytest.mark.parametrize("target", [len, 3, None, ["p"]])
def test_objects_of_the_wrong_type_cannot_be_armed(registry: Registry, target: object) -> None:
    with pytest.raises(InvalidPlan, match="cannot be armed: give the name of a point"):
        arm(target, latency=1, registry=registry)  # type: ignore[arg-type]


def test_the_seed_of_the_environment_is_that_of_code_too(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.point("p")
    monkeypatch.setenv("CHAOSPOINT_SEED", "7")
    one = arm("p", latency=0, registry=registry).rules[0]
    two = arm("p", latency=0, registry=registry).rules[0]
    assert one.seed == two.seed
    assert not one.terms.seed_drawn


def test_a_start_that_fails_never_reaches_the_host() -> None:
    python("""
        import chaospoint
        from chaospoint._registry import registry

        def fails():
            raise ModuleNotFoundError("prometheus_client")

        registry.before_first_point(fails)
        assert chaospoint.point("a")(lambda: 7)() == 7
    """)


def test_rules_armed_before_any_point_are_remarked_on_when_none_appears(
    registry: Registry, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start every point is still to come; half a minute later a typo is a typo."""
    with caplog.at_level(logging.WARNING, "chaospoint"):
        registry.replace([rule("db.qurey", sleeps(0)), rule("db.save", sleeps(0))], source="env")
        assert caplog.records == []
        registry.point("db.query")
        registry.point("db.save")
        registry.engine.remind()
        assert caplog.records == []
        clock.advance(31)
        registry.engine.remind()
        registry.engine.remind()
    (said,) = caplog.records
    assert "no point is named 'db.qurey' yet" in said.getMessage()
    assert "db.query" in said.getMessage()


def test_a_child_counts_while_the_parent_was_counting_at_the_fork(tmp_path: Path) -> None:
    """The metrics' own lock may be held at the fork by a thread that the child has not got."""
    python(
        """
        import os, signal, sys, threading
        import chaospoint
        from chaospoint import InjectedFault

        @chaospoint.point("p")
        def call():
            return 7

        def fire():
            try:
                call()
            except InjectedFault:
                return True

        chaospoint.arm("p", failure_rate=1.0)
        sys.setswitchinterval(1e-6)
        stop = threading.Event()

        def firing():
            while not stop.is_set():
                fire()

        fire()  # the first is logged, and a fork in the middle of that hangs in Python itself
        thread = threading.Thread(target=firing)
        thread.start()
        for _ in range(60):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                os._exit(0 if fire() else 1)
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        thread.join(10)
        """,
        "-W",
        "ignore::DeprecationWarning",
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )


def test_the_gauges_of_a_child_are_its_own(tmp_path: Path) -> None:
    python(
        """
        import os
        import chaospoint
        from prometheus_client import CollectorRegistry, generate_latest, multiprocess

        point = chaospoint.point("p")
        handle = chaospoint.arm("p", latency=0)

        def metrics():
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
            return generate_latest(registry).decode()

        pid = os.fork()
        if pid == 0:
            text = metrics()
            good = "chaospoint_enabled 1.0" in text
            good = good and 'chaospoint_armed_rules{source="code"} 2.0' in text
            handle.disarm()
            good = good and 'chaospoint_armed_rules{source="code"} 1.0' in metrics()
            os._exit(0 if good else 1)
        assert os.waitpid(pid, 0)[1] == 0
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )


def test_disarming_wakes_a_call_though_another_thread_carries_out_its_request(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other thread may come before the change is in force."""
    point = registry.point("p")
    handle = registry.install([rule("p", hangs())], source="code")
    call = Thread(target=point.hit, daemon=True)
    call.start()
    handle.wait_for(injections=1)
    other = Thread(target=arming_lock.carry_out)
    request = arming_lock.request

    def requesting(wanted: Callable[[], object]) -> None:
        request(wanted)
        monkeypatch.undo()
        other.start()
        other.join(0.3)  # it waits for this change where all is well

    monkeypatch.setattr(arming_lock, "request", requesting)
    handle.disarm()
    other.join(PATIENCE)
    call.join(PATIENCE)
    assert not other.is_alive()
    assert not call.is_alive()


@pytest.mark.parametrize("turn", ["before", "within"])
@pytest.mark.parametrize("deed", ["disarm", "disable", "watch"])
def test_a_request_that_another_thread_has_finished_is_not_made_again(
    registry: Registry, deed: str, turn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that comes late must not undo what was armed since."""
    registry.point("p")
    begun, finished = Event(), Event()
    late = Thread(target=arming_lock.carry_out, daemon=True)
    change = arming_lock.change

    def wait() -> None:
        if current_thread() is late:
            begun.set()
            assert finished.wait(PATIENCE)

    def changing(body: Callable[..., Any], *args: object) -> Any:
        wait()
        return change(body, *args)

    def asks() -> None:
        if deed == "disarm":
            registry.engine.disarm("*")
        elif deed == "disable":
            registry.engine.disable()
        else:
            registry.engine.watch()

    if turn == "before":
        arming_lock.request(wait)
    else:
        monkeypatch.setattr(arming_lock, "change", changing)
    with arming_lock:
        change(asks)  # as a signal handler does in the middle of a change
    late.start()
    assert begun.wait(PATIENCE)
    arming_lock.carry_out()
    registry.engine.enable()
    watch = ArmedRule(rule("*", off()), "code", (0, 0, 0), registry.engine, "")
    registry.engine.watch(watch)
    handle = registry.install([rule("p", sleeps(0))], source="code")
    finished.set()
    late.join(PATIENCE)
    assert not late.is_alive()
    assert handle.rules[0].why is None
    assert registry.engine.watches == (watch,)
