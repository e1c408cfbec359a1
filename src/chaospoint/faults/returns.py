"""A fault that returns a value in place of the call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from copy import deepcopy
from operator import eq
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    PrivateAttr,
    field_serializer,
)
from pydantic.json_schema import SkipJsonSchema

from chaospoint._kernel import effects as _effects
from chaospoint._kernel.chance import Draws
from chaospoint._kernel.context import transparently
from chaospoint.faults.base import FaultModel
from chaospoint.faults.lookup import Trust
from chaospoint.faults.settled import _NO_DRAWS, _Settled
from chaospoint.faults.signatures import awaits, taken_by, takes_arguments
from chaospoint.models.plain_data import CODE_ONLY, check_plain, check_written, is_plain, json_line
from chaospoint.models.refusal import Refusal

if TYPE_CHECKING:
    from chaospoint.models.cursor import Arguments

__all__ = ["Return"]


def _checked_value(value: object) -> object:
    if isinstance(value, Iterator | AsyncIterator):
        cure = "give a list, or another iterable that can be iterated again"
        raise Refusal("the first call would use up this iterator", cure, value=value)
    check_written(value)
    return value


def _one_value(whole: str) -> str:
    if '"' in whole or len(whole) > 60:
        return "one value: a list as return([1, 2]), and text with commas in quotes"
    return f"return({json_line(whole)})"


def _checked_function(value: object) -> object:
    check_written(value)
    if not callable(value):
        cure = "give a function that returns the value, in code"
        raise Refusal("not callable", cure, value=value)
    return value


class Return(FaultModel):
    """Returns ``value`` in place of the call, which is not made.

    From code the caller gets the object itself; a value that was read as data is copied for each
    injection. At a generator the value is an iterable, which each call iterates from the start.
    ``value_from``, from code only, is a function that makes the value for each injection. It gets
    the arguments of the call if it takes any; at asynchronous placements an awaitable result is
    awaited. Its exceptions reach the caller, and no point acts inside it.
    """

    kind: Literal["return"] = "return"
    value: Annotated[Any, BeforeValidator(_checked_value)] = None
    value_from: Annotated[SkipJsonSchema[Any], BeforeValidator(_checked_function)] = None

    _copied: bool = PrivateAttr(False)

    if TYPE_CHECKING:

        def __init__(
            self, *, value: object = None, value_from: Callable[..., object] = ...
        ) -> None: ...

    @classmethod
    def _canonical(cls, keys: Mapping[str, object]) -> dict[str, object]:
        if "value_from" in keys and keys.get("value") is not None:
            cure = "leave one of them out"
            raise Refusal(
                "cannot be combined with a value", cure, field="value_from", value=keys["value"]
            )
        return super()._canonical(keys)

    @classmethod
    def from_function(cls, value: Any) -> Self:
        """Return the fault that calls this function for its value."""
        return cls.checked({"value_from": _checked_function(value)})

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Return the fault that returns this value."""
        return cls.checked({"value": _checked_value(value)})

    @classmethod
    def from_text(cls, arguments: Arguments) -> Self:
        """Read ``return``, ``return(json)`` or ``return(bare words)``."""
        parts = arguments.at_most(1, _one_value(arguments.whole))
        return cls.from_key(parts[0].json() if parts else None)

    def to_text(self) -> str | None:
        """Write plain data; other values and functions have a placeholder."""
        if self.value_from is not None or not is_plain(self.value):
            return f"return({CODE_ONLY})"
        return "return" if self.value is None else f"return({json_line(self.value)})"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Return the value."""
        del draws
        if self.value_from is None:
            return (_effects.Return(self.value, self._copied),)
        return (
            _effects.Return(
                make=self.value_from,
                needs_await=awaits(self.value_from),
                with_arguments=(takes_call := takes_arguments(self.value_from, optional=True)),
                takes=taken_by(self.value_from) if takes_call else None,
            ),
        )

    def resolve(self, trust: Trust, *, reached: bool = False) -> _effects.Fault:
        """Read the signature of a function once."""
        del trust, reached
        return self if self.value_from is None else _Settled(self.kind, self.effects(_NO_DRAWS))

    def detached(self) -> Self:
        """Return a fault with its own copy of the value, which it copies for each injection."""
        if self.value_from is not None:
            raise Refusal(
                "only code can give a function", "arm the rule in code", field="value_from"
            )
        try:
            check_plain(self.value)
        except Refusal as refusal:
            raise refusal.within("returns") from None
        if not isinstance(self.value, list | dict):
            return self
        owner = self.model_copy(update={"value": deepcopy(self.value)})
        owner._copied = True
        return owner

    @field_serializer("value", when_used="json")
    def _dump_value(self, value: object) -> object:
        return value if is_plain(value) else CODE_ONLY

    @field_serializer("value_from", when_used="json")
    def _dump_function(self, value: object) -> object:
        return None if value is None else CODE_ONLY

    def __eq__(self, other: object) -> bool:
        """Compare the values; the owner of the value makes no difference."""
        if not isinstance(other, Return) or self.value_from is not other.value_from:
            return False
        return bool(transparently(eq, self.value, other.value))
