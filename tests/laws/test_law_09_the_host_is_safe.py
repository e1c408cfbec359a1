"""Law 9. The host is safe: after a bug of chaospoint the call continues, and one line is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from helpers import PLACES, Boom, Witness, afinish, finish, place, places, run

from chaospoint import Injection, Point, Registry, arm
from chaospoint._kernel.chance import Draws, Schedule
from chaospoint._kernel.compiled_rule import CompiledRule
from chaospoint._kernel.effects import Effect, Raise, Sleep
from chaospoint.arming import Origin, install_plan
from chaospoint.errors import InvalidPlan
from chaospoint.plan import parse_plan
from chaospoint.testing import FakeClock

NAMES = tuple(PLACES)


class Breaks:
    """A fault that is whole when it is armed, and broken when it fires."""

    kind = "breaks"

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        if draws.uniform("outcome") and draws._ordinal:
            raise ZeroDivisionError("a bug in a fault")
        return (Sleep(0.0),)


def _cannot_be_built() -> BaseException:
    raise ZeroDivisionError("a bug in an exception")


class Builds:
    """A fault whose exception cannot be built."""

    kind = "builds"

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        return (Raise(_cannot_be_built, "Boom"),)


def _terms(fault: Any, **keys: Any) -> CompiledRule:
    return CompiledRule("bank.charge", "one", (fault,), Schedule(1), **keys)


def _in_a_fault(registry: Registry) -> None:
    registry.install([_terms(Breaks())], source="code")


def _in_an_exception(registry: Registry) -> None:
    registry.install([_terms(Builds())], source="code")


class _Unspeakable:
    def __format__(self, spec: str) -> str:
        raise ZeroDivisionError("a bug of ours")


def _in_a_schedule(registry: Registry) -> None:
    schedule = Schedule(seed=_Unspeakable(), probability=0.5)  # type: ignore[arg-type]
    registry.install([CompiledRule("bank.charge", "one", (Breaks(),), schedule)], source="code")


def _in_looking_up(registry: Registry) -> None:
    registry.install([_terms(Builds(), resolve=_cannot_be_built)], source="env")


def _in_the_clock(registry: Registry) -> None:
    clock = registry.engine.clock
    arm("bank.charge", latency=30, registry=registry)
    registry.engine.housekeeper.stop()
    clock.monotonic = clock.time_in = _cannot_be_built  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "bug",
    [_in_a_fault, _in_an_exception, _in_a_schedule, _in_looking_up, _in_the_clock],
    ids=lambda bug: bug.__name__.strip("_"),
)
def test_law_09_a_bug_lets_the_call_through_and_is_logged_once(
    bug: Callable[[Registry], None],
    name: str,
    still: Registry,
    expected_bugs: list[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Wherever it breaks, the caller gets what it called for, and the log says so once."""
    call = place(still.point("bank.charge"), name)
    bug(still)
    assert [finish(call()) for _ in range(3)] == [7, 7, 7]
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "the call continues without a fault" in errors[0]
    still.disarm()
    assert finish(call()) == 7


def test_law_09_a_log_handler_that_raises_does_not_reach_the_call(
    registry: Registry, expected_bugs: list[BaseException]
) -> None:
    """Not even when the bug cannot be told of."""

    class Full(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no space left on device")

    calls = places(registry.point("bank.charge"))
    log, full = logging.getLogger("chaospoint"), Full()
    log.addHandler(full)
    try:
        registry.install([_terms(Breaks())], source="code")
        assert [finish(call()) for call in calls.values()] == [7] * len(calls)
        registry.disarm()
        arm("bank.charge", latency=0, registry=registry)

        async def on_a_loop() -> list[Any]:
            return [await afinish(call()) for call in calls.values()]

        assert run(on_a_loop()) == [7] * len(calls)
    finally:
        log.removeHandler(full)


@pytest.mark.parametrize("name", ["coroutine", "async_generator", "async_block"])
def test_law_09_cancellation_and_interrupts_are_not_bugs(name: str, registry: Registry) -> None:
    """Cancelling a delayed task, and interrupting a call, pass through untouched."""
    call = place(registry.point("bank.charge"), name)
    handle = arm("bank.charge", latency=30, registry=registry)

    async def main() -> None:
        task = asyncio.ensure_future(afinish(call()))
        await handle.await_for()
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task

    run(main())
    assert (handle.injections, handle.interrupted) == (1, 0)
    (rule,) = handle.rules
    assert rule.sleepers == set()


def test_law_09_ctrl_c_passes_through(still: Registry, clock: FakeClock) -> None:
    """An interrupt that comes during a sleep is the caller's, not ours."""
    call = place(still.point("bank.charge"), "function")
    handle = arm("bank.charge", latency=30, registry=still)
    still.engine.housekeeper.stop()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    clock.wait = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        call()
    assert handle.rules[0].sleepers == set()


@pytest.mark.parametrize("source", ["code", "http", "env", "file"])
def test_law_09_a_bad_plan_is_refused_whole_and_the_last_good_one_stays(
    source: Any, registry: Registry
) -> None:
    """One bad rule among good ones, and nothing of the plan is armed."""
    call = place(registry.point("bank.charge"), "function")

    def install(*rules: dict[str, Any]) -> None:
        install_plan(
            parse_plan(list(rules)),
            origin=Origin(source),
            registry=registry,
            replace=source in ("env", "file"),
        )

    install({"point": "bank.charge", "returns": 8})
    bad: tuple[dict[str, Any], ...] = (
        {"point": "bank.charge", "latency": "soon"},
        {"point": "bank.charge", "exception": "NoSuchError"},
        {"point": "bank.charge", "exception": "no.such.module.Error"},
        {"point": "bank.charge", "latency": 1, "probability": 1.5},
        {"point": "bank.charge"},
    )
    for one in bad:
        with pytest.raises(InvalidPlan, match=r"bank\.charge"):
            install({"point": "bank.charge", "returns": 9}, one)
        assert call() == 8
        assert len(registry.rules()) == 1


class _Calls:
    """An observer that calls decorated functions, as one that writes to a database would."""

    def __init__(self, point: Point, calls: dict[str, Callable[[], Any]]) -> None:
        self._point = point
        self._calls = calls
        self.got: list[Any] = []

    def observe(self, injection: Injection) -> None:
        self._reach()

    def notice(self, notice: object) -> None:
        self._reach()

    def _reach(self) -> None:
        self.got += [call() for name, call in self._calls.items() if name in _PLAIN]
        self._point.hit()


_PLAIN = ("function", "method", "block", "statement", "wrapped")


def test_law_09_inside_chaospoint_every_point_is_transparent(registry: Registry) -> None:
    """What an observer calls passes through every kind of placement, and is no reach."""
    point = registry.point("bank.charge")
    calls = places(point)
    observer, witness = _Calls(point, calls), Witness()
    registry.add_observer(observer)
    registry.add_observer(witness)
    handle = arm("bank.charge", exception=Boom, registry=registry)
    with pytest.raises(Boom):
        point.hit()
    registry.flush()
    handle.disarm()
    assert set(observer.got) == {7}
    assert len(observer.got) >= 4 * len(_PLAIN)
    assert (handle.reaches, handle.injections, len(witness.injections)) == (1, 1, 1)
