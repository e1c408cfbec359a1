"""Fixtures for all tests, and a check that no test leaves anything behind."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from weakref import WeakSet

import pytest
from helpers import Threads

from chaospoint import Registry
from chaospoint._kernel import drive, fork, reporting
from chaospoint._registry.registry import default_registry
from chaospoint.testing import FakeClock

pytest_plugins = "parallel"


def pytest_collection_finish() -> None:
    """Exclude existing objects from garbage collection, because many tests collect garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide the developer's variables from tests, and check that no rule or error is left over."""
    for name in [name for name in os.environ if name.upper().startswith("CHAOSPOINT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(reporting, "_reported", set())
    monkeypatch.setattr(drive, "_warned", set())
    reporting.bugs.clear()
    engines = WeakSet(fork.engines)
    yield
    registry = default_registry()  # keeps its threads, even if this test was the first to use it
    for engine in set(fork.engines) - {*engines, registry.engine}:
        fork.engines.discard(engine)  # because a fork in a later test would start its thread again
        engine.housekeeper.stop()
    armed = [rule.text for rule in registry.rules()]
    enabled, bugs = registry.enabled, list(reporting.bugs)
    registry.disarm()  # so that the next test is not affected
    registry.enable()
    reporting.bugs.clear()
    assert not armed, "the test left rules armed in the default registry"
    assert enabled, "the test left chaospoint disabled"
    assert not bugs, "chaospoint had an internal error; to expect one, use `expected_bugs`"


@pytest.fixture
def expected_bugs(_nothing_left: None) -> Iterator[list[BaseException]]:
    """The internal errors that a test expects, in order; the test fails if there are none."""
    bugs: list[BaseException] = []
    yield bugs
    assert bugs, "the test expected an internal error, and there was none"


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Function) -> Generator[None, object, object]:
    """Collect the expected errors before chaospoint's pytest plugin fails the test for them."""
    try:
        return (yield)
    finally:
        bugs = item.funcargs.get("expected_bugs")
        if bugs is not None:
            bugs += reporting.bugs
            reporting.bugs.clear()


@pytest.fixture
def pool() -> Iterator[Threads]:
    """Threads that are joined after the test; their calls must end when registries are disarmed."""
    threads = Threads()
    yield threads
    threads.join()


@pytest.fixture
def restless() -> Iterator[None]:
    """Let the interpreter switch threads as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def registry(pool: Threads) -> Iterator[Registry]:
    """A new registry that uses real time."""
    yield from _fresh(Registry())


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def still(pool: Threads, clock: FakeClock) -> Iterator[Registry]:
    """A new registry that uses ``clock``."""
    yield from _fresh(Registry(clock=clock))


def _fresh(registry: Registry) -> Iterator[Registry]:
    yield registry
    registry.disarm()
    registry.engine.housekeeper.stop()
