"""The housekeeper: its threads run while something is armed, and end after that."""

from __future__ import annotations

import _thread
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from helpers import Threads

from chaospoint import Registry
from chaospoint._kernel.context import in_chaospoint
from chaospoint._kernel.threads import Start
from chaospoint._registry.notices import Notice, Reached, RuleDisarmed
from chaospoint.testing import FakeClock

from .kit import PATIENCE, Does, Witness, rule

PASS = Does("off", ())


class Ears:
    """An observer that can be waited for."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.heard = threading.Semaphore(0)
        self.where: list[tuple[str, bool]] = []

    def observe(self, _: object) -> None:
        pass

    def notice(self, notice: Any) -> None:
        if isinstance(notice, self.kind):
            self.where.append((threading.current_thread().name, in_chaospoint.get()))
            self.heard.release()

    def wait(self) -> None:
        assert self.heard.acquire(timeout=PATIENCE)


def keepers() -> set[threading.Thread | None]:
    return {one for one in threading.enumerate() if one.name == "chaospoint-keeper"}


def thread_of(registry: Registry) -> threading.Thread | None:
    return registry.engine.housekeeper._thread


def test_there_is_no_thread_until_something_is_armed(registry: Registry) -> None:
    registry.point("p").hit()
    assert thread_of(registry) is None
    registry.install([rule("p", PASS)], source="test")
    thread = thread_of(registry)
    assert thread is not None
    assert thread.daemon
    registry.install([rule("p", PASS)], source="test")
    assert thread_of(registry) is thread


def test_it_ends_by_itself_when_nothing_is_armed_any_more(
    registry: Registry, clock: FakeClock
) -> None:
    registry.point("p")
    handle = registry.install([rule("p", PASS)], source="test")
    thread = thread_of(registry)
    assert thread is not None
    clock.until_waiting(1.0)
    handle.disarm()
    clock.advance(1.0)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert thread_of(registry) is None
    registry.install([rule("p", PASS)], source="test")
    assert thread_of(registry) not in (None, thread)


def test_it_flushes_reaches_every_second(registry: Registry, clock: FakeClock) -> None:
    point, ears, witness = registry.point("p"), Ears(Reached), Witness()
    registry.add_observer(ears)
    registry.add_observer(witness)
    registry.install([rule("p", PASS)], source="test")
    clock.until_waiting(1.0)
    for count in (3, 2):
        for _ in range(count):
            point.hit()
        clock.advance(1.0)
        ears.wait()
        clock.until_waiting(1.0)
    assert [(one.pattern, one.reaches) for one in witness.of(Reached)] == [("p", 3), ("p", 2)]
    assert ears.where == [("chaospoint-keeper", True)] * 2


def test_it_wakes_for_the_nearest_deadline(registry: Registry, clock: FakeClock) -> None:
    registry.point("p")
    ears = Ears(RuleDisarmed)
    registry.add_observer(ears)
    terms = [rule("p", PASS, every=2, expires_after=seconds) for seconds in (60, 0.25, 30)]
    handle = registry.install(terms, source="test")
    clock.until_waiting(0.25)
    clock.advance(0.25)
    ears.wait()
    assert [one.state for one in handle.rules] == ["armed", "expired", "armed"]
    clock.until_waiting(1.0)


def test_a_rule_armed_while_it_waits_is_looked_at_at_once(
    registry: Registry, clock: FakeClock
) -> None:
    registry.point("p")
    registry.install([rule("p", PASS)], source="test")
    clock.until_waiting(1.0)
    registry.install([rule("p", PASS, expires_after=0.125)], source="test")
    clock.until_waiting(0.125)


def test_arming_wakes_it_only_for_a_nearer_deadline(registry: Registry, clock: FakeClock) -> None:
    class Look(threading.Event):
        woken = 0

        def set(self) -> None:
            self.woken += 1
            super().set()

    point, ears, look = registry.point("p"), Ears(RuleDisarmed), Look()
    registry.add_observer(ears)
    registry.engine.housekeeper._expiry._look = look
    registry.install([rule("p", PASS, expires_after=60)], source="test")
    clock.until_waiting(1.0, count=2)
    for seconds in (None, 60, 1):
        registry.install([rule("p", PASS, expires_after=seconds)], source="test")
    assert look.woken == 0
    handle = registry.install([rule("p", PASS, expires_after=0.125)], source="test")
    assert look.woken == 1
    clock.until_waiting(0.125)
    registry.install([rule("p", PASS, expires_after=0.25)], source="test")
    assert look.woken == 1
    clock.advance(0.125)
    ears.wait()
    assert handle.rules[0].state == "expired"
    clock.until_waiting(0.125)  # the next deadline
    assert point.armed


@pytest.mark.parametrize("seconds", [None, 0.25])
def test_what_is_armed_between_its_look_and_its_end_is_looked_after(
    registry: Registry,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float | None,
) -> None:
    registry.point("p")
    engine, late = registry.engine, rule("p", PASS, text="late", expires_after=seconds)
    deadlines, armed = engine.deadlines, threading.Event()

    def looked(every: bool) -> list[float]:
        found = deadlines(every)
        if every and not found:
            monkeypatch.undo()
            registry.install([late], source="test")
            armed.set()
        return found

    monkeypatch.setattr(engine, "deadlines", looked)
    handle = registry.install([rule("p", PASS)], source="test")
    thread = thread_of(registry)
    clock.until_waiting(1.0)
    handle.disarm()
    clock.advance(1.0)
    assert armed.wait(PATIENCE)
    clock.until_waiting(seconds or 1.0)
    assert thread_of(registry) is thread
    assert [one.text for one in registry.rules()] == ["late"]


def test_it_survives_a_bug(
    registry: Registry,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    bugs: deque[BaseException],
) -> None:
    registry.point("p")
    registry.install([rule("p", PASS)], source="test")
    clock.until_waiting(1.0)
    reported = threading.Event()

    def broken() -> None:
        reported.set()
        raise OSError("a bug of ours")

    with monkeypatch.context() as patch:
        patch.setattr(registry.engine, "expire", broken)
        clock.advance(1.0)
        assert reported.wait(PATIENCE)
        clock.until_waiting(1.0)
    assert thread_of(registry) is not None
    assert {type(bug) for bug in bugs} == {OSError}
    bugs.clear()


def test_a_thread_that_ends_before_its_first_step_is_replaced(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On CPython 3.11 a new thread has raised in it what is thrown into the one that starts it."""
    registry.point("p")
    real = _thread.start_new_thread
    with monkeypatch.context() as patched:
        patched.setattr(_thread, "start_new_thread", lambda _call, _: real(bool, ()))
        registry.install([rule("p", PASS)], source="test")
    registry.install([rule("p", PASS)], source="test")
    thread = thread_of(registry)
    assert thread is not None
    assert thread.is_alive()
    assert "died" in caplog.text


def test_stop_ends_it_and_resume_starts_it_if_anything_is_armed(registry: Registry) -> None:
    registry.point("p")
    housekeeper = registry.engine.housekeeper
    housekeeper.stop()
    registry.install([rule("p", PASS)], source="test")
    assert thread_of(registry) is None  # not while it is stopped
    housekeeper.resume()
    thread = thread_of(registry)
    assert thread is not None
    housekeeper.stop()
    assert not thread.is_alive()
    registry.disarm()
    housekeeper.resume()
    assert thread_of(registry) is None


def test_arming_and_disarming_in_a_hurry_leaves_one_thread_or_none(registry: Registry) -> None:
    registry.point("p")
    before = keepers()
    for _ in range(300):
        registry.install([rule("p", PASS)], source="test").disarm()
    registry.install([rule("p", PASS)], source="test")
    last = thread_of(registry)
    for thread in keepers() - before - {last}:
        thread.join(PATIENCE)  # it has ended but for the last line
        assert not thread.is_alive()
    assert last in keepers()


def test_without_a_thread_the_rule_is_armed_and_the_log_says_what_is_missing(
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
) -> None:
    def start(self: object) -> None:
        raise RuntimeError("can't start new thread")

    registry.point("p")
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", start)
        handle = registry.install([rule("p", PASS)], source="test")
    assert handle.rules[0].state == "armed"
    assert (
        "no thread could be started for the armed rules: a rule does not fire after its deadline"
        in log.text
    )
    registry.install([rule("p", PASS, skip=1)], source="test")
    assert registry.engine.housekeeper._thread is not None


def test_a_fake_wait_counts_from_what_its_thread_read(pool: Threads) -> None:
    """Else time that passes between looking at the clock and waiting would be slept through."""
    clock = FakeClock()
    looked, passed, woken = (threading.Event() for _ in range(3))

    def wait_for_the_rest() -> None:
        left = 5 - clock.monotonic()
        looked.set()
        passed.wait(PATIENCE)
        clock.wait(woken, left)

    job = pool.submit(wait_for_the_rest)
    assert looked.wait(PATIENCE)
    clock.advance(5)
    passed.set()
    try:
        job.result(PATIENCE)
    finally:
        woken.set()
    assert not clock.waiting


@pytest.mark.parametrize("replaced", [False, True])
def test_an_observer_that_blocks_the_thread_holds_up_one_fork_for_a_moment(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    """And no later one: the thread is waited for again once it, or another one, goes on."""
    entered, released, again, begun = (threading.Event() for _ in range(4))
    waits: list[float] = []

    class Blocks(Witness):
        def notice(self, notice: Notice) -> None:
            super().notice(notice)
            if isinstance(notice, Reached):
                (again if entered.is_set() else entered).set()
                assert released.wait(PATIENCE)

    def join(start: Start, seconds: float, join: Callable[..., None] = Start.join) -> None:
        if start.thread.name == "chaospoint-keeper":
            waits.append(seconds)
        if released.is_set():
            begun.set()
        join(start, PATIENCE if released.is_set() else 0.0)

    monkeypatch.setattr(Start, "join", join)
    registry.add_observer(Blocks())
    point, housekeeper = registry.point("p"), registry.engine.housekeeper
    registry.install([rule("p", PASS)], source="test")
    point.hit()
    housekeeper.start()
    housekeeper._look.set()
    assert entered.wait(PATIENCE)
    for _ in range(3):
        housekeeper.stop()
        housekeeper.resume()
    assert waits == [0.5, 0.0, 0.0]
    thread, run = thread_of(registry), housekeeper._run
    assert thread is not None

    def run_late() -> None:
        assert begun.wait(PATIENCE)
        run()

    if replaced:
        monkeypatch.setattr(housekeeper, "_run", run_late)
        housekeeper._stopping = True  # it ends its round, and then itself
        released.set()
        thread.join(PATIENCE)
        housekeeper.resume()
    else:
        point.hit()
        released.set()
        housekeeper._look.set()
        assert again.wait(PATIENCE)
    assert (thread_of(registry) is thread) is not replaced
    waits.clear()
    housekeeper.stop()
    assert waits[-1] == 0.5
    assert thread_of(registry) is None
