"""The drivers: told first, then acted; woken by disarming; a bug lets the call through."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import pytest

from chaospoint import Registry, injection_of
from chaospoint._kernel import drive
from chaospoint._kernel.effects import Effect, Hold, Raise, Return, Sleep
from chaospoint._kernel.injection import Injection
from chaospoint.testing import FakeClock

from .kit import (
    PATIENCE,
    Asks,
    Boom,
    Does,
    Witness,
    answers,
    hangs,
    raises,
    rule,
    run_coroutine,
    sleeps,
    turn,
    until,
)


def arm(registry: Registry, *terms: Any) -> Any:
    return registry.install(terms, source="test")


# -- exceptions --------------------------------------------------------------------------


def test_each_injected_exception_is_a_fresh_one_with_a_note(
    registry: Registry, function: Callable[[], str]
) -> None:
    arm(registry, rule("p", raises(), text="the rule"))
    caught = []
    for _ in range(3):
        with pytest.raises(Boom) as one:
            function()
        caught.append(one.value)
    assert len(set(map(id, caught))) == 3
    for ordinal, error in enumerate(caught, 1):
        assert error.__notes__ == ["injected by chaospoint at 'p': the rule (armed by test)"]
        injection = injection_of(error)
        assert injection is not None
        assert (injection.ordinal, injection.exception) == (ordinal, "Boom")
        assert error.__context__ is None


def test_an_exception_that_comes_again_is_raised_all_the_same(
    registry: Registry, function: Callable[[], str]
) -> None:
    """A factory may give the same one; that is its own business, and its notes do not pile up."""
    error = Boom()
    arm(registry, rule("p", raises(lambda: error)))
    for _ in range(2):
        with pytest.raises(Boom) as caught:
            function()
        assert caught.value is error


def test_base_exceptions_are_raised_as_asked_for(
    registry: Registry, function: Callable[[], str], coroutine: Callable[[], Any]
) -> None:
    arm(registry, rule("p", raises(lambda: SystemExit(3))))
    with pytest.raises(SystemExit):
        function()
    with pytest.raises(SystemExit):
        run_coroutine(coroutine())


def test_an_exception_that_looks_injected_is_not_a_bug(
    registry: Registry, function: Callable[[], str]
) -> None:
    arm(registry, rule("p", raises(lambda: AttributeError("asked for"))))
    with pytest.raises(AttributeError, match="asked for"):
        function()


# -- observers ---------------------------------------------------------------------------


class Calls:
    """An observer that does something at each injection."""

    def __init__(self, call: Callable[[Injection], object]) -> None:
        self._call = call

    def observe(self, injection: Injection) -> None:
        self._call(injection)


@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_observers_are_informed_before_the_effect(
    registry: Registry,
    function: Callable[[], str],
    coroutine: Callable[[], Any],
    clock: FakeClock,
    pool: ThreadPoolExecutor,
    kind: str,
) -> None:
    told = threading.Event()
    registry.add_observer(Calls(lambda _: told.set()))
    handle = arm(registry, rule("p", sleeps(30), raises()))
    call = function if kind == "function" else lambda: asyncio.run(coroutine())
    job = pool.submit(call)
    clock.until_waiting(30)
    assert told.is_set()
    assert handle.injections == 1
    assert not job.done()
    clock.advance(30)
    with pytest.raises(Boom):
        job.result(PATIENCE)


def test_every_observer_is_informed_whatever_another_raises(
    registry: Registry,
    function: Callable[[], str],
    bugs: deque[BaseException],
    log: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []
    registry.add_observer(Calls(lambda _: told.append("first")))
    for _ in range(2):
        registry.add_observer(Calls(lambda _: 1 / 0))
    registry.add_observer(Calls(lambda _: told.append("last")))
    handle = arm(registry, rule("p", raises()))
    for _ in range(3):
        with pytest.raises(Boom):
            function()
    assert told == ["first", "last"] * 3
    assert handle.injections == 3
    errors = [one.getMessage() for one in log.records if one.levelname == "ERROR"]
    assert len(errors) == 1  # said once
    assert "an observer at 'p' failed (ZeroDivisionError: division by zero)" in errors[0]
    assert "correct the observer" in errors[0]
    assert len(bugs) == 6
    bugs.clear()


def test_an_observer_that_never_ends_is_its_own_bug(
    registry: Registry,
    function: Callable[[], str],
    bugs: deque[BaseException],
    log: pytest.LogCaptureFixture,
) -> None:
    def loop(injection: Injection) -> None:
        loop(injection)

    registry.add_observer(Calls(loop))
    arm(registry, rule("p", raises()))
    with pytest.raises(Boom):
        function()
    assert [type(bug) for bug in bugs] == [RecursionError]
    (error,) = [one.getMessage() for one in log.records if one.levelname == "ERROR"]
    assert "correct the observer" in error
    bugs.clear()


def test_a_stack_overflow_of_the_program_in_our_code_is_not_a_bug(
    registry: Registry,
    function: Callable[[], str],
    bugs: deque[BaseException],
    log: pytest.LogCaptureFixture,
) -> None:
    def end(_: object) -> tuple[Effect, ...]:
        raise RecursionError

    def deep(left: int) -> str:
        return deep(left - 1) if left else function()

    arm(registry, rule("p", Asks("exception", end)))
    assert deep(sys.getrecursionlimit() * 3 // 4) == "own"
    (error,) = [one.getMessage() for one in log.records if one.levelname == "ERROR"]
    assert "the program has exhausted its stack" in error
    assert list(bugs) == []


def test_ctrl_c_in_an_observer_passes_and_leaves_points_opaque(
    registry: Registry, function: Callable[[], str]
) -> None:
    def interrupt(_: Injection) -> None:
        registry.remove_observer(observer)
        raise KeyboardInterrupt

    observer = Calls(interrupt)
    registry.add_observer(observer)
    arm(registry, rule("p", raises()))
    with pytest.raises(KeyboardInterrupt):
        function()
    with pytest.raises(Boom):  # and not transparent
        function()


def test_an_observer_that_calls_the_function_meets_no_chaos(
    registry: Registry, function: Callable[[], str]
) -> None:
    said: list[object] = []

    def look(_: Injection) -> None:
        said.append(function())
        registry.point("p").hit()
        with registry.point("p"):
            pass

    registry.add_observer(Calls(look))
    handle = arm(registry, rule("p", raises()))
    with pytest.raises(Boom):
        function()
    assert said == ["own"]
    assert (handle.reaches, handle.injections) == (1, 1)


def test_a_log_handler_that_calls_the_function_meets_no_chaos(
    registry: Registry, function: Callable[[], str], bugs: deque[BaseException]
) -> None:
    """What chaospoint logs on the way of a call is its own code too."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            function()

    registry.add_observer(Calls(lambda _: 1 / 0))
    handle = arm(registry, rule("p", sleeps(0)))
    logger, handler = logging.getLogger("chaospoint"), Handler()
    logger.addHandler(handler)
    try:
        assert function() == "own"  # the observer raises, which is logged

        async def main() -> None:
            assert function() == "own"  # delays a loop, which is logged

        asyncio.run(main())
    finally:
        logger.removeHandler(handler)
    assert handle.reaches == 2
    bugs.clear()


def test_a_log_handler_that_calls_the_function_while_a_bug_is_logged(
    registry: Registry,
    function: Callable[[], str],
    bugs: deque[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(function())

    said: list[str] = []
    handle = arm(registry, rule("p", sleeps(0)))
    logger, handler = logging.getLogger("chaospoint"), Handler()
    logger.addHandler(handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("chaospoint._kernel.tally.Tally.take", _broken)
            assert function() == "own"
    finally:
        logger.removeHandler(handler)
    assert said == ["own"]
    assert handle.reaches == 1
    bugs.clear()


def test_an_observer_that_arms_and_disarms(registry: Registry, function: Callable[[], str]) -> None:
    registry.add_observer(Calls(lambda _: registry.disarm("p")))
    arm(registry, rule("p", raises()))
    with pytest.raises(Boom):  # it had happened when the observer was told
        function()
    assert function() == "own"


def test_exceptions_are_built_where_points_are_transparent(
    registry: Registry, function: Callable[[], str]
) -> None:
    def build() -> BaseException:
        assert function() == "own"
        return Boom()

    handle = arm(registry, rule("p", raises(build)))
    with pytest.raises(Boom):
        function()
    assert handle.reaches == 1


# -- bugs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effects", "name"),
    [
        ((Raise(lambda: 1 / 0, "Boom"),), "building the exception"),  # type: ignore[arg-type, return-value]
        ((Return(threading.Lock(), copy=True),), "copying the answer"),
        ((Sleep("soon"),), "an effect that makes no sense"),  # type: ignore[arg-type]
        ((object(),), "no effect"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_an_effect_that_cannot_be_had_lets_the_call_through(
    registry: Registry,
    function: Callable[[], str],
    coroutine: Callable[[], Any],
    bugs: deque[BaseException],
    effects: tuple[Effect, ...],
    name: str,
) -> None:
    arm(registry, rule("p", Does("odd", effects)))
    assert function() == "own"
    assert asyncio.run(coroutine()) == "own"
    assert bugs
    bugs.clear()


def test_a_fault_that_raises_lets_the_call_through(
    registry: Registry, function: Callable[[], str], bugs: deque[BaseException]
) -> None:
    armed = False

    def ask(_: object) -> tuple[Effect, ...]:
        if armed:
            raise AttributeError("a bug")
        return (Raise(Boom, "Boom"),)

    handle = arm(registry, rule("p", Asks("odd", ask)))
    armed = True
    assert function() == "own"
    registry.point("p").hit()
    assert handle.injections == 0
    assert {type(bug) for bug in bugs} == {AttributeError}
    bugs.clear()


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("chaospoint._kernel.binding.Binding.act", "effects"),
        ("chaospoint._kernel.armed_rule.ArmedRule.acts_at", "asking whether it is armed"),
        ("chaospoint._kernel.tally.Tally.take", "counting"),
        ("chaospoint._kernel.drive._new", "recording"),
        ("chaospoint._kernel.drive.mark", "marking"),
        ("tests.clock", "the clock"),
    ],
)
def test_after_a_bug_of_chaospoint_the_call_continues(
    registry: Registry,
    function: Callable[[], str],
    coroutine: Callable[[], Any],
    bugs: deque[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    name: str,
) -> None:
    with monkeypatch.context() as patch:
        if where == "tests.clock":
            patch.setattr(registry.engine, "_clock", None)
            terms = rule("p", sleeps(30))
        else:
            terms = rule("p", sleeps(0), raises()) if "mark" in where else rule("p", sleeps(0))
        with patch.context() as quiet:
            quiet.setattr(registry.engine.housekeeper, "start", lambda *_: None)
            arm(registry, terms)
        if where != "tests.clock":
            patch.setattr(where, _broken)
        assert function() == "own"
        assert asyncio.run(coroutine()) == "own"
        registry.point("p").hit()
    assert bugs, name
    assert {type(bug) for bug in bugs} <= {ZeroDivisionError, AttributeError}
    bugs.clear()


def _broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError("a bug of ours")


# -- waiting -----------------------------------------------------------------------------


def test_a_latency_delays_by_its_seconds(
    registry: Registry, function: Callable[[], str], clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    handle = arm(registry, rule("p", sleeps(0.2)))
    job = pool.submit(function)
    clock.until_waiting(0.2)
    clock.advance(0.1)
    clock.until_waiting(0.2)
    assert not job.done()
    clock.advance(0.1001)
    assert job.result(PATIENCE) == "own"
    assert (handle.injections, handle.interrupted) == (1, 0)


def test_sleeps_that_are_woken_for_no_reason_sleep_on(
    registry: Registry, function: Callable[[], str], clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    (one,) = arm(registry, rule("p", sleeps(30))).rules
    job = pool.submit(function)
    clock.until_waiting(30)
    clock.advance(10)
    one.wake()
    clock.until_waiting(20)  # the rest
    assert not job.done()
    clock.advance(20)
    assert job.result(PATIENCE) == "own"
    assert one.interrupted == 0


@pytest.mark.parametrize("fault", [sleeps(30), hangs(), hangs(30)], ids=str)
@pytest.mark.parametrize("kind", ["function", "coroutine", "hit", "ahit"])
def test_disarming_wakes_and_drops_the_rest(
    registry: Registry,
    function: Callable[[], str],
    coroutine: Callable[[], Any],
    clock: FakeClock,
    pool: ThreadPoolExecutor,
    fault: Does,
    kind: str,
) -> None:
    point = registry.point("p")
    call = {
        "function": function,
        "coroutine": lambda: asyncio.run(coroutine()),
        "hit": lambda: point.hit(),
        "ahit": lambda: asyncio.run(point.ahit()),
    }[kind]
    handle = arm(registry, rule("p", fault, raises()))
    jobs = [pool.submit(call) for _ in range(3)]
    clock.until_waiting(None if fault == hangs() else 30, count=3)
    handle.disarm()
    assert [job.result(PATIENCE) for job in jobs] == [None if "hit" in kind else "own"] * 3
    assert (handle.injections, handle.interrupted) == (3, 3)
    assert handle.rules[0].sleepers == set()


@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_a_bounded_hang_ends_in_its_exception(
    registry: Registry,
    function: Callable[[], str],
    coroutine: Callable[[], Any],
    clock: FakeClock,
    pool: ThreadPoolExecutor,
    kind: str,
) -> None:
    late = Does("hang", (Hold(30), Raise(TimeoutError, "TimeoutError")))
    handle = arm(registry, rule("p", late))
    job = pool.submit(function if kind == "function" else lambda: asyncio.run(coroutine()))
    clock.until_waiting(30)
    clock.advance(30)
    with pytest.raises(TimeoutError):
        job.result(PATIENCE)
    assert handle.interrupted == 0


def test_a_rule_disarmed_by_an_observer_does_not_begin_to_sleep(
    registry: Registry, function: Callable[[], str]
) -> None:
    registry.add_observer(Calls(lambda _: registry.disarm()))
    handle = arm(registry, rule("p", hangs()))
    assert function() == "own"
    assert (handle.injections, handle.interrupted) == (1, 1)


def test_waits_follow_each_other_before_the_outcome(
    registry: Registry, function: Callable[[], str], clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    arm(registry, rule("p", sleeps(3), sleeps(4), answers("other")))
    job = pool.submit(function)
    clock.until_waiting(3)
    clock.advance(3)
    clock.until_waiting(4)
    clock.advance(4)
    assert job.result(PATIENCE) == "other"


def test_n_callers_do_not_queue_their_sleeps(
    registry: Registry, function: Callable[[], str], clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    arm(registry, rule("p", sleeps(30)))
    jobs = [pool.submit(function) for _ in range(10)]
    clock.until_waiting(30, count=10)
    clock.advance(30)
    assert [job.result(PATIENCE) for job in jobs] == ["own"] * 10


def test_a_sleeping_coroutine_leaves_the_loop_to_others(
    registry: Registry, coroutine: Callable[[], Any], clock: FakeClock
) -> None:
    (one,) = arm(registry, rule("p", sleeps(30))).rules
    ticks = 0

    async def main() -> None:
        nonlocal ticks
        task = asyncio.create_task(coroutine())
        await until(lambda: one.sleepers)
        for _ in range(10):
            await turn()
            ticks += not task.done()
        clock.advance(30)
        assert await task == "own"

    asyncio.run(main())
    assert ticks == 10


def test_cancelling_a_sleeping_task_passes_and_leaves_nothing_behind(
    registry: Registry, coroutine: Callable[[], Any], clock: FakeClock
) -> None:
    handle = arm(registry, rule("p", sleeps(30), raises()))

    async def main() -> None:
        task = asyncio.create_task(coroutine())
        await until(lambda: handle.rules[0].sleepers)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert handle.rules[0].sleepers == set()
    assert (handle.injections, handle.interrupted) == (1, 0)
    handle.disarm()


def test_a_timeout_around_a_sleeping_coroutine(
    registry: Registry, coroutine: Callable[[], Any]
) -> None:
    arm(registry, rule("p", hangs()))

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await coroutine()

    asyncio.run(main())


def test_ctrl_c_in_a_sleep_passes_and_leaves_nothing_behind(
    registry: Registry,
    function: Callable[[], str],
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry.engine.housekeeper.stop()  # it waits on the same clock
    handle = arm(registry, rule("p", sleeps(30), raises()))

    def pressed(*_: object) -> None:
        assert handle.rules[0].sleepers
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "wait", pressed)
    with pytest.raises(KeyboardInterrupt):
        function()
    monkeypatch.undo()
    assert handle.rules[0].sleepers == set()
    assert (handle.injections, handle.interrupted) == (1, 0)


def test_a_loop_that_closed_over_a_sleeper_does_not_disturb_disarming(
    registry: Registry, coroutine: Callable[[], Any]
) -> None:
    handle = arm(registry, rule("p", hangs()))
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine())
    while not handle.rules[0].sleepers:
        loop.run_until_complete(asyncio.wait_for(turn(), 1))
    (waker,) = handle.rules[0].sleepers
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    handle.rules[0].sleepers.add(waker)
    handle.disarm()
    assert handle.rules[0].sleepers == set()


def test_a_plain_call_on_a_thread_with_a_loop_waits_and_logs_once_what_to_use(
    registry: Registry, function: Callable[[], str], log: pytest.LogCaptureFixture
) -> None:
    arm(registry, rule("p", sleeps(0)))

    async def main() -> None:
        for _ in range(3):
            assert function() == "own"
        registry.point("p").hit()

    asyncio.run(main())
    (said,) = [one.getMessage() for one in log.records if one.levelname == "WARNING"]
    assert "'p' delays a thread that runs an event loop" in said
    assert "use 'async with' or 'ahit'" in said


def test_under_another_event_loop_waits_are_left_out_and_not_counted(
    registry: Registry,
    coroutine: Callable[[], Any],
    bugs: deque[BaseException],
    witness: Witness,
    log: pytest.LogCaptureFixture,
) -> None:
    late = Does("hang", (Hold(30), Raise(TimeoutError, "TimeoutError")))
    handle = arm(registry, *(rule("p", one, times=1) for one in (sleeps(30), hangs(), late)))
    for _ in range(3):
        assert run_coroutine(coroutine()) == "own"  # run by hand, as by trio
    assert (handle.injections, witness.injections) == (0, [])
    errors = [one.getMessage() for one in log.records if one.levelname == "ERROR"]
    assert len(errors) == 1
    assert "act only in tasks of asyncio's event loop" in errors[0]
    assert "run the code under asyncio, or arm an exception" in errors[0]
    assert not any(one.sleepers for one in handle.rules)
    handle.disarm()
    handle = arm(registry, rule("p", sleeps(30), raises()))
    with pytest.raises(Boom):
        run_coroutine(coroutine())
    assert handle.injections == 1
    (seen,) = witness.injections
    assert (seen.fault, seen.latency) == ("exception", None)
    bugs.clear()


def test_faults_that_need_no_loop_act_under_any(
    registry: Registry, coroutine: Callable[[], Any]
) -> None:
    handle = arm(registry, rule("p", raises(), times=1))
    with pytest.raises(Boom):
        run_coroutine(coroutine())
    handle.disarm()
    arm(registry, rule("p", answers(5)))
    assert run_coroutine(coroutine()) == 5


def test_the_two_drivers_differ_only_by_await() -> None:
    import ast
    import inspect

    def plain(function: Any) -> str:
        tree = ast.parse(inspect.getsource(function)).body[0]
        assert isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef)
        tree.body = tree.body[1:]  # the docstring
        text = "\n".join(map(ast.unparse, tree.body))
        for name in ("take_steps", "wait", "run", "computed"):
            text = text.replace(f"await _a{name}", f"_{name}")
        return text.replace(", given, True)", ", given)").replace(", in_task=True", "")

    assert plain(drive.drive) == plain(drive.adrive)
    assert plain(drive._take_steps) == plain(drive._atake_steps)


def test_nothing_else_in_the_kernel_sleeps() -> None:
    from pathlib import Path

    for path in Path(drive.__file__).parent.glob("*.py"):
        text = path.read_text().replace("time.sleep(0)", "")  # gives up the turn, and no more
        assert "time.sleep" not in text, path
        assert "asyncio.sleep" not in text, path


def test_an_answer_after_a_sleep_is_dropped_when_woken(
    registry: Registry,
    function: Callable[[], str],
    clock: FakeClock,
    pool: ThreadPoolExecutor,
    witness: Witness,
) -> None:
    handle = arm(registry, rule("p", sleeps(30), answers("other")))
    job = pool.submit(function)
    clock.until_waiting(30)
    registry.disable()
    assert job.result(PATIENCE) == "own"
    assert (handle.injections, handle.interrupted) == (1, 1)
    assert len(witness.injections) == 1


@pytest.mark.parametrize("made", ["boo", {}, None, StopIteration(1), GeneratorExit()])
def test_an_object_that_is_not_an_exception_lets_the_call_through(
    registry: Registry,
    function: Callable[[], str],
    made: Any,
    bugs: deque[BaseException],
    log: pytest.LogCaptureFixture,
) -> None:
    """What builds exceptions was asked when arming, and may answer otherwise at a call."""
    handle = arm(registry, rule("p", Does("exception", (Raise(lambda: made, "Boom"),))))
    assert function() == "own"
    assert (handle.reaches, handle.injections) == (1, 0)
    assert "correct the rule's exception or value" in log.text
    assert [type(bug) for bug in bugs] == [TypeError]
    bugs.clear()


def test_the_record_names_the_exception_that_was_made(
    registry: Registry, function: Callable[[], str], witness: Witness
) -> None:
    arm(registry, rule("p", Does("exception", (Raise(lambda: KeyError("k"), "Boom"),))))
    with pytest.raises(KeyError):
        function()
    assert [injection.exception for injection in witness.injections] == ["KeyError"]


def test_disarming_while_the_exception_is_built_prevents_the_injection(
    registry: Registry, function: Callable[[], str]
) -> None:
    def slow() -> BaseException:
        registry.disarm()
        return Boom()

    handle = arm(registry, rule("p", raises(slow)))
    assert function() == "own"
    assert handle.injections == 0


class Turns:
    """Draws, and says by turns the right name of what it raises and a wrong one."""

    kind = "exception"

    def __init__(self) -> None:
        self._names = cycle(("OSError", "KeyError"))

    def effects(self, draws: Any) -> tuple[Effect, ...]:
        draws.uniform("choice")
        return (Raise(OSError, next(self._names)),)


def test_each_injection_names_the_type_that_was_raised(
    registry: Registry, function: Callable[[], str], witness: Witness
) -> None:
    """Whether one effect makes several types, or an effect is named for what another raises."""
    made = cycle((KeyError, OSError, OSError))
    several = Does("exception", (Raise(lambda: next(made)(), "KeyError"),))
    for fault in (several, Turns()):
        handle = arm(registry, rule("p", fault))
        raised = []
        for _ in range(6):
            with pytest.raises((OSError, KeyError)) as failure:
                function()
            raised.append(failure.type.__name__)
        handle.disarm()
        assert [one.exception for one in witness.injections[-6:]] == raised
