"""A fault that answers in place of the call."""

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


def _returned(value: object) -> object:
    if isinstance(value, Iterator | AsyncIterator):
        cure = "write a list, or an object whose iteration starts anew each time"
        raise Refusal("a bare iterator is used up by the first call", cure, value=value)
    check_written(value)
    return value


def _one_value(whole: str) -> str:
    if '"' in whole or len(whole) > 60:
        return "one value: a list as return([1, 2]), text that holds commas in quotes"
    return f"return({json_line(whole)})"


def _made_from(value: object) -> object:
    check_written(value)
    if not callable(value):
        cure = "give a function that returns the answer; only code can"
        raise Refusal("not callable", cure, value=value)
    return value


class Return(FaultModel):
    """Answers with ``value`` and does not make the call.

    The value itself in code; what was read as data is copied for each injection. At a generator
    it is an iterable, iterated anew each time. ``value_from``, from code only, is a function that
    makes the value anew for each injection, given the arguments of the call if it takes any; at
    asynchronous placements an awaitable that it returns is awaited. What it raises reaches the
    caller, and points are transparent in it.
    """

    kind: Literal["return"] = "return"
    value: Annotated[Any, BeforeValidator(_returned)] = None
    value_from: Annotated[SkipJsonSchema[Any], BeforeValidator(_made_from)] = None

    _copied: bool = PrivateAttr(False)

    if TYPE_CHECKING:

        def __init__(
            self, *, value: object = None, value_from: Callable[..., object] = ...
        ) -> None: ...

    @classmethod
    def _canonical(cls, keys: Mapping[str, object]) -> dict[str, object]:
        if "value_from" in keys and keys.get("value") is not None:
            cure = "leave one of them out"
            raise Refusal("a value stands beside it", cure, field="value_from", value=keys["value"])
        return super()._canonical(keys)

    @classmethod
    def from_function(cls, value: Any) -> Self:
        """Take the function that makes the value."""
        return cls.checked({"value_from": _made_from(value)})

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Take the value as it is."""
        return cls.checked({"value": _returned(value)})

    @classmethod
    def from_text(cls, arguments: Arguments) -> Self:
        """Read ``return``, ``return(json)`` or ``return(bare words)``."""
        parts = arguments.most(1, _one_value(arguments.whole))
        return cls.from_key(parts[0].json() if parts else None)

    def to_text(self) -> str | None:
        """Write plain data; only code has functions."""
        if self.value_from is not None or not is_plain(self.value):
            return f"return({CODE_ONLY})"
        return "return" if self.value is None else f"return({json_line(self.value)})"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Return."""
        del draws
        if self.value_from is None:
            return (_effects.Return(self.value, self._copied),)
        return (
            _effects.Return(
                make=self.value_from,
                needs_await=awaits(self.value_from),
                with_arguments=(asks := takes_arguments(self.value_from, optional=True)),
                takes=taken_by(self.value_from) if asks else None,
            ),
        )

    def resolve(self, trust: Trust, *, reached: bool = False) -> _effects.Fault:
        """Read the signature of a function, once."""
        del trust, reached
        return self if self.value_from is None else _Settled(self.kind, self.effects(_NO_DRAWS))

    def detached(self) -> Self:
        """Return one that owns its value and gives out copies; data holds no function."""
        if self.value_from is not None:
            raise Refusal("a function comes from code only", "arm it in code", field="value_from")
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
        """Compare the values; whose they are makes no difference."""
        if not isinstance(other, Return) or self.value_from is not other.value_from:
            return False
        return bool(transparently(eq, self.value, other.value))
