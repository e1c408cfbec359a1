"""`explore` runs a function without faults and once for each case, and reports each result."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import PATIENCE, python

from chaospoint import ChaosError, InjectedFault, Registry, armed, injection_of
from chaospoint.errors import InvalidPlan
from chaospoint.testing import Exploration, explore
from chaospoint.testing.clocks.skipping import skipping
from chaospoint.testing.exploring import time_limit


@pytest.fixture(autouse=True)
def _alarm_restored() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


def outcomes(found: Exploration) -> dict[str, str]:
    return {one.case: one.outcome for one in found.cases}


def test_each_call_is_failed_in_turn(registry: Registry) -> None:
    point = registry.point("bank.charge")
    ran: list[list[str]] = []

    def pay() -> None:
        ran.append([])
        for _ in range(2):
            try:
                with point:
                    ran[-1].append("charged")
            except InjectedFault as error:
                ran[-1].append("failed" if injection_of(error) else "?")

    found = explore(pay, latency=None, after=False, registry=registry)
    assert ran == [*[["charged", "charged"]] * 2, ["failed", "charged"], ["charged", "failed"]]
    assert outcomes(found) == {
        "bank.charge#1 raise(InjectedFault)": "handled",
        "bank.charge#2 raise(InjectedFault)": "handled",
    }
    assert found.exhaustive
    assert not found.findings
    found.check()
    assert not registry.rules()


def test_what_escapes_is_a_finding_that_says_how_to_repeat_it(registry: Registry) -> None:
    point = registry.point("bank.charge", raises=TimeoutError)

    def pay() -> None:
        try:
            with point:
                pass
        except TimeoutError as error:
            raise KeyError("order 7\nsecond line") from error

    found = explore(pay, registry=registry)
    failed, lost, late = found.cases
    assert (failed.outcome, failed.escaped, failed.injected) == (
        "failed",
        "KeyError: 'order 7\\nsecond line'",
        True,
    )
    assert lost.finding
    assert (late.outcome, late.waited) == ("handled", 600.0)
    with pytest.raises(AssertionError) as raised:
        found.check()
    assert "explore(" in str(raised.value)
    assert "case='bank.charge#1 after raise(TimeoutError)')" in str(raised.value)
    again = explore(pay, registry=registry, case="bank.charge#1 after raise(TimeoutError)")
    assert [(one.case, one.outcome) for one in again.cases] == [(lost.case, "failed")]
    assert not again.exhaustive


def test_an_error_that_a_fault_did_not_cause_is_told_apart(registry: Registry) -> None:
    point = registry.point("bank.charge")
    charged: list[int] = []

    def pay() -> None:
        charged.clear()
        for _ in range(2):
            try:
                with point:
                    charged.append(1)
                break
            except InjectedFault:
                pass
        assert len(charged) == 1, "charged twice"

    lost = explore(pay, latency=None, registry=registry).findings[0]
    assert (lost.when, lost.escaped.partition("\n")[0]) == (
        "after",
        "AssertionError: charged twice",
    )
    assert not lost.injected


def test_coroutines_have_a_loop_of_their_own_each_time(registry: Registry) -> None:
    loops = []

    async def pay() -> None:
        loops.append(asyncio.get_running_loop())
        try:
            async with asyncio.timeout(30), registry.point("bank.charge"):
                await asyncio.sleep(0)
        except (InjectedFault, TimeoutError):
            pass

    found = explore(pay, registry=registry)
    assert set(outcomes(found).values()) == {"handled"}
    assert len({id(loop) for loop in loops}) == len(loops) == 5
    assert found.cases[-1].waited == 30.0  # the timeout cut the ten minutes short


def test_reaches_in_other_threads_and_on_statements_count(registry: Registry) -> None:
    def pay() -> None:
        thread = threading.Thread(target=registry.point("bank.charge")(lambda: None))
        thread.start()
        thread.join()
        registry.point("audit").hit()

    before = threading.excepthook, sys.unraisablehook
    found = explore(pay, registry=registry, latency=None)
    assert (threading.excepthook, sys.unraisablehook) == before
    assert outcomes(found) == {
        "bank.charge#1 raise(InjectedFault)": "failed",
        "audit#1 raise(InjectedFault)": "failed",
        "bank.charge#1 after raise(InjectedFault)": "failed",
    }
    assert "unhandled in thread 'Thread (" in str(found.findings[0])


@pytest.mark.parametrize(
    "stuck",
    [
        pytest.param(lambda: threading.Event().wait(PATIENCE), id="waits"),
        pytest.param(lambda: asyncio.run(asyncio.sleep(PATIENCE)), id="waits on a loop"),
        pytest.param(lambda: [None for _ in iter(int, 1)], id="spins"),
    ],
)
def test_what_does_not_come_back_is_hung(registry: Registry, stuck: Callable[[], object]) -> None:
    point = registry.point("bank.charge")

    def pay() -> None:
        try:
            with point:
                pass
        except Exception:
            stuck()

    began = time.monotonic()
    found = explore(pay, registry=registry, after=False, limit_seconds=0.5)
    assert time.monotonic() - began < PATIENCE
    assert outcomes(found) == {
        "bank.charge#1 raise(InjectedFault)": "hung",
        "bank.charge#1 latency(600s)": "handled",
    }
    assert "hung, it did not end within 0.5 s" in str(found.findings[0])


def test_what_swallows_the_end_of_its_time_is_hung_all_the_same(registry: Registry) -> None:
    point = registry.point("bank.charge")

    def pay() -> None:
        try:
            with point:
                pass
        except Exception:
            try:
                threading.Event().wait(PATIENCE)
            except BaseException:
                pass

    found = explore(pay, registry=registry, after=False, latency=None, limit_seconds=0.05)
    assert [one.outcome for one in found.cases] == ["hung"]


def test_what_an_event_loop_swallows_strikes_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event loop logs exceptions of its callbacks, and continues."""
    monkeypatch.setattr(time_limit, "_REPEAT", 0.5)

    async def pay() -> None:
        try:
            registry.point("bank.charge").hit()
        except InjectedFault:
            asyncio.get_running_loop().call_soon(threading.Event().wait, PATIENCE)
            await asyncio.sleep(PATIENCE)

    found = explore(pay, registry=registry, latency=None, limit_seconds=0.05)
    assert [one.outcome for one in found.cases] == ["hung"]


def test_an_alarm_that_comes_late_strikes_nobody() -> None:
    with time_limit.TimeLimit(PATIENCE) as limit:
        with pytest.raises(time_limit.Hung):
            limit._strike()
        limit.struck = False
    limit._strike()
    assert not limit.struck


def test_an_alarm_that_somebody_else_uses_is_left_alone() -> None:
    """Such as a plugin that limits the time of each test."""
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        with time_limit.TimeLimit(0.001):
            assert signal.getitimer(signal.ITIMER_REAL)[0] > 1.0
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 1.0
        assert not time_limit.can_interrupt()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def test_on_another_thread_it_says_that_hangs_are_not_seen(registry: Registry) -> None:
    found: list[Exploration] = []
    point = registry.point("bank.charge")

    def pay() -> None:
        with point:
            pass

    thread = threading.Thread(
        target=lambda: found.append(explore(pay, registry=registry, limit_seconds=0.001))
    )
    thread.start()
    thread.join(PATIENCE)
    assert not found[0].exhaustive
    assert "hangs: they can only be ended on the main thread" in found[0].left_out[0]


def test_a_bound_is_said(registry: Registry) -> None:
    point = registry.point("bank.charge")

    def pay() -> None:
        for _ in range(5):
            point.hit()

    found = explore(pay, registry=registry, max_cases=3)
    assert len(found.cases) == 3
    assert found.left_out == ("7 of 10 cases, because the maximum is 3",)
    assert not found.exhaustive
    assert "not exhaustive: 1 left out" in str(found)


def test_a_reach_that_does_not_come_again_is_left_out(registry: Registry) -> None:
    point = registry.point("cache.fill")
    filled: list[int] = []

    def read() -> None:
        if not filled:
            point.hit()
            filled.append(1)

    found = explore(read, registry=registry, latency=None)
    assert found.cases == ()
    assert found.left_out == (
        "its reaches differ from run to run, even without a fault",
        "cache.fill#1 raise(InjectedFault): not reached again",
    )


def test_what_fails_before_its_fault_says_so(registry: Registry) -> None:
    ran: list[int] = []

    def read() -> None:
        ran.append(1)
        assert len(ran) <= 2, "not fresh"
        registry.point("db").hit()

    found = explore(read, registry=registry, latency=None)
    assert found.left_out == (
        "db#1 raise(InjectedFault): not reached again: AssertionError: not fresh came before",
    )


def test_what_passes_only_once_is_not_explored(registry: Registry) -> None:
    """Otherwise each failure under a fault would count as a finding."""
    ran: list[int] = []

    def read() -> None:
        registry.point("db").hit()
        ran.append(1)
        assert len(ran) == 1, "not fresh"

    found = explore(read, registry=registry)
    assert (found.cases, found.left_out) == (
        (),
        ("not explored: a second run without faults failed with AssertionError: not fresh",),
    )
    assert len(ran) == 2


def test_a_late_answer_is_left_out_where_the_test_has_a_clock_of_its_own(
    registry: Registry,
) -> None:
    def pay() -> None:
        with registry.point("bank.charge"):
            pass
        with skipping(registry):
            pass

    found = explore(pay, registry=registry, after=False, exceptions=[OSError])
    assert [one.case for one in found.cases] == ["bank.charge#1 raise(OSError)"]
    assert found.left_out[0].startswith(
        "bank.charge#1 latency(600s): the clock of the test could not skip it"
    )


def test_a_function_that_fails_by_itself_is_refused(registry: Registry) -> None:
    def pay() -> None:
        raise KeyError("order")

    with pytest.raises(ChaosError, match=r"pay fails without a fault, with KeyError: 'order'"):
        explore(pay, registry=registry)
    assert not registry.engine.watches


def test_points_that_nothing_reaches_are_said(registry: Registry) -> None:
    registry.point("bank.charge")
    found = explore(
        lambda: registry.point("db.query").hit(), points="bank.chrge", registry=registry
    )
    assert found.left_out == (
        "no point that 'bank.chrge' matches was reached; the nearest: bank.charge; reached were "
        "db.query",
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"max_cases": 0}, "max_cases=0"),
        ({"max_cases": True}, "max_cases=True"),
        ({"points": "Not a name"}, "Not a name"),
        ({"latency": "soon"}, "soon"),
        ({"exceptions": [int]}, "int"),
        ({"limit_seconds": 0}, "limit_seconds=0"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidPlan, match=said):
        explore(lambda: pytest.fail("it ran"), **keys)


async def _nothing() -> None:
    pass


def test_a_coroutine_cannot_be_explored_on_a_running_loop(registry: Registry) -> None:
    async def main() -> None:
        explore(_nothing, registry=registry)

    with pytest.raises(ChaosError, match=r"call explore\(\) from a plain function"):
        asyncio.run(main())


def test_rules_that_are_armed_already_stay(registry: Registry) -> None:
    point = registry.point("bank.charge")
    with armed("bank.*", latency=0, times=1, registry=registry) as handle:
        assert explore(lambda: point.hit(), registry=registry).findings
        assert handle.rules == registry.rules()


def test_ctrl_c_passes(registry: Registry) -> None:
    point = registry.point("bank.charge")

    def pay() -> None:
        try:
            point.hit()
        except InjectedFault:
            raise KeyboardInterrupt from None

    with pytest.raises(KeyboardInterrupt):
        explore(pay, registry=registry)
    assert not registry.rules()


def test_it_is_the_same_each_time_and_plain_data(registry: Registry) -> None:
    def pay() -> None:
        registry.point("bank.charge").hit()
        with registry.point("db.query", raises=OSError):
            pass

    first, second = (explore(pay, registry=registry) for _ in range(2))
    assert first.to_json() == second.to_json()
    data = json.loads(first.to_json())
    assert data["exhaustive"] is True
    assert data["findings"] == 3
    assert list(data["reaches"]) == ["bank.charge#1", "db.query#1"]
    assert data["reaches"]["db.query#1"][0] == {
        "case": "db.query#1 raise(OSError)",
        "when": "before",
        "fault": "raise(OSError)",
        "outcome": "failed",
        "escaped": "OSError",
        "injected": True,
    }


def test_it_reads_as_a_table_and_a_list_of_findings(registry: Registry) -> None:
    def pay() -> None:
        for _ in range(3):
            with registry.point("db.query"):
                pass
        try:
            registry.point("bank.charge").hit()
        except InjectedFault:
            pass

    text = str(explore(pay, registry=registry))
    assert [line.split() for line in text.splitlines()[1:4]] == [
        ["handled", "failed", "hung"],
        ["bank.charge#1", "2", "-", "-"],
        ["db.query#1", "to", "#3", "3", "6", "-"],
    ]
    assert "11 cases at 4 reaches, 6 not handled; exhaustive" in text
    assert "at bank.charge, db.query the test waited for the late answer" in text


def test_thousand_injections_do_not_flood_the_log(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chaospoint")
    found = explore(lambda: registry.point("bank.charge").hit(), registry=registry)
    assert found.findings
    assert not [record for record in caplog.records if "injected" in record.message]


def test_asking_for_it_loads_nothing() -> None:
    python(
        """
        import sys
        import chaospoint.testing
        import chaospoint.testing.plugin
        assert not {"pydantic", "rich", "hypothesis"} & set(sys.modules)
        """
    )
