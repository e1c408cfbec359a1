"""`Chaos` without pytest: as a context manager, in unittest, with a registry, and in threads."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from helpers import Threads

import chaospoint
from chaospoint import ChaosError, Plan, Registry
from chaospoint._kernel import reporting
from chaospoint.arming import Origin, install_plan
from chaospoint.errors import ChaosWarning, InvalidPlan, NotPermitted, UnknownPoint
from chaospoint.testing import Chaos
from chaospoint.testing.kit.held_until import HeldUntil


def seen(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def test_everything_is_disarmed_at_the_end(registry: Registry) -> None:
    point = registry.point("a.b")
    with Chaos(registry=registry) as chaos:
        chaos.arm("a.b", exception=TimeoutError)
        with pytest.raises(TimeoutError):
            point.hit()
    point.hit()
    assert not registry.rules()
    assert not registry.engine.watches
    assert chaos not in registry.observers
    assert (chaos.injections("a.b"), chaos.reaches("a.b")) == (1, 1)
    assert [one.ordinal for one in chaos.history] == [1]


def test_each_problem_is_a_line(registry: Registry) -> None:
    registry.point("a.b")

    def work() -> None:
        with Chaos(registry=registry, seed=5) as chaos:
            chaos.arm("a.b", exception=TimeoutError)
            chaos.arm("a.b", exception=OSError)
            chaospoint.arm("a.b", latency=0, registry=registry)
            registry.engine.disable("code")

    with pytest.raises(AssertionError) as failure:
        work()
    lines = str(failure.value).splitlines()
    assert ["TimeoutError" in lines[0], "OSError" in lines[1]] == [True, True]
    assert lines[2].startswith("the test left chaospoint disabled")
    assert lines[3:] == ["repeat it with CHAOSPOINT_SEED=5"]
    assert registry.enabled
    with Chaos(registry=registry):
        pass


def test_who_is_held_is_named_and_let_go(registry: Registry, pool: Threads) -> None:
    point = registry.point("a.b")
    calls = []

    def work() -> None:
        with Chaos(registry=registry) as chaos:
            chaos.pause("a.b")
            calls.append(pool.submit(point.hit))
            chaos.wait_until_paused("a.b")

    with pytest.raises(AssertionError, match=r"a call of a\.b is still paused"):
        work()
    calls[0].result()


def test_what_code_left_is_named_and_disarmed(registry: Registry) -> None:
    registry.point("a.b")
    before = chaospoint.arm("a.b", latency=0, registry=registry)
    with (
        pytest.raises(AssertionError, match=r"a\.b=latency\(1s\), armed by code, was left armed"),
        Chaos(registry=registry),
    ):
        chaospoint.arm("a.b", latency=1, registry=registry)
    assert registry.rules() == before.rules
    before.disarm()


@pytest.mark.parametrize("source", ["env", "file"])
def test_what_whoever_runs_the_tests_armed_is_left(
    registry: Registry, source: Literal["env", "file"]
) -> None:
    registry.point("a.b")
    plan = Plan.parse("a.b=latency(0)")
    with Chaos(registry=registry):
        armed = install_plan(plan, origin=Origin(source), registry=registry)
    assert registry.rules() == armed.rules


def test_an_error_is_let_through_with_what_else_was_wrong(registry: Registry) -> None:
    registry.point("a.b")

    def work() -> None:
        with Chaos(registry=registry) as chaos:
            chaos.arm("a.b", latency=0)
            raise LookupError("its own")

    with pytest.raises(LookupError, match="its own") as failure:
        work()
    assert "a.b=latency(0ms) was armed but never fired" in seen(failure.value)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("where", "why"),
    [
        ({"ordr": "A"}, "no decorated function here has the argument or label 'ordr'"),
        ({"tier": "two"}, "the label 'tier' never has the value"),
    ],
)
def test_a_where_that_no_call_can_match_is_named(
    registry: Registry, when: Literal["before", "after"], where: dict[str, str], why: str
) -> None:
    @registry.point("a.b", labels={"tier": "one"})
    def charge(order: str) -> str:
        return order

    def work() -> None:
        with Chaos(registry=registry) as chaos:
            with pytest.warns(ChaosWarning, match="`where` of"):
                chaos.arm("a.b", exception=TimeoutError, where=where, when=when)
            assert charge("A") == "A"

    with pytest.raises(AssertionError) as failure:
        work()
    assert f"'a.b' was reached once in this test, but {why}" in str(failure.value)


def test_an_internal_error_fails_the_block_it_happened_in(registry: Registry) -> None:
    class Bad:
        def observe(self, injection: object) -> None:
            raise RuntimeError("bad observer")

    point = registry.point("a.b")
    registry.add_observer(Bad())

    def work() -> None:
        with Chaos(registry=registry) as chaos:
            chaos.arm("a.b", latency=0)
            point.hit()

    with pytest.raises(AssertionError, match=r"that it called, failed[\s\S]*bad observer"):
        work()
    with Chaos(registry=registry):
        pass


def test_an_earlier_error_is_left_for_whom_it_belongs_to(
    registry: Registry, expected_bugs: list[BaseException]
) -> None:
    try:
        raise RuntimeError("earlier")
    except RuntimeError:
        reporting.report_bug("something")
    with Chaos(registry=registry):
        pass
    assert [str(error) for error in reporting.bugs] == ["earlier"]


@pytest.mark.parametrize(
    ("all_of_them", "its_own", "fails"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, True)],
)
def test_must_fire(
    registry: Registry, all_of_them: bool, its_own: bool | None, fails: bool
) -> None:
    registry.point("a.b")
    chaos = Chaos(registry=registry, must_fire=all_of_them).start()
    chaos.arm("a.b", latency=0, must_fire=its_own)
    with chaos.armed("a.b", latency=0, must_fire=its_own):
        pass
    assert len(chaos.finish()) == 2 * fails


def test_one_is_for_one_test(registry: Registry) -> None:
    registry.point("a.b")
    registry.point("a.d")
    chaos = Chaos(registry=registry)
    for use in (lambda: chaos.arm("a.b", latency=0), lambda: chaos.hold("a.b", until="a.d")):
        with pytest.raises(ChaosError, match="only while its test runs"):
            use()
    with chaos:
        assert chaos.active
        with pytest.raises(ChaosError, match="create a new Chaos"), chaos:
            pass
        assert chaos.active
    assert not chaos.active
    for late in (lambda: chaos.arm("a.b", latency=0), chaos.finish):
        with pytest.raises(ChaosError, match="only while its test runs"):
            late()
    with pytest.raises(ChaosError, match="create a new Chaos"):
        chaos.start()
    assert not registry.engine.watches


def test_the_seed_is_given_or_of_the_environment_or_drawn(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Chaos(registry=registry).seed != Chaos(registry=registry).seed
    assert Chaos(registry=registry, seed=0).seed == 0
    monkeypatch.setenv("CHAOSPOINT_SEED", "0")
    assert Chaos(registry=registry).seed == 0
    assert Chaos(registry=registry, seed=4).seed == 4


def test_the_same_seed_fires_the_same(registry: Registry) -> None:
    point = registry.point("a.b")

    def ordinals(seed: int) -> list[int]:
        with Chaos(registry=registry, seed=seed) as chaos:
            chaos.arm("a.b", latency=0, probability=0.5)
            for _ in range(64):
                point.hit()
        return [one.ordinal for one in chaos.history]

    assert ordinals(3) == ordinals(3) != ordinals(4)


def test_what_arming_refuses_is_refused(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.point("a.b")
    with Chaos(registry=registry) as chaos:
        with pytest.raises(InvalidPlan):
            chaos.arm("a.b", exceptoin=TimeoutError)  # type: ignore[call-arg]
        with pytest.raises(UnknownPoint, match=r"a\.b"):
            chaos.arm("a.bb", latency=0, strict=True)
        with pytest.raises(InvalidPlan, match="complete"):
            chaos.arm(Plan.parse("a.b=off"), latency=0)
        monkeypatch.setenv("CHAOSPOINT_ENABLED", "false")
        with pytest.raises(NotPermitted):
            chaos.arm("a.b", latency=0)
        monkeypatch.delenv("CHAOSPOINT_ENABLED")
        with pytest.raises(ChaosError, match="glob"):
            chaos.hold("a.*", until="a.b")
    assert not registry.rules()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), True, "5s", None])
def test_what_is_no_time_to_wait_is_refused(registry: Registry, timeout: Any) -> None:
    registry.point("a.b")
    with Chaos(registry=registry) as chaos:
        for wait in (
            lambda: chaos.pause("a.b", timeout=timeout),
            lambda: chaos.hold("a.b", until="a.c", timeout=timeout),
        ):
            with pytest.raises(ChaosError, match="write a number of seconds above 0"):
                wait()
        assert not registry.rules()


def test_misspelt_points_of_hold_are_said_with_what_is_near(registry: Registry) -> None:
    point = registry.point("a.read")
    registry.point("a.write")
    chaos = Chaos(registry=registry).start()
    with pytest.warns(
        ChaosWarning, match=r"'a\.wirte' so far: a\.read waits.*the nearest: a\.write"
    ):
        chaos.hold("a.read", until="a.wirte", timeout=0.01)
    point.hit()
    (problem,) = chaos.finish()
    assert problem.startswith("a call of a.read waited 0.01 s for a.wirte, which was not reached")
    assert "the nearest: a.write (never reached)" in problem


def test_hold_asks_for_what_comes_from_then_on(registry: Registry) -> None:
    read, write = registry.point("a.read"), registry.point("a.write")
    chaos = Chaos(registry=registry).start()
    write.hit()
    chaos.hold("a.read", until="a.write")
    problems = chaos.finish()
    assert len(problems) == 2
    assert "'a.read' was never reached" in problems[0]
    assert "'a.write' was never reached after" in problems[1]
    read.hit()


def test_hold_in_threads(registry: Registry, pool: Threads) -> None:
    """A held call always continues after the other point was reached, and never before."""
    read, write = registry.point("a.read"), registry.point("a.write")
    order: list[str] = []

    def reads() -> None:
        read.hit()
        order.append("read")

    def writes() -> None:
        order.append("write")
        write.hit()

    for _ in range(50):
        order.clear()
        with Chaos(registry=registry) as chaos:
            chaos.hold("a.read", until="a.write")
            for call in [pool.submit(one) for one in (reads, reads, writes)]:
                call.result()
        assert order == ["write", "read", "read"]
    assert not registry.engine.watches


def test_a_wait_that_ends_otherwise_is_said(registry: Registry) -> None:
    registry.point("a.b")

    async def main() -> None:
        await chaos.await_until_paused("a.b", timeout=0.01)

    with Chaos(registry=registry) as chaos:
        handle = chaos.pause("a.b", must_fire=False)
        with pytest.raises(TimeoutError, match=r"waited 0\.01 s for 1 paused call of a\.b=pause"):
            chaos.wait_until_paused("a.b", timeout=0.01)
        with pytest.raises(TimeoutError, match="saw 0 injections in 0 reaches"):
            asyncio.run(main())
        handle.disarm()
        with pytest.raises(ChaosError, match="nothing pauses"):
            chaos.wait_until_paused("a.b")


def test_points_that_come_later(registry: Registry) -> None:
    with Chaos(registry=registry) as chaos:
        with pytest.warns(ChaosWarning):
            chaos.arm("late.*", latency=0)
        with pytest.raises(UnknownPoint):
            chaos.reaches("late.one")
        registry.point("late.one").hit()
        assert chaos.reaches("late.*") == chaos.injections("late.one") == 1


UNITTEST = """
import unittest

import chaospoint
from chaospoint.testing import Chaos

@chaospoint.point("dice.throw")
def throw():
    return 0

class TestDice(unittest.TestCase):
    def setUp(self):
        self.chaos = self.enterContext(Chaos())

    def test_a_fires(self):
        self.chaos.arm("dice.throw", returns=1, times=1)
        self.assertEqual([throw(), throw()], [1, 0])

    def test_b_never(self):
        self.chaos.arm("dice.throw", returns=1)

    def test_c_leak(self):
        chaospoint.arm("dice.throw", returns=1)

    def test_d_its_own(self):
        with Chaos() as chaos:
            chaos.arm("dice.throw", returns=1, probability=0.5)
            self.fail(f"thrown {[throw() for _ in range(64)]}")

    def test_e_clean(self):
        self.assertEqual(throw(), 0)

class TestTasks(unittest.IsolatedAsyncioTestCase):
    async def test_async(self):
        chaos = self.enterContext(Chaos())
        chaos.arm("dice.throw", returns=1, scope="context")
        self.assertEqual(throw(), 1)

if __name__ == "__main__":
    unittest.main(verbosity=2)
"""


def test_in_unittest(tmp_path: Path) -> None:
    """Only the tests that caused a problem fail, and the seed repeats them."""
    (tmp_path / "test_dice.py").write_text(UNITTEST)

    def run(**env: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "unittest", "-v", "test_dice"],
            cwd=tmp_path,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1
        assert not done.stdout
        return done.stderr

    first = run()
    results = re.findall(r"^(test_\w+) .*\.\.\. (?:.*\n)??(ok|FAIL|ERROR)$", first, re.MULTILINE)
    assert dict(results) == {
        "test_a_fires": "ok",
        "test_b_never": "FAIL",
        "test_c_leak": "FAIL",
        "test_d_its_own": "FAIL",
        "test_e_clean": "ok",
        "test_async": "ok",
    }, first
    assert "dice.throw=return(1) was armed but never fired: 'dice.throw' was never" in first
    assert "dice.throw=return(1), armed by code, was left armed" in first
    assert "fixture" not in first.partition("use `with armed")[0]
    (thrown,) = re.findall(r"thrown \[[01].*\]", first)
    seed = first.partition(thrown)[2].partition("CHAOSPOINT_SEED=")[2].split()[0]
    assert re.findall(r"thrown \[[01].*\]", run(CHAOSPOINT_SEED=seed)) == [thrown]


def test_one_within_another_leaves_that_alone(registry: Registry) -> None:
    point = registry.point("a.b")
    with Chaos(registry=registry) as outer, Chaos(registry=registry):
        outer.arm("a.b", latency=0)
        point.hit()
        assert len(registry.rules()) == 1
    assert registry.rules() == ()


def test_ctrl_c_at_the_end_leaves_nothing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.point("a.b")
    disarm, pressed = chaospoint.Armed.disarm, []

    def press(handle: chaospoint.Armed) -> None:
        disarm(handle)
        if not pressed:
            pressed.append(True)
            raise KeyboardInterrupt

    monkeypatch.setattr(chaospoint.Armed, "disarm", press)
    chaos = Chaos(registry=registry).start()
    for _ in range(2):
        chaos.arm("a.b", latency=0, must_fire=False)
    with pytest.raises(KeyboardInterrupt):
        chaos.finish()
    assert registry.rules() == ()
    assert registry.engine.watches == ()


def test_the_seed_of_what_came_by_chance_is_said(
    registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """unittest does not tell whether the test failed, so the seed is always printed."""
    point = registry.point("a.b")
    for keys, said in (({}, False), ({"probability": 0.999}, True), ({"failure_rate": 0.5}, True)):
        with Chaos(registry=registry) as chaos:
            chaos.arm("a.b", latency=0, must_fire=False, **keys)
            try:
                point.hit()
            except chaospoint.InjectedFault:
                pass
        assert (f"CHAOSPOINT_SEED={chaos.seed}" in capsys.readouterr().err) is said
    monkeypatch.setenv("CHAOSPOINT_SEED", "7")
    with Chaos(registry=registry) as chaos:
        chaos.arm("a.b", latency=0, probability=0.5, must_fire=False)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_child_is_not_paused(registry: Registry) -> None:
    """The test could not release it."""
    point = registry.point("a.b")
    with Chaos(registry=registry) as chaos:
        chaos.pause("a.b", must_fire=False)
        if (child := os.fork()) == 0:
            point.hit()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_who_is_waited_for_may_come_while_the_order_is_made(registry: Registry) -> None:
    read, write = registry.point("a.read"), registry.point("a.write")

    def pause() -> chaospoint.Armed:
        write.hit()
        return chaospoint.arm("a.read", faults=[{"kind": "pause"}], registry=registry)

    order = HeldUntil(registry, pause, "a.read", "a.write", 5)
    assert registry.rules() == ()
    read.hit()
    order.stop()
    assert list(order.problems(lambda name: "")) == []
