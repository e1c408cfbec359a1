"""A change that a handler or an observer makes in the middle of its own thread's change."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from chaospoint import Registry
from chaospoint._kernel.context import in_chaospoint
from chaospoint._kernel.lock import arming_lock
from chaospoint._registry.notices import RuleArmed
from chaospoint.errors import NotPermitted

from .kit import Does, rule

OFF = Does("off", ())
ALARM = getattr(signal, "SIGALRM", None)


def _changes(registry: Registry) -> dict[str, Callable[[], object]]:
    def arm() -> None:
        try:
            registry.install([rule("p", OFF)], source="test").disarm()
        except NotPermitted:
            pass  # it says to arm before or after the change

    def switch() -> None:
        registry.disable()
        registry.enable()

    return {
        "disarm": registry.disarm,
        "switch": switch,
        "arm": arm,
        "explain": registry.point("p").explain,
    }


def _nothing_is_left(registry: Registry) -> None:
    assert not arming_lock.owned
    assert not arming_lock.nested
    assert not in_chaospoint.get()
    registry.enable()
    registry.disarm()
    assert registry.rules() == ()
    assert set(registry.engine._table.counts.values()) <= {0}
    assert not registry.point("p").armed
    with_one = registry.install([rule("p", OFF)], source="test")
    assert registry.point("p").armed
    with_one.disarm()


@pytest.mark.skipif(ALARM is None, reason="this system has no timers that signal")
@pytest.mark.parametrize("what", ["disarm", "switch", "arm", "explain"])
def test_a_signal_handler_makes_a_change_within_a_change(registry: Registry, what: str) -> None:
    change, chance, within = _changes(registry)[what], random.Random(1), 0

    def handle(*_: Any) -> None:
        nonlocal within
        within += arming_lock.nested
        change()

    before = signal.signal(signal.SIGALRM, handle)
    try:
        until = time.monotonic() + 30
        while within < 20 and time.monotonic() < until:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(2e-5, 5e-4))
            try:
                registry.install([rule("p", OFF)], source="test").disarm()
            except NotPermitted:
                pass  # the handler's `disable` came first
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert within >= 20
    _nothing_is_left(registry)


class _Changer:
    def __init__(self, change: Callable[[], object]) -> None:
        self.change = change
        self.called = 0

    def observe(self, _: object) -> None:
        pass

    def notice(self, notice: object) -> None:
        if isinstance(notice, RuleArmed) and self.called < 3:
            self.called += 1
            self.change()


@pytest.mark.parametrize("what", ["disarm", "switch", "arm", "explain"])
def test_an_observer_makes_a_change_when_it_is_informed_of_one(
    registry: Registry, what: str
) -> None:
    changer = _Changer(_changes(registry)[what])
    registry.add_observer(changer)
    registry.install([rule("p", OFF)], source="test").disarm()
    assert changer.called
    registry.remove_observer(changer)
    _nothing_is_left(registry)


class _Dying:
    """What makes a change when it is gone."""

    def __init__(self, change: Callable[[], object]) -> None:
        self.change = change

    def __del__(self) -> None:
        self.change()


@pytest.mark.parametrize("what", ["disarm", "switch", "arm", "explain"])
def test_a_finalizer_makes_a_change_within_a_change(registry: Registry, what: str) -> None:
    change, nested = _changes(registry)[what], []

    def body() -> None:
        dying = [_Dying(lambda: (nested.append(arming_lock.nested), change()))]
        dying.clear()

    registry.install([rule("p", OFF)], source="test")
    arming_lock.change(body)
    assert nested == [True]
    _nothing_is_left(registry)
