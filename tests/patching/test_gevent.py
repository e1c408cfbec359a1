"""Under gevent's patches threads are greenlets, and points act in them as they do in threads."""

from __future__ import annotations

import sys

import pytest
from helpers import python

pytest.importorskip("gevent")

BEGIN = """
from gevent import monkey
monkey.patch_all()
import gevent, sys, threading, time
import chaospoint

@chaospoint.point("p")
def work(n=1):
    return 2 * n

@chaospoint.point("g")
def items(n):
    yield from range(n)

"""


def run(program: str) -> list[str]:
    """Run a program under gevent, and return the words that it printed."""
    return python(BEGIN + program, "-W", "ignore").stdout.split()


def test_arming_and_disarming_among_greenlets() -> None:
    said = run(
        """
assert work(3) == 6
with chaospoint.armed("p", exception=OSError) as armed:
    def attempt(n):
        try:
            return work(n)
        except OSError:
            return "failed"
    jobs = [gevent.spawn(attempt, n) for n in range(20)]
    gevent.joinall(jobs, timeout=10, raise_error=True)
    print({job.value for job in jobs}, armed.injections, armed.reaches)
print(work(3), list(items(3)))
"""
    )
    assert said == ["{'failed'}", "20", "20", "6", "[0,", "1,", "2]"]


def test_latency_in_a_greenlet_lets_the_others_run() -> None:
    said = run(
        """
turns = 0
def count():
    global turns
    while not done:
        turns += 1
        gevent.sleep(0)
done = False
counting = gevent.spawn(count)
with chaospoint.armed("p", latency="50ms") as armed:
    began = time.monotonic()
    jobs = [gevent.spawn(work, n) for n in range(50)]
    gevent.joinall(jobs, timeout=10, raise_error=True)
    took = time.monotonic() - began
done = True
counting.join(timeout=10)
print([job.value for job in jobs] == [2 * n for n in range(50)], armed.injections)
print(turns > 50, 0.05 <= took < 1.5)  # together, not one after the other
"""
    )
    assert said == ["True", "50", "True", "True"]


@pytest.mark.parametrize("how", ["armed.disarm()", "chaospoint.disarm()", "chaospoint.disable()"])
def test_disarming_wakes_greenlets_that_hang(how: str) -> None:
    said = run(
        f"""
armed = chaospoint.arm("p", hang=True)
jobs = [gevent.spawn(work, n) for n in range(20)]
armed.wait_for(injections=20, timeout=10)
print(any(job.ready() for job in jobs))
{how}
gevent.joinall(jobs, timeout=10, raise_error=True)
print([job.value for job in jobs] == [2 * n for n in range(20)], armed.interrupted)
"""
    )
    assert said == ["False", "True", "20"]


def test_a_rule_expires_on_our_own_thread() -> None:
    said = run(
        """
armed = chaospoint.arm("p", hang=True, expires_after="1s")
job = gevent.spawn(work, 4)
job.join(timeout=10)
print(job.value, armed.interrupted, chaospoint.point("p").armed)
"""
    )
    assert said == ["8", "1", "False"]


def test_counts_are_exact_among_greenlets_and_real_threads() -> None:
    said = run(
        """
from gevent.threadpool import ThreadPool
sys.setswitchinterval(1e-5)
failed = []
def attempt(n):
    for _ in range(50):
        try:
            work(n)
        except OSError:
            failed.append(n)
        gevent.sleep(0)
with chaospoint.armed("p", exception=OSError, times=37) as armed:
    jobs = [gevent.spawn(attempt, n) for n in range(20)]
    gevent.joinall(jobs, timeout=20, raise_error=True)
    pool = ThreadPool(4)
    def plain(n):
        for _ in range(50):
            work(n)
    for result in [pool.spawn(plain, n) for n in range(4)]:
        result.get(timeout=20)
    print(len(failed), armed.injections, armed.reaches)
pool.kill()
"""
    )
    assert said == ["37", "37", "1200"]


def test_a_greenlet_that_is_killed_in_a_latency_leaves_nothing() -> None:
    said = run(
        """
armed = chaospoint.arm("p", hang=True)
job = gevent.spawn(work, 4)
armed.wait_for(injections=1, timeout=10)
job.kill(timeout=10)
print(job.dead, armed.interrupted)
armed.disarm()
print(work(4))
with gevent.Timeout(0.05, False):
    with chaospoint.armed("p", hang=True):
        work()
print(work(5))
"""
    )
    assert said == ["True", "0", "8", "10"]


@pytest.mark.parametrize("fault", ["latency='30s'", "hang=True", "faults=[dict(kind='pause')]"])
def test_time_limits_of_gevent_come_out_of_the_call(fault: str) -> None:
    said = run(
        f"""
class Late(Exception): pass
for when in ("before", "after"):
    with chaospoint.armed("p", {fault}, when=when, max_active=1) as armed:
        try:
            with gevent.Timeout(0.01, Late):
                print("returned", work(4))
        except Late:
            print("late", armed.interrupted)
        job = gevent.spawn(work, 4)
        armed.wait_for(injections=2, timeout=10)
        job.kill(exception=ValueError, timeout=10)
        print(type(job.exception).__name__, armed.interrupted, armed.overflow)
""".replace("spawn(work, 4)", "spawn(quiet)").replace(
            "class Late",
            "sys.stderr = open('/dev/null', 'w')\ndef quiet(): return work(4)\nclass Late",
        )
    )
    assert said == ["late", "0", "ValueError", "0", "0"] * 2


def test_patches_that_come_after_chaospoint() -> None:
    """As where `chaospoint run` loads it before the program; waits let other greenlets run."""
    said = python(
        """
import chaospoint
chaospoint.point("p").hit()
from gevent import monkey
monkey.patch_all()
import gevent, time
turns = 0
def count():
    global turns
    while not done:
        turns += 1
        gevent.sleep(0.001)
done = False
counting = gevent.spawn(count)
with chaospoint.armed("p", latency="50ms"):
    chaospoint.point("p").hit()
done = True
counting.join(timeout=10)
print(turns > 3)
""",
        "-W",
        "ignore",
    )
    assert said.stdout.split() == ["True"]


def test_this_runs_the_real_thing() -> None:
    """Patched before chaospoint is imported, as gevent asks for."""
    said = run("print(monkey.is_module_patched('threading'), sys.version_info[:2])")
    assert said == ["True", *str(sys.version_info[:2]).split()]
