"""Limits apply to one call as a whole, not to each of its faults."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from time import monotonic

import pytest

from chaospoint import Registry
from chaospoint._kernel.bell import Bell, TaskBell
from chaospoint.arming import Origin, install_plan
from chaospoint.errors import LimitExceeded
from chaospoint.faults.lookup import Trust
from chaospoint.plan import Plan, parse_plan
from chaospoint.plan.compiling import compile_plan
from chaospoint.plan.limits import MAX_FAULTS, Limits
from chaospoint.testing import FakeClock

TURN = 0.005
"""How long another thread computes before it gives up the turn that it was given."""


class Crowded(FakeClock):
    """A clock on a machine where who gives up the turn waits for it, and each wait is late."""

    def wait(self, woken: Bell, seconds: float | None) -> None:
        del woken
        assert seconds is not None
        self.advance(seconds + TURN)

    async def await_(self, woken: TaskBell, seconds: float | None) -> None:
        del woken
        assert seconds is not None
        self.advance(seconds + TURN)


class Slow(logging.Handler):
    """Takes long over each line."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if (line := record.getMessage()) == "here":  # and not what tells of the injection
            self.lines.append(line)
            self.clock.advance(0.02)


@pytest.fixture
def clock(registry: Registry) -> Iterator[Crowded]:
    made = Crowded()
    registry.engine.clock = made
    yield made
    registry.disarm()


@pytest.fixture
def slow(clock: Crowded) -> Iterator[Slow]:
    handler = Slow(clock)
    logger = logging.getLogger("chaospoint")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def arm(registry: Registry, limits: Limits, *faults: dict[str, object]) -> None:
    rule = {"point": "a", "faults": faults}
    install_plan(parse_plan([rule]), origin=Origin("http"), registry=registry, limits=limits)


def call(registry: Registry, clock: FakeClock, kind: str) -> float:
    before = clock.monotonic()
    with suppress(TimeoutError):  # of a hang
        if kind == "thread":
            registry.point("a").hit()
        else:
            asyncio.run(registry.point("a").ahit())
    return clock.monotonic() - before


YIELD: dict[str, object] = {"kind": "yield"}
PRINT: dict[str, object] = {"kind": "print", "message": "here"}


def delay(seconds: float) -> dict[str, object]:
    return {"kind": "latency", "seconds": seconds}


def hang(seconds: float) -> dict[str, object]:
    return {"kind": "hang", "seconds": seconds}


@pytest.mark.parametrize("kind", ["thread", "task"])
def test_giving_up_the_turn_counts_by_the_time_it_takes(
    registry: Registry, clock: Crowded, kind: str
) -> None:
    arm(registry, Limits(max_latency=0.05, max_hang=0.1), *[YIELD] * MAX_FAULTS)
    assert call(registry, clock, kind) == pytest.approx(0.05, abs=TURN)


@pytest.mark.parametrize("kind", ["thread", "task"])
def test_printing_counts_by_the_time_it_takes(
    registry: Registry, clock: Crowded, slow: Slow, kind: str
) -> None:
    arm(registry, Limits(max_latency=0.05), *[PRINT] * 30)
    assert call(registry, clock, kind) == pytest.approx(0.06)
    assert slow.lines == ["here"] * 3


@pytest.mark.parametrize("kind", ["thread", "task"])
def test_all_faults_of_a_firing_share_one_limit(
    registry: Registry, clock: Crowded, slow: Slow, kind: str
) -> None:
    """Whatever they are, and however late each of them ends."""
    parts = [delay(0.01), YIELD, PRINT, {"kind": "delay", "seconds": 0.0}, *[delay(0.001)] * 20]
    arm(registry, Limits(max_latency=0.05), *parts)
    assert 0.05 <= call(registry, clock, kind) <= 0.05 + TURN
    assert slow.lines == ["here"]


@pytest.mark.parametrize("kind", ["thread", "task"])
def test_delays_and_holds_have_a_limit_each(registry: Registry, clock: Crowded, kind: str) -> None:
    arm(registry, Limits(max_latency=0.05, max_hang=0.1), *[YIELD] * 30, hang(0.1))
    assert call(registry, clock, kind) == pytest.approx(0.15, abs=2 * TURN)


def test_a_late_wait_is_taken_off_the_next(registry: Registry, clock: Crowded) -> None:
    arm(registry, Limits(max_latency=1.0), *[delay(0.25)] * 4)
    assert 1.0 <= call(registry, clock, "thread") <= 1.0 + 2 * TURN


def test_faults_within_the_limits_act_fully(registry: Registry, clock: Crowded) -> None:
    arm(registry, Limits(max_latency=10, max_hang=10), delay(1), YIELD, hang(2), delay(1))
    assert call(registry, clock, "thread") == pytest.approx(4 + 4 * TURN)
    (rule,) = registry.rules()
    assert rule.injections == 1


def test_code_is_bound_by_nothing(registry: Registry, clock: Crowded) -> None:
    registry.point("a")
    plan = Plan(rules=[{"point": "a", "faults": [YIELD] * 1000}])
    install_plan(plan, origin=Origin("code"), registry=registry)
    assert call(registry, clock, "thread") == pytest.approx(1000 * TURN)


def test_a_call_is_held_no_longer_while_another_thread_computes(registry: Registry) -> None:
    """The same by the real clock, with the most faults that a rule from outside may have."""
    arm(registry, Limits(max_latency=0.05, max_hang=0.1), *[YIELD] * MAX_FAULTS)
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=compute, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        began = monotonic()
        registry.point("a").hit()
        assert monotonic() - began < 10  # 0.05 s, and a turn of each thread
    finally:
        over.set()
        for thread in threads:
            thread.join(10)


# Before and after

CALLS = ["function", "coroutine", "generator", "async generator", "wrapped", "asked"]


def placed(registry: Registry, kind: str, clock: FakeClock) -> Callable[[], object]:
    """Return what calls a placement of the kind; the call itself takes a second."""
    point = registry.point("a")

    @point
    def function(user: str = "") -> None:
        clock.advance(1)

    @point
    async def coroutine() -> None:
        clock.advance(1)

    @point
    def generator() -> Iterator[int]:
        yield 1
        clock.advance(1)

    @point
    async def agenerator() -> AsyncIterator[int]:
        yield 1
        clock.advance(1)

    async def consume() -> None:
        async for _ in agenerator():
            pass

    return {
        "function": function,
        "asked": lambda: function(user="u"),
        "coroutine": lambda: asyncio.run(coroutine()),
        "generator": lambda: list(generator()),
        "async generator": lambda: asyncio.run(consume()),
        "wrapped": point(partial(clock.advance, 1)),
    }[kind]


def after(*faults: dict[str, object]) -> list[dict[str, object]]:
    return [{"point": "a", "faults": faults}, {"point": "a", "faults": faults, "when": "after"}]


@pytest.mark.parametrize("many", [1, 40], ids=["few rules", "many rules"])
@pytest.mark.parametrize("kind", CALLS)
def test_before_and_after_a_call_share_one_limit(
    registry: Registry, clock: Crowded, kind: str, many: int
) -> None:
    call = placed(registry, kind, clock)
    rules = after(delay(0.03), YIELD, {"kind": "pause"})
    if kind == "asked":
        rules = [{**rule, "where": {"user": "u"}} for rule in rules]
    limits = Limits(max_latency=0.05, max_hang=0.1)
    more = [{"point": "a", "rule": "off", "when": "after"}] * many
    install_plan(
        parse_plan([*rules, *more]),
        origin=Origin("http"),
        registry=registry,
        limits=limits,
    )
    began = clock.monotonic()
    call()
    assert [rule.injections for rule in registry.rules()][:2] == [1, 1]
    assert clock.monotonic() - began == pytest.approx(1.15, abs=4 * TURN)


@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_each_call_has_the_whole_limit(registry: Registry, clock: Crowded, kind: str) -> None:
    call = placed(registry, kind, clock)
    install_plan(
        parse_plan(after(delay(0.04))),
        origin=Origin("http"),
        registry=registry,
        limits=Limits(max_latency=0.05),
    )
    for _ in range(3):
        began = clock.monotonic()
        call()
        assert clock.monotonic() - began == pytest.approx(1.05, abs=2 * TURN)


def test_faults_within_the_limits_act_fully_before_and_after_the_call(
    registry: Registry, clock: Crowded
) -> None:
    call = placed(registry, "function", clock)
    install_plan(
        parse_plan(after(delay(2), {"kind": "return", "value": 7})[1:] + after(delay(2))[:1]),
        origin=Origin("http"),
        registry=registry,
        limits=Limits(max_latency=10),
    )
    began = clock.monotonic()
    assert call() == 7
    assert clock.monotonic() - began == pytest.approx(5, abs=3 * TURN)


class Halting(FakeClock):
    """A clock that each wait moves on by 0.4 s at most, after which something happens."""

    def __init__(self) -> None:
        super().__init__()
        self.then: Callable[[], object] = lambda: None

    def wait(self, woken: Bell, seconds: float | None) -> None:
        del woken
        assert seconds is not None
        self.advance(min(seconds, 0.4))
        self.then()

    async def await_(self, woken: TaskBell, seconds: float | None) -> None:
        del woken
        assert seconds is not None
        self.advance(min(seconds, 0.4))
        self.then()


@pytest.mark.parametrize("fault", ["latency", "hang"])
@pytest.mark.parametrize("end", ["disarmed", "expired"])
@pytest.mark.parametrize("kind", CALLS)
def test_time_that_a_rule_used_before_it_ended_counts(
    registry: Registry, kind: str, end: str, fault: str
) -> None:
    """The rule that acts after the call has only the rest, here 0.1 s."""
    registry.engine.clock = clock = Halting()
    call = placed(registry, kind, clock)
    rule = {"point": "a", "faults": [{"kind": fault, "seconds": 0.5}], "expires_after": 60}
    before, after = (
        install_plan(
            parse_plan([{**rule, **more}]),
            origin=Origin("http"),
            registry=registry,
            limits=Limits(max_latency=0.5, max_hang=0.5),
        )
        for more in ({"expires_after": 0.4} if end == "expired" else {}, {"when": "after"})
    )
    clock.then = before.disarm if end == "disarmed" else registry.engine.expire
    with suppress(TimeoutError):  # of the second hang
        call()
    assert before.rules[0].state == end
    assert (before.injections, after.injections) == (1, 1)
    assert clock.monotonic() == pytest.approx(1.5)
    registry.disarm()


# How many


@pytest.mark.parametrize("trust", ["deferred", "loaded"])
@pytest.mark.parametrize("form", ["faults", "text"])
def test_a_rule_from_outside_has_few_faults(trust: Trust, form: str) -> None:
    def rule(count: int) -> dict[str, object]:
        if form == "text":
            return {"point": "a.b", "rule": "+".join(["yield"] * count)}
        return {"point": "a.b", "faults": [YIELD] * count}

    compile_plan(parse_plan([rule(MAX_FAULTS)]), trust=trust)
    with pytest.raises(
        LimitExceeded, match=r"^rule 'a\.b': 65 faults, and .* may have at most 64; "
    ):
        compile_plan(parse_plan([rule(MAX_FAULTS + 1)]), trust=trust)
    compile_plan(parse_plan([rule(MAX_FAULTS + 1)]), trust="code")
