"""A rule never acts after its deadline, and ends then, whatever else happens in the process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers import PATIENCE, PLACES, Boom, Witness, afinish, finish, place, python, run

from chaospoint import Registry, arm, disable, disarm
from chaospoint._kernel.lock import arming_lock
from chaospoint._registry.notices import RuleDisarmed
from chaospoint.testing import FakeClock

BEGIN = """
import asyncio, ctypes, logging, os, subprocess, sys, threading, time
import chaospoint

registry = chaospoint.Registry.default()
housekeeper = registry.engine.housekeeper

@chaospoint.point("bank.hold")
def hold():
    return "held"

@chaospoint.point("bank.ahold")
async def ahold():
    return "held"

@chaospoint.point("bank.charge")
def charge():
    return "paid"

plain = charge.__code__
came_back = {}

def wait():
    hold()
    came_back["thread"] = time.monotonic()

async def await_():
    await ahold()
    came_back["task"] = time.monotonic()

def kill(watch):
    # The thread ends without any cleanup, as if something had killed it.
    thread, watch._round = watch._thread, lambda: False
    watch._look.set()
    thread.join(30)
    assert not thread.is_alive()
    del watch._round

class Observer:
    def observe(self, injection):
        pass
    def notice(self, notice):
        if type(notice).__name__ == "RuleDisarmed":
            obstruct()

class Handler(logging.Handler):
    def emit(self, record):
        if "expired" in record.getMessage():
            obstruct()

def hog():
    while True:
        sum(range(400_000))  # some 10 ms, in which no other thread runs

def lateness():
    came_back.clear()
    held = chaospoint.arm("bank.*hold", hang=True, expires_after=60)
    bodies = (wait, lambda: asyncio.run(await_()))
    callers = [threading.Thread(target=body, daemon=True) for body in bodies]
    for caller in callers:
        caller.start()
    held.wait_for(injections=2)
    fails = chaospoint.arm("bank.charge", exception=TimeoutError, expires_after=60)
    deadline = time.monotonic() + 0.5
    for rule in (*held.rules, *fails.rules):
        rule.deadline = deadline
    housekeeper.start(deadline)
    BETWEEN()
    while (began := time.monotonic()) < deadline + 0.005 or charge.__code__ is not plain:
        assert began < deadline + 30
        try:
            charge()
        except TimeoutError:
            assert began < deadline, began - deadline
        time.sleep(0.002)  # paces the calls, so that they leave the GIL to other threads
    restored = time.monotonic()
    for caller in callers:
        caller.join(30)
    assert len(came_back) == 2
    assert [rule.state for rule in (*held.rules, *fails.rules)] == ["expired"] * 2
    return max(restored, *came_back.values()) - max(deadline, CONTINUED)

CONTINUED, BETWEEN = 0.0, lambda: None
"""

OBSTACLES = {
    "nothing": "",
    "an observer that never comes back": """
obstruct = threading.Event().wait
registry.add_observer(Observer())
""",
    "an observer that exits": """
obstruct = sys.exit
registry.add_observer(Observer())
""",
    "an observer that is cancelled": """
def obstruct():
    raise asyncio.CancelledError
registry.add_observer(Observer())
""",
    "a handler of the log that never comes back": """
obstruct = threading.Event().wait
logging.getLogger("chaospoint").addHandler(Handler())
""",
    "a handler of the log that exits": """
obstruct = sys.exit
logging.getLogger("chaospoint").addHandler(Handler())
""",
    "a dead thread": """
BETWEEN = lambda: kill(housekeeper._expiry)
""",
    "two dead threads": """
def BETWEEN():
    kill(housekeeper._expiry)
    kill(housekeeper)
""",
    "SystemExit thrown into our threads": """
def BETWEEN():
    for watch in (housekeeper, housekeeper._expiry):
        for _ in range(5):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(watch._thread.ident), ctypes.py_object(SystemExit))
            time.sleep(0.01)
""",
    "threads that keep the GIL": """
for _ in range(3):
    threading.Thread(target=hog, daemon=True).start()
""",
}


TRIES = """
for _ in range(3):  # the machine may be busy
    if (late := lateness()) < 0.5:
        break
print(late, flush=True)
os._exit(0)
"""


def least(program: str) -> float:
    """Return a lateness in seconds, of three the first that is small enough."""
    return float(python(BEGIN + program + TRIES, "-W", "ignore").stdout.split()[-1])


ALWAYS = ("an observer that never comes back", "a dead thread")


@pytest.mark.alone
@pytest.mark.parametrize(
    "obstacle",
    [pytest.param(one, marks=[pytest.mark.ci] * (one not in ALWAYS)) for one in OBSTACLES],
)
def test_a_deadline_is_met_within_half_a_second(obstacle: str) -> None:
    """The calls that a rule holds go on, the function runs its own code, and no call fails late."""
    assert least(OBSTACLES[obstacle]) < 0.5


@pytest.mark.alone
@pytest.mark.ci
def test_a_process_that_was_stopped_meets_its_deadlines_as_it_goes_on() -> None:
    """No call that begins after the deadline fails, not even the first one after SIGCONT."""
    assert (
        least(
            """
def BETWEEN():
    global CONTINUED
    me = os.getpid()
    subprocess.Popen([sys.executable, "-c", STOP.format(me)])
    before = time.monotonic()
    while (now := time.monotonic()) - before < 1.5:
        before = now
        try:
            charge()
        except TimeoutError:
            assert now < charge_deadline(), now
    CONTINUED = now

def charge_deadline():
    return max(rule.deadline for rule in registry.rules() or [Never])

class Never:
    deadline = float("inf")

STOP = "import os, time; os.kill({0}, 19); time.sleep(3); os.kill({0}, 18)"
"""
        )
        < 0.5
    )


# A rule that nobody ends in time


@pytest.fixture
def late(clock: FakeClock) -> Registry:
    """A registry whose threads end nothing."""
    registry = Registry(clock=clock)
    registry.engine.housekeeper.stop()
    return registry


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", PLACES)
def test_no_reach_acts_past_the_deadline(
    kind: str, when: Any, late: Registry, clock: FakeClock
) -> None:
    call = place(late.point("bank.charge"), kind)
    if when == "after" and "statement" in kind:
        pytest.skip("a statement has no end to act after")
    below = arm("bank.charge", latency=0, when=when, registry=late)
    armed = arm("bank.charge", exception=Boom, when=when, expires_after=10, registry=late)
    with pytest.raises(Boom):
        finish(call())
    clock.advance(9.875)
    with pytest.raises(Boom):
        finish(call())
    assert below.injections == 0
    clock.advance(0.125)
    assert finish(call()) == 7
    assert run(_awaited(call)) == 7
    assert (armed.injections, below.injections) == (2, 2), "the rule below it has its turn"
    assert armed.rules[0].state == "expired"


async def _awaited(call: Callable[[], Any]) -> Any:
    return await afinish(call())


@pytest.mark.parametrize("kind", ["coroutine", "generator", "async_generator"])
def test_a_coroutine_made_before_the_deadline_and_run_after_it_is_not_hit(
    kind: str, late: Registry, clock: FakeClock
) -> None:
    call = place(late.point("bank.charge"), kind)
    armed = arm("bank.charge", exception=Boom, expires_after=10, registry=late)
    made = call()
    clock.advance(10)
    assert finish(made) == 7
    assert armed.injections == 0


def test_a_call_that_ends_after_the_deadline_is_not_hit(late: Registry, clock: FakeClock) -> None:
    @late.point("bank.charge")
    def charge() -> int:
        clock.advance(10)
        return 7

    armed = arm("bank.charge", exception=Boom, when="after", expires_after=10, registry=late)
    assert charge() == 7
    assert (armed.injections, armed.reaches) == (0, 0)


def test_a_firing_goes_by_the_clock_that_the_registry_has_now(
    late: Registry, clock: FakeClock
) -> None:
    """A test may give it another one in the middle, as a skipping clock does."""
    call = place(late.point("bank.charge"), "function")
    arm("bank.charge", exception=Boom, expires_after=10, registry=late)
    late.engine.clock = other = FakeClock()
    clock.advance(10)
    with pytest.raises(Boom):
        call()
    other.advance(10)
    assert call() == 7


ENDS: dict[str, Callable[[Registry, Any], object]] = {
    "its handle": lambda _, armed: armed.disarm(),
    "its name": lambda registry, _: disarm("bank.charge", registry=registry),
    "the switch": lambda registry, _: disable(registry=registry),
    "another plan": lambda registry, _: registry.replace((), source="file"),
    "the clock": lambda registry, _: registry.engine.expire(),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_rule_past_its_deadline_has_expired_however_it_ends(
    end: str, late: Registry, clock: FakeClock
) -> None:
    late.point("bank.charge")
    late.add_observer(witness := Witness())
    terms = arm("bank.charge", exception=Boom, expires_after=10, registry=late).rules[0].terms
    late.disarm()
    witness.notices.clear()
    armed = late.replace([terms], source="file")
    clock.advance(10)
    ENDS[end](late, armed)
    [told] = witness.of(RuleDisarmed)
    assert (told.why, armed.rules[0].why, armed.rules[0].state) == ("expired",) * 3
    late.enable()
    assert late.rules() == (), "and does not come back"


def test_the_first_call_past_the_deadline_replaces_dead_threads(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    registry = Registry(clock=clock)
    point, housekeeper = registry.point("bank.charge"), registry.engine.housekeeper
    registry.add_observer(witness := _Told())
    arm("bank.charge", exception=Boom, expires_after=10, registry=registry)
    for watch in (housekeeper._expiry, housekeeper):
        thread, watch._round = watch._thread, lambda: False  # type: ignore[method-assign]
        assert thread is not None
        watch._look.set()
        thread.join(PATIENCE)
        del watch._round
    clock.advance(10)
    point.hit()
    assert witness.told.wait(PATIENCE)
    assert not registry.rules()
    housekeeper.stop()
    for watch in (housekeeper._expiry, housekeeper):  # one of them leaves its line to others
        for start in watch._starts:
            start.join(PATIENCE)
    arming_lock.carry_out()
    for name in ("expiry", "keeper"):
        assert f"the thread chaospoint-{name} died" in caplog.text


class _Told:
    def __init__(self) -> None:
        self.told = threading.Event()

    def observe(self, _: object) -> None:
        pass

    def notice(self, notice: object) -> None:
        if isinstance(notice, RuleDisarmed):
            self.told.set()
