"""An armed function recurses half as deep.

Running out of stack there is what it is without chaospoint: a `RecursionError` for the program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import Threads, finish, python
from patching_kit import STATES, extra_frames, labelled, state

import chaospoint
from chaospoint import Registry

every_state = pytest.mark.parametrize("name", STATES)
FACTOR = {name: 1 + extra_frames(name) for name in STATES}
"""Frames for each call of a plain function: its own, and the trampoline."""


def recursive(registry: Registry) -> Callable[[int], int]:
    @labelled(registry)
    def down(n: int) -> int:
        return n and 1 + down(n - 1)

    return down


def depth(pool: Threads, down: Callable[[int], Any]) -> int:
    """Return how deep ``down`` gets in a thread with nothing else on its stack."""
    low, high = 1, sys.getrecursionlimit() * 2

    def gets_to(n: int) -> bool:
        try:
            return pool.submit(down, n).result() == n
        except RecursionError:
            return False

    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if gets_to(middle) else (low, middle)
    return low


@every_state
def test_recursion_goes_as_deep_as_the_limit_divided_by_the_frames_of_a_call(
    registry: Registry, pool: Threads, name: str
) -> None:
    down = recursive(registry)
    plain = depth(pool, down)
    assert sys.getrecursionlimit() - 20 <= plain <= sys.getrecursionlimit()
    with state(registry, name):
        armed = depth(pool, down)
    assert plain / FACTOR[name] - 20 <= armed <= plain / FACTOR[name] + 1


@every_state
def test_mutual_recursion_of_decorated_functions(
    registry: Registry, pool: Threads, name: str
) -> None:
    point = labelled(registry)

    @point
    def even(n: int) -> int:
        return n and 1 + odd(n - 1)

    @point
    def odd(n: int) -> int:
        return n and 1 + even(n - 1)

    with state(registry, name):
        assert even(200) == 200
        limit = sys.getrecursionlimit() / FACTOR[name]
        assert limit - 20 <= depth(pool, even) <= limit


@every_state
def test_one_point_more_on_a_function_is_one_frame_more(
    registry: Registry, pool: Threads, name: str
) -> None:
    down = registry.point("q", labels={"tenant": "acme"})(recursive(registry))
    with state(registry, name), state(registry, name, "q"):
        limit = sys.getrecursionlimit() / (2 * FACTOR[name] - 1)
        assert limit - 20 <= depth(pool, down) <= limit + 1


@every_state
def test_generators_and_coroutines_recurse(
    registry: Registry, pool: Threads, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a firing they cost no frame: the trampoline has returned when they run."""
    # Event loops of earlier calls may be collected where no stack is left for asyncio's __del__.
    monkeypatch.setattr(sys, "unraisablehook", [].append)
    point = labelled(registry)

    @point
    def items(n: int) -> Iterator[int]:
        if n:
            yield from items(n - 1)
        yield n

    @point
    async def wait(n: int) -> int:
        return n and 1 + await wait(n - 1)

    limit = sys.getrecursionlimit() / (1 + extra_frames(name, "generator"))
    with state(registry, name):
        assert list(items(100)) == list(range(101))
        assert finish(wait(100)) == 100
        for call in (lambda n: finish(items(n)), lambda n: finish(wait(n))):
            assert limit - 30 <= depth(pool, call) <= limit + 1


@every_state
def test_endless_recursion_is_the_programs_own_error(registry: Registry, name: str) -> None:
    """And no bug of chaospoint, which a test suite would fail for."""

    @labelled(registry)
    def endless(n: int) -> int:
        return endless(n + 1)

    with state(registry, name):
        for _ in range(3):
            with pytest.raises(RecursionError):
                endless(0)
    assert recursive(registry)(50) == 50


@pytest.mark.parametrize("keys", ["", "skip=10**9", "when='after'", "skip=10**9, when='after'"])
def test_a_trampoline_takes_no_stack_of_c(keys: str) -> None:
    """So a program that raises the limit recurses as deep as it did, in half as many calls."""
    said = python(
        f"""
        import sys
        import chaospoint

        @chaospoint.point("p")
        def down(n):
            return n and 1 + down(n - 1)

        sys.setrecursionlimit(200_000)
        chaospoint.arm("p", latency=0, {keys})
        chaospoint.arm("p", latency=0, skip=10**9)
        print(down(20_000))
        chaospoint.disarm()
        chaospoint.arm("p", latency=0, {keys})
        print(down(20_000))
        """
    ).stdout
    assert said == "20000\n20000\n"


def test_every_level_of_a_recursion_is_reached_and_observed(registry: Registry) -> None:
    down = recursive(registry)
    with chaospoint.armed("p", registry=registry, latency=0) as armed:
        assert down(100) == 100
        assert armed.injections == 101
    with chaospoint.armed("p", registry=registry, returns=5, skip=10) as armed:
        assert down(100) == 15
        assert (armed.reaches, armed.injections) == (11, 1)
