"""What every test stands on, and what none may leave behind."""

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
    """Leave what stays to the end out of all later garbage collections: many tests make some."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of the developer's reaches a test, and no chaos of a test reaches the next."""
    for name in [name for name in os.environ if name.upper().startswith("CHAOSPOINT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(reporting, "_said", set())
    monkeypatch.setattr(drive, "_said", set())
    reporting.bugs.clear()
    engines = WeakSet(fork.engines)
    yield
    registry = default_registry()  # it keeps its threads, also if this test was the first to use it
    for engine in set(fork.engines) - {*engines, registry.engine}:
        fork.engines.discard(engine)  # a fork in a later test would start its thread again
        engine.housekeeper.stop()
    armed = [rule.text for rule in registry.rules()]
    enabled, bugs = registry.enabled, list(reporting.bugs)
    registry.disarm()  # whatever it was, the next test is not to suffer from it
    registry.enable()
    reporting.bugs.clear()
    assert not armed, "the test left rules armed in the default registry"
    assert enabled, "the test left the master switch off"
    assert not bugs, "chaospoint had a bug; a test that expects one asks for `expected_bugs`"


@pytest.fixture
def expected_bugs(_nothing_left: None) -> Iterator[list[BaseException]]:
    """For a test in which something of ours or of an observer's is meant to break; newest last."""
    found: list[BaseException] = []
    yield found
    assert found, "the test expected a bug, and there was none"


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Function) -> Generator[None, object, object]:
    """Take the bugs that a test expects away before our own pytest plugin judges it."""
    try:
        return (yield)
    finally:
        found = item.funcargs.get("expected_bugs")
        if found is not None:
            found += reporting.bugs
            reporting.bugs.clear()


@pytest.fixture
def pool() -> Iterator[Threads]:
    """Threads; what they run has to end when the registries of the test are disarmed."""
    threads = Threads()
    yield threads
    threads.join()


@pytest.fixture
def restless() -> Iterator[None]:
    """Have threads switched as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def registry(pool: Threads) -> Iterator[Registry]:
    """A fresh registry on the machine's clock."""
    yield from _fresh(Registry())


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def still(pool: Threads, clock: FakeClock) -> Iterator[Registry]:
    """A fresh registry for which time stands still."""
    yield from _fresh(Registry(clock=clock))


def _fresh(registry: Registry) -> Iterator[Registry]:
    yield registry
    registry.disarm()
    registry.engine.housekeeper.stop()
