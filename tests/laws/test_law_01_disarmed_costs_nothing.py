"""Law 1. Disarmed costs nothing: a function whose point is not armed runs its own bytecode."""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable
from types import FunctionType

import pytest
from helpers import PATIENCE, Boom, code_of, finish, functions

from chaospoint import Point, Registry, arm, armed, disable, disarm, enable
from chaospoint._kernel.point import ArmedPoint
from chaospoint.testing import FakeClock


def _by_handle(registry: Registry, clock: FakeClock) -> None:
    arm("payment.charge", exception=Boom, registry=registry).disarm()


def _by_name(registry: Registry, clock: FakeClock) -> None:
    arm("payment.charge", exception=Boom, registry=registry)
    disarm("payment.charge", registry=registry)


def _out_of_a_glob(registry: Registry, clock: FakeClock) -> None:
    arm("payment.*", exception=Boom, registry=registry)
    disarm("payment.charge", registry=registry)


def _by_a_block(registry: Registry, clock: FakeClock) -> None:
    with pytest.raises(Boom), armed("payment.charge", exception=Boom, registry=registry):
        raise Boom


def _by_the_switch(registry: Registry, clock: FakeClock) -> None:
    arm("payment.charge", exception=Boom, registry=registry)
    disable(registry=registry)
    enable(registry=registry)


def _by_expiry(registry: Registry, clock: FakeClock) -> None:
    handle = arm("payment.charge", exception=Boom, expires_after=5, registry=registry)
    clock.advance(5)
    with pytest.raises(TimeoutError, match="expired"):
        handle.wait_for(timeout=PATIENCE)


def _by_several(registry: Registry, clock: FakeClock) -> None:
    arm("payment.charge", exception=Boom, probability=0.5, registry=registry)
    arm("payment.*", exception=Boom, probability=0.5, registry=registry)
    arm("*", exception=Boom, registry=registry)
    disarm(registry=registry)


WAYS = (
    _by_handle,
    _by_name,
    _out_of_a_glob,
    _by_a_block,
    _by_the_switch,
    _by_expiry,
    _by_several,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_law_01_disarmed_costs_nothing(
    way: Callable[[Registry, FakeClock], None], still: Registry, clock: FakeClock
) -> None:
    """Whichever way a rule ends, every function runs the code it was written with."""
    calls = functions(still.point("payment.charge"))
    own = {name: code_of(call) for name, call in calls.items()}
    way(still, clock)
    assert {name for name, call in calls.items() if code_of(call) is not own[name]} == set()
    assert {finish(call()) for call in calls.values()} == {7}


def test_law_01_decorating_returns_the_function_with_its_own_code(still: Registry) -> None:
    """A point that was never armed leaves no trace on a function: no wrapper and no attribute."""

    def charge() -> int:
        return 7

    code, attributes = charge.__code__, dict(vars(charge))
    decorated = still.point("payment.charge")(charge)
    assert decorated is charge
    assert decorated.__code__ is code
    assert vars(decorated) == attributes


def test_law_01_armed_runs_other_code(still: Registry) -> None:
    """While armed every function runs a trampoline, or the above says nothing."""
    calls = functions(still.point("payment.charge"))
    own = {name: code_of(call) for name, call in calls.items()}
    with armed("payment.charge", exception=Boom, registry=still):
        assert all(code_of(call) is not own[name] for name, call in calls.items())


class _Empty:
    """Methods of the signatures of a Point's, which do nothing."""

    def __enter__(self) -> _Empty:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        return None

    async def __aenter__(self) -> _Empty:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        return None

    def hit(self, /, **labels: object) -> None:
        return None

    async def ahit(self, /, **labels: object) -> None:
        return None


@pytest.mark.parametrize("name", [name for name in vars(_Empty) if callable(vars(_Empty)[name])])
def test_law_01_blocks_and_statements_are_empty_methods(name: str, still: Registry) -> None:
    """Before, and again after arming, a Point's methods are those of a class that does nothing."""
    point = still.point("db.query")
    with armed("db.query", exception=Boom, registry=still):
        assert type(point) is ArmedPoint
    assert type(point) is Point
    assert _does(vars(Point)[name]) == _does(vars(_Empty)[name])


def _does(function: FunctionType) -> list[tuple[str, object]]:
    return [(step.opname, step.argval) for step in dis.get_instructions(function)]


def test_law_01_wrapped_callables_are_called_by_c_code_alone(still: Registry) -> None:
    """A disarmed wrapper calls what it wraps without running any Python of ours."""
    wrapped = still.point("payment.charge")(functools.partial(int, "7"))
    with armed("payment.charge", exception=Boom, registry=still):
        assert _python_calls(wrapped) > 0
    assert _python_calls(wrapped) == 0


def _python_calls(call: Callable[[], object]) -> int:
    seen: list[str] = []

    def note(frame: object, event: str, what: object) -> None:
        if event == "call":
            seen.append(event)

    sys.setprofile(note)
    try:
        call()
    except Boom:
        pass
    finally:
        sys.setprofile(None)
    return len(seen)
