"""A loop makes exactly the calls that it says, and three are run by turns in swapped order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest

from benchmarks.kinds import KINDS, Kind, bare, trio
from benchmarks.loops import UNROLLED, Loop, loop
from benchmarks.measure import Effort, Trio, alternate, sample

pytestmark = pytest.mark.once


class Clock:
    """Shows a nanosecond more whenever it is looked at."""

    def __init__(self) -> None:
        self.looks = count()

    def __call__(self) -> int:
        return next(self.looks)


@pytest.mark.parametrize("unrolled", [1, 7, UNROLLED])
@pytest.mark.parametrize("passes", [1, 3])
def test_a_loop_makes_as_many_calls_as_it_says(unrolled: int, passes: int) -> None:
    made: list[int] = []
    one = loop("call(1)", {"call": made.append}, unrolled=unrolled)
    one.run(passes)
    assert len(made) == one.calls * passes == unrolled * passes


def test_an_async_loop_makes_as_many_calls_as_it_says() -> None:
    made: list[int] = []

    async def call() -> None:
        made.append(1)

    one = loop("await call()", {"call": call}, awaits=True)
    one.run(2)
    assert len(made) == one.calls * 2 == 2 * UNROLLED


def test_the_clock_is_looked_at_twice_a_run_and_not_in_between() -> None:
    assert loop("pass", {}, clock=Clock()).run(5) == 1


def test_what_waits_for_an_event_loop_is_refused() -> None:
    class Waits:
        def __await__(self) -> Iterator[None]:
            yield

    one = loop("await waits", {"waits": Waits()}, awaits=True)
    with pytest.raises(RuntimeError, match="event loop"):
        one.run(1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_is_compiled_anew_and_run_to_its_end(kind: Kind) -> None:
    placed: list[Any] = []

    def place(target: Any) -> Any:
        placed.append(target)
        return target

    assert kind.loop(kind.make(place)).run(1) > 0
    assert kind.loop(kind.make(place)).run(1) > 0
    first, second = placed
    assert first.__code__ is not second.__code__


def scripted(name: str, log: list[str], nanoseconds: int) -> Loop:
    def run(passes: int) -> int:
        log.append(name)
        return nanoseconds * passes

    return Loop(run, calls=10)


def test_the_order_is_swapped_every_other_round() -> None:
    log: list[str] = []
    # So slow that each is warmed up by one run.
    three = Trio(*(scripted(name, log, 10**9 * nth) for nth, name in enumerate("obc", 1)))
    part = alternate(three, rounds=3)
    assert "".join(log) == "obc" + "obc" + "cbo" + "obc"
    assert part.ours == (1e8,) * 3
    assert part.base == (2e8,) * 3
    assert part.control == (3e8,) * 3


def test_a_repeat_is_made_about_four_tenths_of_a_millisecond_long() -> None:
    passes: list[int] = []

    def run(wanted: int) -> int:
        passes.append(wanted)
        return wanted * 2_000

    one = Loop(run, calls=100)
    part = alternate(Trio(one, one, one), rounds=2)
    assert passes[-6:] == [200] * 6
    assert part.ours == (20.0, 20.0)


def test_every_build_is_new_and_is_undone() -> None:
    undone: list[int] = []
    numbers = count()

    def build(stack: ExitStack) -> Trio:
        stack.callback(undone.append, next(numbers))
        return Trio(*(scripted("", [], 10**9) for _ in range(3)))

    parts = sample(build, Effort(quick=True, builds=3, rounds=2))
    assert len(parts) == 3
    assert undone == [0, 1, 2]


def test_ours_base_and_control_are_three_things() -> None:
    kind = next(iter(KINDS))
    with ExitStack() as stack:
        made = trio(kind, lambda _: kind.make(bare))(stack)
    called = {one.run.__globals__["it"] for one in (made.ours, made.base, made.control)}
    assert len(called) == 3
    assert len({function.__code__ for function in called}) == 1  # equal
    assert len({id(function.__code__) for function in called}) == 3  # and not the same
