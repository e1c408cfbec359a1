"""Tally: exact under threads, bounds that may be stale and never wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaospoint import _tally
from chaospoint._decide import NEVER, Schedule, decide
from chaospoint._tally import Tally, counted, counter


@pytest.fixture
def hurried() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def reach(tally: Tally) -> tuple[int, bool]:
    """Reach as a trampoline does."""
    ordinal = next(tally.ordinals)
    return ordinal, ordinal >= tally.due and tally.take(ordinal) is not None


@given(
    st.builds(
        Schedule,
        seed=st.integers(0, 1000),
        skip=st.integers(0, 300),
        every=st.integers(1, 50),
        probability=st.sampled_from([0.0, 0.01, 0.3, 0.9, 1.0]),
        times=st.one_of(st.none(), st.sampled_from([1, 5, 63, 64, 127, 128, 129, 300])),
    )
)
@settings(deadline=None, max_examples=150)
def test_one_thread_fires_what_the_schedule_says(schedule: Schedule) -> None:
    tally = Tally(schedule)
    fired = [ordinal for ordinal, fires in (reach(tally) for _ in range(700)) if fires]
    assert fired == [ordinal for ordinal in islice(decide(schedule), 700) if ordinal <= 700]
    assert counted(tally.ordinals) == 700


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(1, times=5),
        Schedule(2, probability=0.3),
        Schedule(3, skip=100, every=7, times=300),
        Schedule(4),
        Schedule(5, probability=0.001),
    ],
    ids=str,
)
def test_many_threads_fire_the_same_ordinals_as_one(schedule: Schedule) -> None:
    threads, each = 8, 3_000
    tally, start = Tally(schedule), Barrier(threads)

    def work() -> list[tuple[int, bool]]:
        start.wait()
        return [reach(tally) for _ in range(each)]

    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(work) for _ in range(threads)]
        reached = [one for job in jobs for one in job.result()]
    total = threads * each
    assert sorted(ordinal for ordinal, _ in reached) == list(range(1, total + 1))
    fired = sorted(ordinal for ordinal, fires in reached if fires)
    assert fired == [ordinal for ordinal in islice(decide(schedule), total) if ordinal <= total]


def test_an_ordinal_fires_once_however_often_it_is_taken() -> None:
    tally = Tally(Schedule(1))
    assert tally.take(1)
    assert not tally.take(1)


def test_a_late_taker_still_gets_its_ordinal() -> None:
    """An ordinal drawn long ago fires although everyone else went on."""
    tally = Tally(Schedule(1))
    late = next(tally.ordinals)
    for _ in range(1_000):
        assert reach(tally)[1]
    assert late >= tally.due
    assert tally.take(late)


def test_due_is_a_lower_bound_that_spares_the_look() -> None:
    tally = Tally(Schedule(1, skip=500, times=1))
    reach(tally)
    assert tally.due == 501
    looked = []
    for _ in range(499):
        ordinal = next(tally.ordinals)
        looked.append(ordinal >= tally.due)
    assert not any(looked)
    assert reach(tally) == (501, True)
    assert tally.due > NEVER


def test_spent_means_that_nothing_is_left() -> None:
    tally = Tally(Schedule(1, times=2))
    assert not tally.spent
    reach(tally)
    assert not tally.spent
    reach(tally)
    assert tally.spent
    assert reach(tally) == (3, False)
    assert counted(tally.ordinals) == 3


def test_a_schedule_that_never_fires_is_spent_after_the_first_look() -> None:
    tally = Tally(Schedule(1, probability=0.0))
    assert reach(tally) == (1, False)
    assert tally.spent


def test_a_full_chunk_does_not_end_the_schedule() -> None:
    tally = Tally(Schedule(1, times=128))
    assert [fires for _, fires in (reach(tally) for _ in range(130))] == [True] * 128 + [False] * 2
    assert tally.spent


def test_reading_a_counter_takes_nothing() -> None:
    numbers = counter()
    assert counted(numbers) == 0
    assert [next(numbers), next(numbers)] == [1, 2]
    assert counted(numbers) == counted(numbers) == 2


def test_without_a_gil_the_counter_has_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tally, "_has_gil", lambda: False)
    numbers = counter()
    assert isinstance(numbers, _tally._LockedCount)
    assert counted(numbers) == 0
    for number in numbers:
        assert number == 1
        break
    assert counted(numbers) == 1
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: next(numbers), range(800)))
    assert sorted(taken) == list(range(2, 802))
