"""Law 11. Injected is recognisable: a fresh exception with a note, which leads to its injection."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from helpers import PLACES, Boom, Witness, finish, place

from chaospoint import ChaosError, InjectedFault, Registry, arm, injection_of


@dataclass(frozen=True)
class Frozen(Exception):
    """An exception that takes no attributes."""

    code: int = 3


class Slotted(Exception):
    """An exception that was meant to have no others."""

    __slots__ = ()


@pytest.mark.parametrize("name", PLACES)
def test_law_11_an_injected_exception_is_recognisable(name: str, registry: Registry) -> None:
    """Wherever it is raised, it carries a note for people and its `Injection` for programs."""
    call = place(registry.point("bank.charge"), name)
    witness = Witness()
    registry.add_observer(witness)
    arm("bank.charge", exception=TimeoutError, registry=registry)
    errors = []
    for _ in range(3):
        with pytest.raises(TimeoutError) as raised:
            finish(call())
        errors.append(raised.value)
    assert len(set(map(id, errors))) == 3
    assert [injection_of(error) for error in errors] == witness.injections
    for error in errors:
        (note,) = error.__notes__
        assert "injected by chaospoint at 'bank.charge'" in note
        assert note in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("kind", [TimeoutError, Frozen, Slotted, InjectedFault, KeyboardInterrupt])
def test_law_11_whatever_kind_of_exception_it_is(
    kind: type[BaseException], registry: Registry
) -> None:
    """Also one that is frozen, or no `Exception`."""
    call = place(registry.point("bank.charge"), "function")
    arm("bank.charge", exception=kind, registry=registry)
    with pytest.raises(kind) as raised:
        call()
    assert len(raised.value.__notes__) == 1
    injection = injection_of(raised.value)
    assert injection is not None
    assert injection.exception == kind.__name__


def _wrapped(call: Callable[[], Any]) -> None:
    try:
        call()
    except Boom as error:
        raise RuntimeError("no answer") from error


def _replaced(call: Callable[[], Any]) -> None:
    try:
        call()
    except Boom:
        raise KeyError("no answer")  # noqa: B904 - the context is what is looked through


def _hidden(call: Callable[[], Any]) -> None:
    try:
        call()
    except Boom:
        raise KeyError("no answer") from None


def _grouped(call: Callable[[], Any]) -> None:
    try:
        _wrapped(call)
    except RuntimeError as error:
        raise ExceptionGroup("some", [ValueError(), ExceptionGroup("more", [error])]) from None


@pytest.mark.parametrize("how", [_wrapped, _replaced, _hidden, _grouped])
def test_law_11_the_injection_is_found_behind_other_exceptions(
    how: Callable[[Callable[[], Any]], None], registry: Registry
) -> None:
    """A client that wraps its errors does not hide what was injected."""
    call = place(registry.point("bank.charge"), "function")
    arm("bank.charge", exception=Boom, registry=registry)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - any will do
        how(call)
    injection = injection_of(raised.value)
    assert injection is not None
    assert injection.point == "bank.charge"


def test_law_11_other_exceptions_are_not_recognised() -> None:
    """An error of the program's own, also one that refers to itself, has no injection."""
    error = ValueError("mine")
    other = KeyError()
    error.__context__, other.__context__ = other, error
    assert injection_of(error) is None
    assert injection_of(None) is None


def test_law_11_the_injection_survives_pickling(registry: Registry) -> None:
    """An error that comes back from a worker process is still recognised."""
    call = place(registry.point("bank.charge"), "function")
    arm("bank.charge", exception=Boom, registry=registry)
    with pytest.raises(Boom) as raised:
        call()
    back = pickle.loads(pickle.dumps(raised.value))
    assert injection_of(back) == injection_of(raised.value)
    assert back.__notes__ == raised.value.__notes__


def test_law_11_an_injected_fault_is_not_a_chaos_error() -> None:
    """`except ChaosError` around a call never catches an injected fault."""
    assert not issubclass(InjectedFault, ChaosError)
    assert issubclass(InjectedFault, Exception)
