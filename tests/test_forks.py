"""A forked child is a process of its own: everything works there, and every rule starts anew.

What has hurt others and only real processes show: a private generator that repeats in
every child, a thread that is gone, a lock that stays locked.
"""

from __future__ import annotations

import os
import textwrap

import pytest
from helpers import python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

PRELUDE = """
import faulthandler, json, logging, os, signal, sys, threading, traceback

# Forking while another thread writes to stderr leaves the lock of that file held in the child:
# that is CPython's, and not what is tested here.
logging.getLogger("chaospoint").addHandler(logging.NullHandler())

before_forks = []
os.register_at_fork(before=lambda: before_forks.append(ours()))  # runs after hooks made later

import chaospoint
from chaospoint import InjectedFault, Registry, arm, disarm
from chaospoint._kernel.reporting import bugs

faulthandler.register(signal.SIGALRM, chain=True)  # says where a child hangs, and ends it

def ours():
    return [one.name for one in threading.enumerate() if one.name.startswith("chaospoint")]

def fork(child):
    "Run a function in a forked child; return what it returned."
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        failed = 1
        try:
            signal.alarm(20)
            os.write(there, json.dumps(child()).encode())
            assert not bugs, bugs
            failed = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(failed)
    os.close(there)
    with open(here, "rb") as end:
        written = end.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with {status}"
    return json.loads(written)

registry = Registry()
point = registry.point("bank.charge")

@point
def charge():
    return 7

def fires(calls):
    "Return which of so many calls failed."
    failed = []
    for ordinal in range(1, calls + 1):
        try:
            charge()
        except InjectedFault:
            failed.append(ordinal)
    return failed
"""


def _run(program: str) -> str:
    # Since 3.12 a fork among threads warns, on stderr: see above what that does to a child.
    said = python(PRELUDE + textwrap.dedent(program), "-W", "ignore::DeprecationWarning")
    assert "Traceback" not in said.stderr
    return said.stdout


def test_a_child_starts_with_tallies_at_zero() -> None:
    """What the parent counted is the parent's, and what the child counts stays there."""
    _run("""
        other = arm("bank.*", latency=0, registry=registry)
        handle = arm("bank.charge", failure_rate=1.0, times=5, registry=registry)
        assert fires(3) == [1, 2, 3]

        def child():
            before = [handle.reaches, handle.injections, handle.interrupted]
            return before, fires(7), handle.reaches, other.reaches, [r.state for r in handle.rules]

        assert fork(child) == [[0, 0, 0], [1, 2, 3, 4, 5], 7, 2, ["spent"]]
        assert (handle.reaches, handle.injections, other.reaches) == (3, 3, 0)
        assert fires(3) == [1, 2]
    """)


def test_a_drawn_seed_is_drawn_again_and_a_given_one_is_kept() -> None:
    """Children of one parent do not fail all at the same calls, unless that was asked for."""
    _run("""
        arm("bank.charge", failure_rate=0.5, registry=registry)
        assert len({str(fork(lambda: fires(64))) for _ in range(4)} | {str(fires(64))}) == 5
        disarm(registry=registry)
        arm("bank.charge", failure_rate=0.5, seed=7, registry=registry)
        assert len({str(fork(lambda: fires(64))) for _ in range(4)} | {str(fires(64))}) == 1
    """)


def test_jitter_and_outcome_are_drawn_again_too() -> None:
    """Not only when a rule fires, but what it does is another chance in every child."""
    _run("""
        class Notes:
            def __init__(self):
                self.latencies = []

            def observe(self, injection):
                self.latencies.append(injection.latency)

        notes = Notes()
        registry.add_observer(notes)
        arm("bank.charge", latency={"seconds": 1e-6, "jitter": 1e-6}, registry=registry)

        def child():
            notes.latencies.clear()
            fires(10)
            return notes.latencies

        assert len({str(fork(child)) for _ in range(4)} | {str(child())}) == 5
    """)


def test_a_child_arms_disarms_and_is_injected_as_any_process() -> None:
    """Functions, blocks and wrapped callables made before the fork work behind it."""
    _run("""
        import functools

        wrapped = point(functools.partial(int, "7"))
        own = charge.__code__

        def child():
            assert charge.__code__ is own
            with chaospoint.armed("bank.charge", failure_rate=1.0, registry=registry) as handle:
                for call in (charge, wrapped, point.hit):
                    try:
                        call()
                    except InjectedFault as error:
                        assert chaospoint.injection_of(error).point == "bank.charge"
                    else:
                        raise AssertionError(call)
                assert handle.injections == 3
            assert charge() == wrapped() == 7
            assert charge.__code__ is own
            chaospoint.disable(registry=registry)
            chaospoint.enable(registry=registry)
            return "done"

        assert fork(child) == "done"
    """)


def test_our_thread_stops_before_a_fork_and_goes_on_behind_it() -> None:
    """The keeper is no thread of the process that is copied; it expires rules on both sides."""
    _run("""
        handle = arm("bank.charge", failure_rate=1.0, expires_after=1.0, registry=registry)
        assert sorted(ours()) == ["chaospoint-expiry", "chaospoint-keeper"]

        def expired():
            try:
                handle.wait_for(timeout=15)
            except TimeoutError as error:
                return str(error).partition(" with ")[0].rpartition(": ")[2], charge()

        assert fork(expired) == ["expired", 7]
        assert before_forks == [[]], before_forks
        assert expired() == ("expired", 7)
    """)


def test_a_deadline_goes_on_in_the_child() -> None:
    """A fork is no way to live longer."""
    _run("""
        arm("bank.charge", failure_rate=1.0, expires_after=600, registry=registry)
        (rule,) = registry.rules()
        assert fork(lambda: rule.deadline) == rule.deadline
        assert fork(lambda: registry.rules()[0].seconds_left) <= rule.seconds_left + 600
    """)


def test_disable_survives_a_fork() -> None:
    """A child of a process in which chaos is off cannot arm, and its child neither."""
    _run("""
        arm("bank.charge", failure_rate=1.0, registry=registry)
        chaospoint.disable(registry=registry)

        def refused():
            assert fires(3) == []
            try:
                arm("bank.charge", failure_rate=1.0, registry=registry)
            except chaospoint.errors.NotPermitted:
                return "refused"

        assert fork(refused) == "refused"
        assert fork(lambda: fork(refused)) == "refused"
    """)


def test_whoever_slept_in_the_parent_is_not_waited_for_in_the_child() -> None:
    """A hang of another thread ends in the parent alone, and the child disarms without it."""
    _run("""
        handle = arm("bank.charge", hang=True, times=1, registry=registry)
        sleeper = threading.Thread(target=charge, daemon=True)
        sleeper.start()
        handle.wait_for()

        def child():
            (rule,) = handle.rules
            assert rule.sleepers == set()
            handle.disarm()
            return handle.interrupted, charge()

        assert fork(child) == [0, 7]
        assert sleeper.is_alive()
        handle.disarm()
        sleeper.join(10)
        assert handle.interrupted == 1
    """)


def test_forking_while_others_arm_disarm_and_call() -> None:
    """A hundred forks in the middle of it: no child finds a lock held or a rule half armed."""
    _run("""
        arm("bank.charge", latency=0, failure_rate=1.0, registry=registry).disarm()  # imports all
        sys.setswitchinterval(1e-5)
        stop = threading.Event()
        wrong = []

        def arming():
            while not stop.is_set():
                with chaospoint.armed("bank.*", failure_rate=0.5, registry=registry):
                    with chaospoint.armed("bank.charge", latency=0, registry=registry):
                        pass

        def calling():
            while not stop.is_set():
                try:
                    if charge() != 7:
                        wrong.append("another result")
                except InjectedFault:
                    pass

        jobs = (arming, arming, calling, calling)
        threads = [threading.Thread(target=job, daemon=True) for job in jobs]
        for thread in threads:
            thread.start()

        def child():
            for rule in registry.rules():
                assert rule.reaches == rule.injections == 0, (rule.reaches, rule.injections)
            registry.disarm()
            assert fires(10) == []
            with chaospoint.armed("bank.charge", failure_rate=1.0, times=3, registry=registry) as h:
                assert ours() == ["chaospoint-keeper"]
                assert fires(5) == [1, 2, 3]
            registry.point("bank.made-in-the-child")
            return h.reaches

        for _ in range(100):
            assert fork(child) == 5
        stop.set()
        for thread in threads:
            thread.join(10)
        assert not wrong and not bugs, (wrong, bugs)
        assert registry.rules() == ()
        assert charge() == 7
        housekeeper = registry.engine.housekeeper._thread
        if housekeeper is not None:
            housekeeper.join(10)
        assert ours() == []
        assert not any(before_forks), before_forks
    """)


def test_forking_from_several_threads_at_once() -> None:
    """One fork waits for the other, and neither finds the keeper running again."""
    _run("""
        sys.setswitchinterval(1e-5)
        arm("bank.charge", failure_rate=1.0, registry=registry)
        done = []

        def forking():
            for _ in range(20):
                done.append(fork(lambda: fires(2)))

        threads = [threading.Thread(target=forking, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert done == [[1, 2]] * 80, done
        assert not any(before_forks), before_forks
        assert ours() == ["chaospoint-keeper"]
    """)


def test_a_fork_in_the_middle_of_starting_leaves_no_lock_held() -> None:
    """The first point may take its time to start chaospoint; a child makes points all the same."""
    _run("""
        from chaospoint._registry import registry

        begun, go_on = threading.Event(), threading.Event()

        def start_slowly():
            begun.set()
            go_on.wait(20)

        registry.before_first_point(start_slowly)
        starting = threading.Thread(target=chaospoint.point, args=("db.query",), daemon=True)
        starting.start()
        begun.wait(10)
        assert fork(lambda: chaospoint.point("db.other").name) == "db.other"
        go_on.set()
        starting.join(10)
        assert not starting.is_alive()
    """)


def test_a_process_of_multiprocessing_is_a_forked_child() -> None:
    """As the workers of a pool are made."""
    _run("""
        import multiprocessing

        handle = arm("bank.charge", failure_rate=1.0, times=2, registry=registry)
        assert fires(2) == [1, 2]
        with multiprocessing.get_context("fork").Pool(2) as workers:
            assert workers.map(fires, [4], chunksize=1) == [[1, 2]]
        assert handle.injections == 2
    """)


def test_a_child_with_the_number_of_its_parent_begins_anew_all_the_same() -> None:
    """As a child in a new namespace of numbers may have, and its parent in a container: 1."""
    python(
        "import os; os.getpid = lambda: 1"
        + textwrap.dedent(PRELUDE)
        + textwrap.dedent("""
        handle = arm("bank.charge", failure_rate=1.0, times=2, registry=registry)
        assert fires(4) == [1, 2]

        def child():
            assert handle.injections == 0
            assert fires(4) == [1, 2]
            arming = threading.Thread(
                target=arm, args=("other",), kwargs={"latency": 0, "registry": registry}
            )
            arming.daemon = True
            registry.point("other")
            arming.start()
            arming.join(10)
            assert not arming.is_alive(), "a lock is held"
            return fork(lambda: fires(4))

        assert fork(child) == [1, 2]
        assert handle.injections == 2
        """)
    )


def test_the_second_hook_of_a_fork_leaves_another_thread_that_forks_alone() -> None:
    """It releases no lock of that thread, and starts no thread that was ended for it."""
    _run("""
        arm("bank.charge", failure_rate=1.0, registry=registry)
        from chaospoint._kernel import fork
        from chaospoint._kernel.lock import arming_lock

        begun, go_on = threading.Event(), threading.Event()

        def fork_slowly():
            fork._before()
            begun.set()
            go_on.wait(10)
            fork._in_parent()

        forking = threading.Thread(target=fork_slowly)
        forking.start()
        begun.wait(10)
        late = threading.Thread(target=fork._in_parent)
        late.start()
        late.join(10)
        assert not arming_lock.acquire(blocking=False), "it was released"
        assert ours() == []
        go_on.set()
        forking.join(10)
        assert arming_lock.acquire(timeout=10), "it is held for ever"
        arming_lock.release()
    """)
