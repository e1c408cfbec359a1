"""Injected exceptions stay recognisable when others wrap or replace them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from helpers import Boom

from chaospoint._kernel.injection import Injection, injection_of, mark

INJECTION = Injection("p", "exception", "the rule", 3, "test", None, "Boom")


def marked(error: BaseException | None = None) -> BaseException:
    error = Boom("1") if error is None else error
    mark(error, INJECTION, "the note")
    return error


def raised(make: object) -> BaseException:
    try:
        make()  # type: ignore[operator]
    except BaseException as error:
        return error
    raise AssertionError


def test_the_exception_itself() -> None:
    error = marked()
    assert injection_of(error) is INJECTION
    assert error.__notes__ == ["the note"]
    assert str(error) == "1"


def test_nothing_and_strangers() -> None:
    assert injection_of(None) is None
    assert injection_of(Boom()) is None
    error = Boom()
    error.__chaospoint_injection__ = "not ours"  # type: ignore[attr-defined]
    assert injection_of(error) is None


def test_through_cause_and_context() -> None:
    def caused() -> None:
        raise ValueError from marked()

    def hidden() -> None:
        try:
            raise marked()
        except BaseException:
            raise ValueError from None

    def replaced() -> None:
        try:
            raise marked()
        except BaseException:
            raise ValueError from KeyError()

    for make in (caused, hidden, replaced):
        assert injection_of(raised(make)) is INJECTION


def test_through_groups_and_chains_of_them() -> None:
    group = ExceptionGroup("g", [KeyError(), ExceptionGroup("h", [ValueError(), marked()])])  # type: ignore[list-item]
    assert injection_of(group) is INJECTION
    outer = RuntimeError()
    outer.__cause__ = group
    assert injection_of(outer) is INJECTION


def test_a_ring_of_exceptions_ends() -> None:
    one, two = Boom(), Boom()
    one.__context__, two.__context__ = two, one
    assert injection_of(one) is None


def test_the_nearest_is_found() -> None:
    inner, outer = marked(), Boom()
    other = INJECTION._replace(ordinal=4)
    mark(outer, other, "n")
    outer.__cause__ = inner
    assert injection_of(outer) is other


def test_a_cause_goes_before_a_context() -> None:
    cause, context, error = marked(), Boom(), ValueError()
    mark(context, INJECTION._replace(ordinal=9), "n")
    error.__context__, error.__cause__ = context, cause
    assert injection_of(error) is INJECTION


def test_a_frozen_exception_and_one_with_notes_of_its_own() -> None:
    @dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    assert injection_of(marked(Frozen(3))) is INJECTION
    error = Boom()
    error.add_note("its own")
    assert marked(error).__notes__ == ["its own", "the note"]


def test_notes_of_a_class_are_left_alone() -> None:
    class Noted(Exception):
        __notes__ = ["of the class"]  # noqa: RUF012

    marked(Noted())
    assert Noted.__notes__ == ["of the class"]


def test_exceptions_with_slots_and_unusual_makers() -> None:
    class Slotted(Exception):
        __slots__ = ("code",)

        def __init__(self, *, code: int) -> None:
            super().__init__()
            self.code = code

        def __setattr__(self, name: str, value: object) -> None:
            if name.startswith("__"):
                raise AttributeError(name)
            super().__setattr__(name, value)

    assert injection_of(marked(Slotted(code=1))) is INJECTION


def test_an_injection_is_a_plain_immutable_record() -> None:
    assert INJECTION._replace() == INJECTION
    assert hash(INJECTION) == hash(INJECTION._replace())
    with pytest.raises(AttributeError):
        INJECTION.point = "q"  # type: ignore[misc]


def test_an_exception_that_is_injected_again_gathers_nothing() -> None:
    error = ValueError("one for all")
    for ordinal in (1, 2, 3):
        mark(error, INJECTION._replace(ordinal=ordinal), f"note {ordinal}")
        with pytest.raises(ValueError, match="one for all"):
            raise error
        assert error.__traceback__ is not None
        assert error.__traceback__.tb_next is None
    assert error.__notes__ == ["note 3"]
    found = injection_of(error)
    assert found is not None
    assert found.ordinal == 3
