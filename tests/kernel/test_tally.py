"""Tally: exact under threads, bounds that may be stale and never wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import count, islice
from random import Random
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaospoint._kernel import chance
from chaospoint._kernel import tally as _tally
from chaospoint._kernel.chance import NEVER, Schedule, decide
from chaospoint._kernel.tally import BoundedTally, Tally, counted, counter

from .kit import interrupted


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
def test_one_thread_fires_at_the_ordinals_of_the_schedule(schedule: Schedule) -> None:
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


# -- interrupted ---------------------------------------------------------------------------


HALF = Schedule(1, probability=0.5)
FIRES = [ordinal for ordinal in islice(decide(HALF), 1_000) if ordinal <= 1_000]


def unbounded() -> Tally:
    return Tally(HALF)


def bounded() -> Tally:
    return BoundedTally(HALF, 1_000)


everywhere = pytest.mark.parametrize(
    ("make", "taken"),
    [(make, taken) for make in (unbounded, bounded) for taken in (0, 1, 64)],
    ids=lambda one: {0: "first chunk", 1: "no chunk", 64: "early chunk"}.get(one),
)
"""The next to be taken draws the first chunk, or none, or the second one early."""


def at_every_moment(
    make: Callable[[], Tally], taken: int, look: Callable[[Tally], object]
) -> list[object]:
    """Take the next ordinal with Ctrl-C at each of its moments; return what was seen after it."""
    seen: list[object] = []

    def anew(moment: int) -> bool:
        tally = make()
        for ordinal in FIRES[:taken]:
            tally.take(ordinal)
        came = interrupted(lambda: tally.take(FIRES[taken]), moment)
        assert not tally._lock.owned
        seen.append(look(tally))
        return came

    # A context for each, for the flag that makes points transparent may be in the middle.
    moments = next(moment for moment in count(1) if not copy_context().run(anew, moment))
    assert moments > (500 if taken != 1 else 3)  # a chunk is drawn, or it is not
    return seen


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@everywhere
def test_ctrl_c_at_any_moment_leaves_the_lock_free(make: Callable[[], Tally], taken: int) -> None:
    at_every_moment(make, taken, lambda _: None)  # it asserts that itself


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("make", [unbounded, bounded])
def test_ctrl_c_at_any_moment_loses_no_later_firing(make: Callable[[], Tally]) -> None:
    rest = range(FIRES[64] + 1, 1_001)
    expected = [ordinal for ordinal in FIRES if ordinal in rest]

    def goes_on(tally: Tally) -> bool:
        return [ordinal for ordinal in rest if tally.take(ordinal)] == expected

    assert all(at_every_moment(make, 64, goes_on))


@pytest.mark.parametrize("error", [RecursionError, KeyboardInterrupt])
@pytest.mark.parametrize("draw", [1, 100, 200])
def test_a_schedule_that_is_interrupted_while_it_is_drawn_goes_on(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException], draw: int
) -> None:
    draws = count(1)

    class Interrupted(Random):
        def random(self) -> float:
            if next(draws) == draw:
                raise error
            return super().random()

    monkeypatch.setattr(chance, "Random", Interrupted)
    tally, broken, fired = unbounded(), [], []
    for ordinal in range(1, 1_001):
        try:
            if tally.take(ordinal):
                fired.append(ordinal)
        except error:
            broken.append(ordinal)
    assert len(broken) == 1
    assert fired == [ordinal for ordinal in FIRES if ordinal not in broken]
    assert tally.due > 1_000 or tally.due in broken


def test_a_schedule_that_is_interrupted_still_fires_so_many_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tally = Tally(Schedule(1, probability=0.5, times=150))
    with monkeypatch.context() as patch:
        patch.setattr(_tally, "islice", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tally.take(1)
    assert [ordinal for ordinal in range(1, 1_001) if tally.take(ordinal)] == FIRES[:150]
    assert tally.spent
