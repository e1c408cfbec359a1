"""How a change is written and waited for, driven by hand: time goes on as the test says."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from chaospoint.errors import StoreBusy, StoreError
from chaospoint.stores.acknowledging import ACK_TIMEOUT_SECONDS, acknowledged, updated
from chaospoint.stores.desired import Desired
from chaospoint.stores.memory import MemoryStore
from chaospoint.stores.store import Edit, Worker

T = TypeVar("T")

ONE = Worker("aa11", 1, started_at=1.0)
TWO = Worker("bb22", 2, started_at=2.0)


def enable(one: Desired) -> Desired:
    return one.enable(by="ops", now=1.0)


class Busy(MemoryStore):
    """A store that somebody else writes for some time."""

    def __init__(self, *refusals: StoreError) -> None:
        super().__init__()
        self.refusals = list(refusals)
        self.tries = 0

    def update(self, edit: Edit, **keys: Any) -> Desired:
        self.tries += 1
        if self.refusals:
            raise self.refusals.pop(0)
        return super().update(edit, **keys)


class Time:
    """Goes on by what was waited."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waited: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        assert 0 < seconds < 0.1, "a caller is not kept for long"
        self.waited.append(seconds)
        self.now += seconds


def drive(steps: Generator[float, None, T], time: Time) -> T:
    """Do all the waiting that is asked for."""
    while True:
        try:
            time.wait(next(steps))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


@pytest.fixture
def time() -> Time:
    return Time()


def test_an_update_is_written_without_waiting(time: Time) -> None:
    store = Busy()
    made = drive(updated(store, enable, at_least=6, ignore_unreadable=True, now=time), time)
    assert made.generation == 7
    assert store.read() == made
    assert not time.waited


def test_a_busy_store_is_tried_again(time: Time) -> None:
    store = Busy(StoreBusy("busy"), StoreBusy("busy"))
    assert drive(updated(store, enable, now=time), time).generation == 1
    assert (len(time.waited), store.tries) == (2, 3)


def test_a_store_that_stays_busy_is_given_up(time: Time) -> None:
    store = Busy(*[StoreBusy("busy")] * 1000)
    with pytest.raises(StoreBusy, match="busy"):
        drive(updated(store, enable, now=time), time)
    assert ACK_TIMEOUT_SECONDS <= sum(time.waited) < ACK_TIMEOUT_SECONDS + 0.1


def test_what_cannot_be_written_is_not_tried_again(time: Time) -> None:
    store = Busy(StoreError("full"))
    with pytest.raises(StoreError, match="full"):
        drive(updated(store, enable, now=time), time)
    assert (time.waited, store.tries) == ([], 1)


def test_a_store_without_workers_needs_no_waiting(time: Time) -> None:
    done = drive(acknowledged(MemoryStore(), 3, now=time), time)
    assert (done.generation, done.workers, done.acknowledged, done.missing) == (3, 0, 0, ())
    assert not time.waited


def test_every_worker_is_waited_for(time: Time) -> None:
    store = MemoryStore()
    store.report(replace(ONE, generation=3))
    store.report(replace(TWO, generation=2))
    steps = acknowledged(store, 3, now=time)
    time.wait(next(steps))
    time.wait(next(steps))
    store.report(replace(TWO, generation=4))
    done = drive(steps, time)
    assert (done.workers, done.acknowledged, done.missing) == (2, 2, ())
    assert len(time.waited) == 2


def test_a_worker_that_refused_has_answered(time: Time) -> None:
    """It is not waited for, and not counted as one that runs it."""
    store = MemoryStore()
    refused = replace(TWO, generation=3, refusal="no such class")
    store.report(replace(ONE, generation=3))
    store.report(refused)
    done = drive(acknowledged(store, 3, now=time), time)
    assert (done.workers, done.acknowledged) == (2, 1)
    assert [one.refusal for one in done.missing] == ["no such class"]
    assert not time.waited


def test_a_worker_that_does_not_answer_is_named(time: Time) -> None:
    store = MemoryStore()
    store.report(replace(ONE, generation=3))
    store.report(TWO)
    done = drive(acknowledged(store, 3, now=time), time)
    assert (done.workers, done.acknowledged) == (2, 1)
    assert [one.id for one in done.missing] == ["bb22"]
    assert ACK_TIMEOUT_SECONDS <= sum(time.waited) < ACK_TIMEOUT_SECONDS + 0.1


def test_a_worker_that_dies_or_comes_is_taken_into_account(time: Time) -> None:
    store = MemoryStore()
    store.report(ONE)
    steps = acknowledged(store, 3, now=time)
    time.wait(next(steps))
    store.leave(ONE.id)
    store.report(replace(TWO, generation=3))
    done = drive(steps, time)
    assert (done.workers, done.acknowledged) == (1, 1)
    assert len(time.waited) == 1
