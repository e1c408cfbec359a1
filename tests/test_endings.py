"""A call that chaospoint holds never keeps a program from ending."""

from __future__ import annotations

import pytest
from helpers import python

BEGIN = """
import asyncio, atexit, concurrent.futures, sys, threading
import chaospoint

@chaospoint.point("bank.charge")
def charge():
    return "paid"

@chaospoint.point("bank.acharge")
async def acharge():
    return "paid"

def work():
    print(charge(), flush=True)

"""

ENDINGS = {
    "a thread": """
armed = chaospoint.arm("bank.charge", {fault})
threading.Thread(target=work).start()
armed.wait_for(injections=1)
""",
    "an executor": """
pool = concurrent.futures.ThreadPoolExecutor()
armed = chaospoint.arm("bank.charge", {fault})
pool.submit(work)
armed.wait_for(injections=1)
sys.exit()
""",
    "an executor that has more to do": """
pool = concurrent.futures.ThreadPoolExecutor(1)
armed = chaospoint.arm("bank.charge", {fault})
for _ in range(3):
    pool.submit(charge)
pool.submit(work)
armed.wait_for(injections=1)
""",
    "an executor that is imported late": """
armed = chaospoint.arm("bank.charge", {fault})
def late():
    from concurrent.futures import ThreadPoolExecutor
    return ThreadPoolExecutor()
pool = late()
pool.submit(work)
armed.wait_for(injections=1)
""",
    "a loop on a thread": """
armed = chaospoint.arm("bank.acharge", {fault})
async def main():
    print(await acharge(), flush=True)
threading.Thread(target=asyncio.run, args=(main(),)).start()
armed.wait_for(injections=1)
""",
    "a thread of a loop": """
armed = chaospoint.arm("bank.charge", {fault})
async def main():
    held = asyncio.ensure_future(asyncio.to_thread(work))
    await asyncio.to_thread(armed.wait_for, injections=1)
    sys.exit()
asyncio.run(main())
""",
    "a function of atexit": """
chaospoint.arm("bank.charge", {fault})
atexit.register(work)
""",
    "a thread that calls again": """
armed = chaospoint.arm("bank.charge", {fault})
def again():
    charge()
    work()
threading.Thread(target=again).start()
armed.wait_for(injections=1)
""",
}


HANG, PAUSE = "hang=True", "faults=[dict(kind='pause')]"


@pytest.mark.parametrize(
    ("where", "fault"), [*((where, HANG) for where in ENDINGS), ("an executor", PAUSE)]
)
def test_the_program_ends(where: str, fault: str) -> None:
    """And the call that was held goes through."""
    said = python(BEGIN + ENDINGS[where].format(fault=fault), "-W", "ignore")
    assert said.stdout.split() == ["paid"]
    assert "Traceback" not in said.stderr


def test_later_holds_are_said_to_be_none() -> None:
    said = python(BEGIN + ENDINGS["a thread that calls again"].format(fault=HANG))
    assert "'bank.charge' no longer holds calls: the main thread has ended" in said.stderr


def test_a_latency_of_a_later_call_acts() -> None:
    """A program whose main thread has ended may go on for long in others."""
    said = python(
        BEGIN
        + """
import time
armed = chaospoint.arm("bank.charge", latency="50ms")
def serve():
    threading.main_thread().join()
    began = time.monotonic()
    print(charge(), time.monotonic() - began >= 0.045, armed.interrupted, flush=True)
threading.Thread(target=serve).start()
"""
    )
    assert said.stdout.split() == ["paid", "True", "0"]


def test_a_child_of_multiprocessing_ends() -> None:
    said = python(
        BEGIN
        + """
import multiprocessing
def child():
    armed = chaospoint.arm("bank.charge", hang=True)
    threading.Thread(target=work).start()
    armed.wait_for(injections=1)
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join(20)
print(process.exitcode)
""",
        "-W",
        "ignore",
    )
    assert said.stdout.split() == ["paid", "0"]
