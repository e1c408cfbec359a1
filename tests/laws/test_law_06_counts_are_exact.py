"""Law 6. Counts are exact under threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from threading import Barrier, Lock
from typing import Any

import pytest
from helpers import PATIENCE, Boom, Threads, Witness, finish, place, places

from chaospoint import InjectedFault, Registry, arm
from chaospoint._kernel.tally import _LockedCount

THREADS = 64

pytestmark = pytest.mark.usefixtures("restless")


def _together(
    pool: Threads, call: Callable[[], Any], calls: int, threads: int = THREADS
) -> Counter[str]:
    """Make ``calls`` calls in each of the threads, all at the same time; count what comes of it."""
    barrier = Barrier(threads)

    def many() -> Counter[str]:
        seen: Counter[str] = Counter()
        barrier.wait(PATIENCE)
        for _ in range(calls):
            try:
                seen[repr(finish(call()))] += 1
            except Exception as error:
                seen[type(error).__name__] += 1
        return seen

    running = [pool.submit(many) for _ in range(threads)]
    return sum((one.result(60) for one in running), Counter())


@pytest.mark.parametrize("name", ["function", "generator", "method", "block", "statement"])
@pytest.mark.parametrize("trigger", [{}, {"probability": 0.5}, {"skip": 20, "every": 3}], ids=str)
def test_law_06_counts_are_exact_under_threads(
    name: str, trigger: dict[str, Any], registry: Registry, pool: Threads
) -> None:
    """`times=5` fires five times with 64 threads at the point, and not a reach is lost."""
    call = place(registry.point("bank.charge"), name)
    handle = arm("bank.charge", exception=Boom, times=5, registry=registry, **trigger)
    seen = _together(pool, call, 10)
    assert seen == {"Boom": 5, "7": THREADS * 10 - 5}
    assert (handle.injections, handle.reaches) == (5, THREADS * 10)


def test_law_06_many_firings_are_exact(registry: Registry, pool: Threads) -> None:
    """Thousands of firings, over many chunks of the schedule, come out one by one."""
    call = place(registry.point("bank.charge"), "function")
    witness = Witness()
    registry.add_observer(witness)
    handle = arm("bank.charge", returns=8, probability=0.5, times=3000, registry=registry)
    seen = _together(pool, call, 1000, threads=8)
    assert seen == {"8": 3000, "7": 5000}
    assert (handle.injections, handle.reaches) == (3000, 8000)
    ordinals = [injection.ordinal for injection in witness.injections]
    assert len(set(ordinals)) == 3000


def test_law_06_each_reach_is_taken_by_one_rule(registry: Registry, pool: Threads) -> None:
    """Of several rules the first that fires acts, alone; the others count what it took."""
    call = place(registry.point("bank.charge"), "function")
    last = arm("bank.charge", exception=InjectedFault, registry=registry)
    middle = arm("bank.*", exception=Boom, times=50, registry=registry)
    first = arm("*", returns=8, probability=0.25, times=100, registry=registry)
    seen = _together(pool, call, 25)
    total = THREADS * 25
    assert seen == {"8": 100, "Boom": 50, "InjectedFault": total - 150}
    assert first.reaches == total
    assert middle.reaches == total - 100
    assert last.reaches == last.injections == total - 150
    assert [rule.shadowed for handle in (first, middle, last) for rule in handle.rules] == [
        0,
        100,
        150,
    ]


def test_law_06_a_rule_over_many_points_has_one_tally(registry: Registry, pool: Threads) -> None:
    """`times` of a glob is shared by its points and by their placements of every kind."""
    calls = [
        call
        for name in ("bank.charge", "bank.refund")
        for kind, call in places(registry.point(name)).items()
        if "async" not in kind and kind != "coroutine"
    ]
    turn, lock = iter(calls * 1000), Lock()

    def any_of_them() -> Any:
        with lock:
            call = next(turn)
        return finish(call())

    handle = arm("bank.*", exception=Boom, times=5, registry=registry)
    seen = _together(pool, any_of_them, 20)
    assert seen == {"Boom": 5, "7": THREADS * 20 - 5}
    assert (handle.injections, handle.reaches) == (5, THREADS * 20)


def test_law_06_the_counter_for_builds_without_a_gil_hands_out_each_number_once(
    pool: Threads,
) -> None:
    """Where the counter in C is not atomic, one with a lock does the same."""
    numbers = _LockedCount()
    barrier = Barrier(8)

    def take() -> list[int]:
        barrier.wait(PATIENCE)
        return [number for number, _ in zip(numbers, range(1000), strict=False)]

    taken = [one.result(PATIENCE) for one in [pool.submit(take) for _ in range(8)]]
    assert len({number for part in taken for number in part[:1000]}) == 8000
    assert repr(numbers) == f"count({8 * 1001 + 1})"
