"""Faults that an exploration must not miss, must not report wrongly, and must survive."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import python

from chaospoint import ChaosError, InjectedFault, Registry
from chaospoint.errors import InvalidPlan
from chaospoint.testing import explore
from chaospoint.testing.exploring.cases import Cases, Faults, Reach, cases_of

TESTS = """
    import asyncio
    import threading
    import unittest

    import pytest

    import chaospoint

    bank = chaospoint.point("bank.charge", raises=(OSError, TimeoutError))
    runs = []

    def pay():
        try:
            bank.hit()
        except OSError:
            pass

    @pytest.fixture(scope="module")
    def server():
        yield
        raise RuntimeError("the server does not stop")

    def test_passes_only_once(server):
        pay()
        runs.append(1)
        assert len(runs) == 1

    @pytest.fixture
    def torn():
        yield
        raise RuntimeError("broken")

    def test_teardown_fails(torn):
        pay()

    def test_subtests(subtests):
        with subtests.test("one"):
            bank.hit()

    class TestOld(unittest.TestCase):
        def test_subtests(self):
            with self.subTest("one"):
                bank.hit()

    class TestState:
        def test_fresh(self):
            assert not hasattr(self, "seen")
            self.seen = 1
            pay()

    def test_log(caplog):
        pay()
        assert not caplog.records

    @pytest.fixture
    def done():
        event = threading.Event()
        yield event
        event.wait()

    def test_hangs_when_torn_down(done):
        try:
            bank.hit()
            done.set()
        except OSError:
            pass

    async def waits():
        future = asyncio.get_running_loop().create_future()
        async def work():
            bank.hit()
            future.set_result(2)
        task = asyncio.create_task(work())
        return await future

    def test_leaves_a_task():
        assert asyncio.run(waits()) == 2
"""
DOCTEST = """
    def paid():
        '''
        >>> paid()
        1
        '''
        return 1
"""
CONFTEST = "from chaospoint.testing.exploring import recording\nrecording._MIN_LIMIT = 0.2\n"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The results of one run of these tests, by test; the output is under the empty name."""
    path = tmp_path_factory.mktemp("mended")
    (path / "test_it.py").write_text(textwrap.dedent(TESTS))
    (path / "paid.py").write_text(textwrap.dedent(DOCTEST))
    (path / "conftest.py").write_text(CONFTEST)
    plugins = ["-p", "no:cacheprovider", "-p", "chaospoint.testing.plugin"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--rootdir=.", *plugins, "--tb=short"),
            *("--chaos-explore", "--chaos-explore-latency=none", "--chaos-explore-json=found.json"),
            *("--doctest-modules", "paid.py", "test_it.py"),
        ],
        cwd=path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    data = json.loads((path / "found.json").read_text())
    tests = {one["test"].rpartition("::")[2]: one for one in data["tests"][::-1]}
    old = [one for one in data["tests"] if "TestOld" in one["test"]]
    return {**tests, "old": old[0], "": {"output": done.stdout + done.stderr}}


@pytest.mark.parametrize(
    ("test", "why"),
    [
        (
            "test_passes_only_once",
            "not explored: a second run without faults failed with AssertionError",
        ),
        ("test_teardown_fails", "not explored: the test fails without a fault"),
        ("paid.paid", "not explored: it is not a test function"),
    ],
)
def test_where_faults_would_prove_nothing_there_are_none(
    found: dict[str, Any], test: str, why: str
) -> None:
    assert found[test]["reaches"] == {}
    assert found[test]["left_out"][0].startswith(why)


@pytest.mark.parametrize(
    ("test", "outcome", "said"),
    [
        ("test_subtests", "failed", "in a subtest"),
        ("old", "failed", "in a subtest"),
        ("test_fresh", "handled", None),
        ("test_log", "handled", None),
        ("test_hangs_when_torn_down", "hung", "it did not end within 0.2 s of real time"),
        ("test_leaves_a_task", "hung", "it did not end within 0.2 s of real time"),
    ],
)
def test_what_became_of_each(
    found: dict[str, Any], test: str, outcome: str, said: str | None
) -> None:
    cases = found[test]["reaches"]["bank.charge#1"]
    assert len(cases) == 2
    failed = [one for one in cases if "OSError" in one["case"] and one["when"] == "before"]
    if said == "in a subtest" and pytest.version_tuple < (9, 0):
        said = None  # pytest itself knows no subtests, and the failure is the test's
    assert [(one["outcome"], one.get("reason")) for one in failed] == [(outcome, said)]


def test_no_run_ends_the_session_and_what_outlives_a_test_is_torn_down(
    found: dict[str, Any],
) -> None:
    output = found[""]["output"]
    assert "INTERNALERROR" not in output
    assert "ERROR at teardown of test_leaves_a_task _" in output  # the last one, and no case of it
    assert "the server does not stop" in output
    assert "SUBFAILED" not in output


def test_each_answer_is_lost_with_each_exception() -> None:
    one = [Reach("a", (OSError, TimeoutError))]
    found: Cases = cases_of(one, one, Faults.of((), None))
    assert [case.id for case in found.cases] == [
        "a#1 raise(OSError)",
        "a#1 after raise(OSError)",
        "a#1 raise(TimeoutError)",
        "a#1 after raise(TimeoutError)",
    ]


def test_what_ends_a_program_is_no_fault_of_a_call(registry: Registry) -> None:
    kinds = (KeyboardInterrupt, SystemExit, asyncio.CancelledError)
    found = cases_of([Reach("a", (OSError, *kinds))], [], Faults.of((), None))
    assert [case.id for case in found.cases] == ["a#1 raise(OSError)"]
    assert len(found.left_out) == 3
    for kind in kinds:
        with pytest.raises(InvalidPlan, match="is not an Exception"):
            Faults.of([kind])
    with pytest.raises(ChaosError, match="fails without a fault, with SystemExit: 2"):
        explore(lambda: sys.exit(2), registry=registry)


def test_calls_that_only_a_fault_brings_about_are_said(registry: Registry) -> None:
    """Only calls that also happen without a fault are failed, so these are not."""
    point = registry.point("a.call")

    def retries() -> None:
        for _ in range(3):
            try:
                point.hit()
                return
            except InjectedFault:
                continue

    found = explore(retries, registry=registry)
    assert found.exhaustive
    assert found.beyond == (
        "a.call#2: reached only under a fault, first in a.call#1 raise(InjectedFault), and not "
        "failed in turn",
    )
    assert found.as_data()["beyond"] == [*found.beyond]
    assert "exhaustive; 1 call happened only under a fault and was not failed" in str(found)


def test_an_error_that_a_task_keeps_to_itself_is_not_handled(registry: Registry) -> None:
    async def forgets() -> None:
        async def job() -> None:
            registry.point("a.call").hit()

        kept = [asyncio.create_task(job())]
        kept.append(kept)  # type: ignore[arg-type]  # only the collector finds it
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    gc.disable()
    try:
        (one,) = explore(forgets, registry=registry, latency=None).cases
    finally:
        gc.enable()
    assert (one.outcome, one.injected) == ("failed", True)
    assert one.reason == "unhandled in a task or callback of an event loop"


def test_an_error_in_a_finalizer_is_not_handled(registry: Registry) -> None:
    class Held:
        def __del__(self) -> None:
            registry.point("a.call").hit()

    (one,) = explore(lambda: Held() and None, registry=registry, latency=None).cases
    assert (one.outcome, one.reason) == (
        "failed",
        "unhandled in a finalizer or another place that cannot raise",
    )


def test_a_late_answer_in_a_thread_proves_nothing_of_timeouts(registry: Registry) -> None:
    point = registry.point("a.call")

    async def awaited() -> None:
        async with point:
            pass

    def found(fn: Callable[[], object]) -> bool:
        (one,) = explore(fn, registry=registry, after=False, exceptions=[OSError]).cases[1:]
        assert one.waited == 600.0
        return one.in_thread

    def called() -> None:
        try:
            with point:
                pass
        except OSError:
            pass

    assert (found(called), found(awaited)) == (True, False)


def test_what_takes_the_alarm_itself_leaves_hangs_out(registry: Registry) -> None:
    def pay() -> None:
        signal.alarm(0)
        registry.point("a.call").hit()

    found = explore(pay, registry=registry, latency=None)
    assert found.left_out[0] == "hangs: the program uses the alarm (SIGALRM) that would end them"
    assert found.left_out[1].startswith("hangs of 1 case, first a.call#1 raise(InjectedFault)")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")
def test_a_forked_child_is_not_struck_as_well() -> None:
    python(
        """
        import os
        from chaospoint import Registry
        from chaospoint.testing import explore

        registry = Registry()
        point = registry.point("a.call")

        def forks():
            try:
                point.hit()
            except Exception:
                pass
            if not (child := os.fork()):
                try:
                    point.hit()
                except BaseException:
                    os._exit(7)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0

        found = explore(forks, registry=registry, latency=None)
        assert len(found.cases) == 1 and not found.findings, found
        """
    )


def test_what_swallows_its_end_for_ever_is_ended_with_its_process(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent(
            """
            import chaospoint
            from chaospoint.testing.exploring import recording, time_limit

            recording._MIN_LIMIT = time_limit._REPEAT = 0.1

            def test_never_ends():
                try:
                    chaospoint.point("bank").hit()
                except Exception:
                    while True:
                        try:
                            while True:
                                pass
                        except BaseException:
                            pass
            """
        )
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--chaos-explore"),
            *("-p", "chaospoint.testing.plugin", "--rootdir=."),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    said = r"case bank#1 raise\(InjectedFault\) did not end within 0\.\d+ s and caught"
    assert re.search(said, done.stderr), done.stderr
    assert "in test_never_ends" in done.stderr


def test_what_is_no_function_is_refused(registry: Registry) -> None:
    async def pay() -> None:
        pass

    with pytest.raises(InvalidPlan, match="pass the function itself"):
        explore(pay(), registry=registry)  # type: ignore[arg-type]


def test_what_blocks_declare_is_known_at_the_end_of_a_run(registry: Registry) -> None:
    """The first exploration of a process has the same cases as later ones."""

    def two() -> None:
        for kind in (KeyError, OSError):
            try:
                with registry.point("a.block", raises=kind):
                    pass
            except (KeyError, OSError):
                pass

    first, second = (explore(two, registry=registry, latency=None) for _ in range(2))
    assert [one.case for one in first.cases] == [one.case for one in second.cases]
