"""What the host throws into a call that chaospoint makes wait comes out of that call.

Time limits do so: signal handlers that raise, `throw` into a coroutine, and exceptions that another
thread raises here.  They pass as cancellation and Ctrl-C do: the call fails with what came, never
succeeds, and the injection is not counted as interrupted.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import inspect
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from helpers import PLACES, Threads, afinish, place

from chaospoint import Registry
from chaospoint._kernel import bell
from chaospoint._kernel.context import in_chaospoint
from chaospoint._kernel.effects import Sleep

from .kit import PATIENCE, Does, hangs, pauses, raises, rule, sleeps

SIGNAL = signal.SIGUSR1

BUSY = Does("delay", (Sleep(30, busy=True),))
WAITS = {"latency": sleeps(30), "hang": hangs(), "bounded hang": hangs(30), "pause": pauses()}
FAULTS = {**WAITS, "busy delay": BUSY}

SYNC = [name for name in PLACES if "async" not in name and name != "coroutine"]
ASYNC = [name for name in PLACES if name not in SYNC]


class Limit(Exception):
    """What a time limit raises, as Celery's and RQ's do."""


class BareLimit(BaseException):
    """What a time limit raises that nothing is to catch."""


def moments(name: str) -> list[bool]:
    """Return whether a rule may act after, and before, calls at such a placement."""
    return [False] if "statement" in name else [False, True]


@pytest.fixture
def registry() -> Registry:
    """A registry in which time passes: here real waits are interrupted."""
    return Registry()


@pytest.fixture(autouse=True)
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes just before the interpreter waits is seen at the end of a slice."""
    monkeypatch.setattr(bell, "SLICE", 0.01)


@pytest.fixture
def limit() -> Iterator[list[type[BaseException]]]:
    """What the signal handler of the program raises."""
    kinds: list[type[BaseException]] = [Limit]

    def handler(signum: int, frame: object) -> None:
        raise kinds[0]("the time is up")

    before = signal.signal(SIGNAL, handler)
    yield kinds
    signal.signal(SIGNAL, before)


def armed(registry: Registry, fault: Does, *, after: bool) -> Any:
    """Arm a fault that may act once at a time, with an outcome behind it."""
    return registry.install([rule("p", fault, raises(), after=after, max_active=1)], source="test")


def check_nothing_is_left(handle: Any) -> None:
    (one,) = handle.rules
    assert (handle.injections, handle.interrupted, handle.paused) == (1, 0, 0)
    assert one.sleepers == set()
    assert one.tally._taken == {}
    assert in_chaospoint.get() is False
    handle.disarm()


def run(call: Callable[[], Any]) -> object:
    """Make a call and run what it returns to its end."""
    made = call()
    return list(made) if inspect.isgenerator(made) else made


def once_waiting(handle: Any, act: Callable[[], object]) -> threading.Thread:
    """Have ``act`` called on another thread once a call waits."""

    def look() -> None:
        handle.wait_for(timeout=PATIENCE)
        (one,) = handle.rules
        while not one.sleepers and not one.why:
            pass
        act()

    thread = threading.Thread(target=look)
    thread.start()
    return thread


# -- signal handlers ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Limit, TimeoutError, BareLimit])
@pytest.mark.parametrize("name", SYNC)
def test_an_exception_of_a_signal_handler_comes_out_of_the_call(
    registry: Registry, limit: list[type[BaseException]], name: str, kind: type[BaseException]
) -> None:
    limit[0] = kind
    main = threading.get_ident()
    call = place(registry.point("p"), name)
    for fault in FAULTS.values():
        for after in moments(name):
            handle = armed(registry, fault, after=after)
            thread = once_waiting(handle, lambda: signal.pthread_kill(main, SIGNAL))
            with pytest.raises(kind, match="the time is up"):
                run(call)
            thread.join(PATIENCE)
            check_nothing_is_left(handle)


@pytest.mark.parametrize("name", ASYNC)
def test_an_exception_of_a_signal_handler_ends_a_busy_delay_in_a_task(
    registry: Registry, limit: list[type[BaseException]], name: str
) -> None:
    main = threading.get_ident()
    call = place(registry.point("p"), name)
    for after in moments(name):
        handle = armed(registry, BUSY, after=after)
        thread = once_waiting(handle, lambda: signal.pthread_kill(main, SIGNAL))

        async def work() -> None:
            with pytest.raises(Limit):
                await afinish(call())

        asyncio.run(work())
        thread.join(PATIENCE)
        check_nothing_is_left(handle)


def hits(call: Callable[[], object], moment: int) -> tuple[bool, bool]:
    """Make a call with the signal at the n-th of all moments at which the interpreter looks for
    one; return whether there are as many, and whether the call raised.
    """
    left = moment

    def look(frame: object, event: str, value: object) -> None:
        nonlocal left
        if event in ("call", "c_return"):
            left -= 1
            if left == 0:
                signal.raise_signal(SIGNAL)

    before = sys.getprofile()
    gc.disable()  # Python swallows what is raised in callbacks of the collector
    sys.setprofile(look)
    try:
        call()
    except Limit:
        return True, True
    finally:
        sys.setprofile(before)
        gc.enable()
    return left <= 0, False


@pytest.mark.parametrize("fault", [sleeps(1e-6), hangs(1e-6), hangs(0)], ids=str)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_at_no_moment_is_it_taken_for_a_bug(
    registry: Registry, limit: list[type[BaseException]], fault: Does, after: bool
) -> None:
    """Also in the middle of our own code, where what is raised may be a bug of ours."""
    del limit

    @registry.point("p")
    def charge() -> str:
        return "paid"

    handle = registry.install([rule("p", fault, after=after, max_active=3)], source="test")
    charge()  # what is worked out once is worked out
    swallowed: list[int] = []
    for moment in range(1, 10_000):
        there, raised = hits(charge, moment)
        if not there:
            break
        if not raised:
            swallowed.append(moment)
    assert moment > 20
    # What comes when the call is over raises in the function that makes the calls.
    assert swallowed in ([], [moment - 1])
    assert in_chaospoint.get() is False
    assert charge() == "paid"
    assert handle.rules[0].sleepers == set()


# -- throw -------------------------------------------------------------------------------


def begun(call: Callable[[], Any], *, after: bool) -> Any:
    """Make a call and take the step of it that waits; return what throws into that."""
    made = call()
    if not inspect.isasyncgen(made):
        made.send(None)
        return made
    if after:
        with pytest.raises(StopIteration):  # it yields its item
            made.asend(None).send(None)
    step = made.asend(None)
    step.send(None)
    return step


@pytest.mark.parametrize("kind", [Limit, TimeoutError, BareLimit, asyncio.CancelledError])
@pytest.mark.parametrize("name", ASYNC)
def test_an_exception_thrown_into_a_coroutine_comes_out_of_it(
    registry: Registry, name: str, kind: type[BaseException]
) -> None:
    call = place(registry.point("p"), name)

    async def main() -> None:
        for fault in WAITS.values():
            for after in moments(name):
                handle = armed(registry, fault, after=after)
                step = begun(call, after=after)
                assert handle.rules[0].sleepers
                with pytest.raises(kind):
                    step.throw(kind("the time is up"))
                check_nothing_is_left(handle)

    asyncio.run(main())


# -- another thread ----------------------------------------------------------------------


def raise_in(thread: int, kind: type[BaseException]) -> None:
    """Raise an exception in another thread, as some time limits do."""
    set_it = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert set_it(ctypes.c_ulong(thread), ctypes.py_object(kind)) == 1


@pytest.mark.parametrize("name", SYNC)
def test_an_exception_raised_from_another_thread_comes_out_of_the_call(
    registry: Registry, pool: Threads, name: str
) -> None:
    call = place(registry.point("p"), name)

    threads: list[int] = []

    def work() -> object:
        threads.append(threading.get_ident())
        return run(call)

    for fault in FAULTS.values():
        for after in moments(name):
            handle = armed(registry, fault, after=after)
            job = pool.submit(work)
            once_waiting(handle, lambda: raise_in(threads[-1], Limit)).join(PATIENCE)
            with pytest.raises(Limit):
                job.result(PATIENCE)
            check_nothing_is_left(handle)


# -- a limit that comes while others are told ---------------------------------------------


def test_a_limit_that_comes_in_an_observer_comes_out_of_the_call(
    registry: Registry, limit: list[type[BaseException]]
) -> None:
    del limit

    class Observer:
        def observe(self, injection: object) -> None:
            signal.raise_signal(SIGNAL)

    @registry.point("p")
    def charge() -> str:
        return "paid"

    registry.add_observer(Observer())  # type: ignore[arg-type]
    registry.install([rule("p", sleeps(0))], source="test")
    with pytest.raises(Limit):
        charge()
    assert in_chaospoint.get() is False


def test_exceptions_of_an_observer_do_not(
    registry: Registry, limit: list[type[BaseException]], bugs: deque[BaseException]
) -> None:
    del limit

    class Observer:
        def observe(self, injection: object) -> None:
            raise Limit

    @registry.point("p")
    def charge() -> str:
        return "paid"

    registry.add_observer(Observer())  # type: ignore[arg-type]
    registry.install([rule("p", sleeps(0))], source="test")
    assert charge() == "paid"
    assert [type(bug) for bug in bugs] == [Limit]
    bugs.clear()


@pytest.mark.parametrize("who", ["observer", "listener", "factory"])
def test_exceptions_of_c_code_without_arguments_do_not(
    registry: Registry, bugs: deque[BaseException], who: str
) -> None:
    """It leaves no frame, so it looks like what another thread raises here."""
    fails: Any = partial(SimpleQueue.get, SimpleQueue(), False)

    @registry.point("p")
    def charge() -> str:
        return "paid"

    class Observer:
        observe = staticmethod(fails if who == "observer" else str)
        notice = staticmethod(fails if who == "listener" else str)

    observer: Any = Observer()
    registry.add_observer(observer)
    fault = raises(fails) if who == "factory" else sleeps(0)
    registry.install([rule("p", fault)], source="test")
    assert charge() == "paid"
    registry.remove_observer(observer)  # the keeper tells it no more
    assert {type(bug) for bug in bugs} == {Empty}
    bugs.clear()


# -- handlers that end it -----------------------------------------------------------------


@pytest.mark.parametrize("name", SYNC)
def test_a_handler_may_disarm_in_the_middle_of_its_own_threads_wait(
    registry: Registry, name: str
) -> None:
    call = place(registry.point("p"), name)
    before = signal.signal(SIGNAL, lambda *_: registry.disarm())
    try:
        for fault in FAULTS.values():
            handle = armed(registry, fault, after=False)
            main = threading.get_ident()
            thread = once_waiting(handle, lambda main=main: signal.pthread_kill(main, SIGNAL))
            run(call)
            thread.join(PATIENCE)
            assert (handle.injections, handle.interrupted) == (1, 1)
    finally:
        signal.signal(SIGNAL, before)


def test_at_no_moment_does_a_handler_that_disarms_wait_for_its_own_thread(
    registry: Registry,
) -> None:
    @registry.point("p")
    def charge() -> str:
        return "paid"

    before = signal.signal(SIGNAL, lambda *_: registry.disarm())
    try:
        for moment in range(1, 10_000):
            handle = registry.install([rule("p", hangs(0.001))], source="test")
            there, raised = hits(charge, moment)
            assert not raised
            handle.disarm()
            if not there:
                break
        assert moment > 20
    finally:
        signal.signal(SIGNAL, before)
