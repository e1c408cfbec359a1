"""Points on what chaospoint itself might use: its own code does not reach them."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import python

EVERYWHERE = (Path(__file__).parents[1] / "attacks" / "everywhere.py").read_text()

BEGIN = """
import asyncio, builtins, os, threading, time
import chaospoint
real = time.monotonic
"""


def run(program: str) -> list[str]:
    """Run a program in a process of its own, and return the words that it printed."""
    return python(BEGIN + program, "-W", "ignore").stdout.split()


PLACED = {
    "Event.wait": ('chaospoint.point("std.it")(threading.Event.wait)', "threading.Event().wait(0)"),
    "Condition.wait": (
        'chaospoint.point("std.it")(threading.Condition.wait)',
        "c = threading.Condition(); c.acquire(); c.wait(0)",
    ),
    "time.sleep": ('time.sleep = chaospoint.point("std.it")(time.sleep)', "time.sleep(0)"),
    "time.monotonic": (
        'time.monotonic = chaospoint.point("std.it")(time.monotonic)',
        "time.monotonic()",
    ),
    "len": ('builtins.len = chaospoint.point("std.it")(len)', "len('abc')"),
    "isinstance": (
        'builtins.isinstance = chaospoint.point("std.it")(isinstance)',
        "isinstance(1, int)",
    ),
    "next": ('builtins.next = chaospoint.point("std.it")(next)', "next(iter('abc'))"),
}


@pytest.mark.parametrize("what", PLACED)
@pytest.mark.parametrize("fault", ["latency=0.02", "faults=[dict(kind='delay', seconds=0.02)]"])
def test_one_call_is_one_injection(what: str, fault: str) -> None:
    placed, call = PLACED[what]
    said = run(
        f"""
{placed}
chaospoint.arm("no.such", exception=OSError)  # our thread starts, which is code of `threading`
armed = chaospoint.arm("std.it", {fault}, times=50)
began = real()
{call}
armed.disarm()
print(armed.injections, 0.018 < real() - began < 10, flush=True)
os._exit(0)
"""
    )
    assert said == ["1", "True"]


@pytest.mark.parametrize(
    "placed",
    [
        'chaospoint.point("std.it")(threading.Event.wait)',
        'chaospoint.point("std.it")(threading.Condition.wait)',
        'time.sleep = chaospoint.point("std.it")(time.sleep)',
    ],
)
def test_deadlines_are_met_while_our_own_waits_would_hang(placed: str) -> None:
    said = run(
        f"""
{placed}
point = chaospoint.point("a.b")
mine = chaospoint.arm("a.b", exception=TimeoutError, expires_after=0.1)
slow = chaospoint.arm("std.it", hang=True, expires_after=0.2)
until = real() + 10
while mine.rules[0].state != "expired" or slow.rules[0].state != "expired":
    assert real() < until, (mine.rules[0].state, slow.rules[0].state)
point.hit()
print("expired", slow.injections, flush=True)
os._exit(0)
"""
    )
    assert said == ["expired", "0"]


def test_the_functions_of_a_loop() -> None:
    """An injected latency in a task calls `call_later`, `time` and `create_future` of its loop."""
    said = run(
        """
loop = asyncio.BaseEventLoop
for name in ("call_later", "call_at", "time", "create_future", "call_soon_threadsafe"):
    chaospoint.point("loop." + name)(getattr(loop, name))

@chaospoint.point("bank.charge")
async def charge():
    return "paid"

async def main():
    with chaospoint.armed("bank.charge", latency=0.02) as armed:
        with chaospoint.armed("loop.*", latency=0.001) as others:
            before = others.injections
            await charge()
            # asyncio reaches `time` in each of its rounds
            print(armed.injections, {p.name for p in chaospoint.Registry.default().points()
                                     if p.name.startswith("loop")} != set())
        with chaospoint.armed("loop.c*", latency=0.001) as others:
            await charge()
            print(others.injections)

asyncio.run(main())
"""
    )
    assert said == ["1", "True", "0"]


def test_waiting_for_a_count() -> None:
    said = run(
        """
for function in (threading.Event.wait, threading.Condition.wait):
    chaospoint.point("std.it")(function)

@chaospoint.point("bank.charge")
def charge():
    return "paid"

hung = chaospoint.arm("std.it", hang=True)
armed = chaospoint.arm("bank.charge", latency=0.02)
import _thread
_thread.start_new_thread(charge, ())
armed.wait_for(injections=1)
print(armed.injections, hung.injections, flush=True)
os._exit(0)
"""
    )
    assert said == ["1", "0"]


@pytest.mark.ci
def test_nothing_of_the_standard_library_is_reached_by_our_own_code() -> None:
    """An injection, its observers, arming a compiled rule and its expiry reach no point."""
    program = EVERYWHERE.replace("sys.argv[1]", "'count'")
    assert python(program, "-W", "ignore").stdout.split() == ["counted"]


def test_rules_expire_while_all_of_the_standard_library_hangs() -> None:
    program = EVERYWHERE.replace("sys.argv[1]", "'hang'")
    assert float(python(program, "-W", "ignore").stdout) < 5.0
