"""How long the machine's clock waits at a stretch."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import sys

import pytest

from chaospoint._kernel.bell import Bell
from chaospoint._kernel.clock import SystemClock
from chaospoint._kernel.ending import executor_of_a_loop


class Asked(Bell):
    """A bell that notes down how long it is waited for."""

    __slots__ = ("seconds",)

    def wait(self, seconds: float | None = None) -> bool:
        self.seconds = seconds
        return True


def asked(seconds: float | None) -> float | None:
    bell = Asked()
    SystemClock().wait(bell, seconds)
    return bell.seconds


@pytest.mark.parametrize("seconds", [None, 30.0, 1.0, 0.25])
def test_a_thread_waits_for_as_long_as_it_asks(seconds: float | None) -> None:
    """Else the threads of the engine would look more often than once a second."""
    assert asked(seconds) == seconds


@pytest.mark.parametrize("seconds", [None, 30.0, 1.0, 0.25])
def test_a_thread_of_a_loop_looks_every_half_second_whether_the_loop_ends(
    seconds: float | None,
) -> None:
    assert asyncio.run(asyncio.to_thread(asked, seconds)) == min(seconds or 30.0, 0.5)


def test_a_thread_of_uvloop_looks_every_half_second_whether_the_loop_ends() -> None:
    uvloop = pytest.importorskip("uvloop", "0.23")  # before, its threads have no name of their own
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(asyncio.to_thread(asked, None)) == 0.5


def test_executors_of_a_module_that_was_imported_again_are_recognised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = sys.modules["concurrent.futures.thread"]
    monkeypatch.setattr(concurrent.futures, "thread", module)  # as it is again afterwards
    monkeypatch.delitem(sys.modules, module.__name__)
    again = importlib.import_module("concurrent.futures.thread")
    with again.ThreadPoolExecutor(1, "asyncio") as executor:
        assert executor.submit(executor_of_a_loop).result() is executor


def test_a_wait_of_no_time_gives_up_the_turn() -> None:
    given = asked(0.0)
    assert given is not None
    assert 0.0 < given < 0.001
