"""Law 5. Observers are told before the effect, so a count is right even when that is an error."""

from __future__ import annotations

import pytest
from helpers import PATIENCE, PLACES, Boom, Threads, Witness, finish, place
from prometheus_client import REGISTRY

from chaospoint import Injection, Registry, arm
from chaospoint.testing import FakeClock


class _Builds(Boom):
    """An exception that notes when it is made."""

    when: list[str]

    def __init__(self) -> None:
        self.when.append("raised")


class _Notes:
    """An observer that notes when it is told."""

    def __init__(self, clock: FakeClock, when: list[str]) -> None:
        self._clock = clock
        self._when = when

    def observe(self, injection: Injection) -> None:
        self._when.append("slept" if 30 in self._clock.waits else "told")


def test_law_05_observers_are_informed_before_the_effect(
    still: Registry, clock: FakeClock, pool: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The observers hear of an injection before it sleeps, and before it raises."""
    when: list[str] = []
    monkeypatch.setattr(_Builds, "when", when, raising=False)
    call = place(still.point("bank.charge"), "function")
    arm("bank.charge", latency=30, exception=_Builds, registry=still)
    when.clear()  # one was built when arming
    still.add_observer(_Notes(clock, when))
    sleeper = pool.submit(call)
    clock.until_waiting(30)
    assert "told" in when
    assert not sleeper.done()
    clock.advance(30)
    assert isinstance(sleeper.exception(PATIENCE), _Builds)
    assert when.count("told") == 1


@pytest.mark.parametrize("name", list(PLACES))
def test_law_05_injected_exceptions_are_counted_everywhere(name: str, registry: Registry) -> None:
    """Handle, metric and observer all count an injection whose effect is an exception."""
    point = f"law-05.{name.replace('_', '-')}"
    call = place(registry.point(point), name)
    witness = Witness()
    registry.add_observer(witness)
    handle = arm(point, exception=Boom, times=3, registry=registry)
    for _ in range(3):
        with pytest.raises(Boom):
            finish(call())
    assert finish(call()) == 7
    registry.flush()
    labels = {"point": point, "fault": "exception"}
    assert REGISTRY.get_sample_value("chaospoint_injections_total", labels) == 3
    assert REGISTRY.get_sample_value("chaospoint_reaches_total", {"point": point}) == 4
    assert [injection.ordinal for injection in witness.injections] == [1, 2, 3]
    assert {injection.exception for injection in witness.injections} == {"Boom"}
    assert (handle.injections, handle.reaches) == (3, 4)


def test_law_05_exceptions_of_observers_are_logged_and_never_passed_on(
    registry: Registry, expected_bugs: list[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """An observer that breaks takes neither the call nor the other observers with it."""

    class Breaks:
        def observe(self, injection: Injection) -> None:
            raise RuntimeError("the sink is full")

    before, after = Witness(), Witness()
    for observer in (before, Breaks(), after):
        registry.add_observer(observer)
    call = place(registry.point("bank.charge"), "function")
    arm("bank.charge", returns=8, registry=registry)
    assert [call() for _ in range(3)] == [8, 8, 8]
    assert len(before.injections) == len(after.injections) == 3
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "the sink is full" in errors[0]


def test_law_05_a_handle_counts_before_its_observers_are_informed(registry: Registry) -> None:
    """Who is told of the n-th injection finds n in the counts of the handle."""
    seen: list[int] = []

    class Looks:
        def observe(self, injection: Injection) -> None:
            seen.append(handle.injections)

    registry.add_observer(Looks())
    point = registry.point("db.query")
    handle = arm("db.query", latency=0, registry=registry)
    for _ in range(3):
        point.hit()
    assert seen == [1, 2, 3]
