"""A fault that runs a function that the test or program gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    field_serializer,
)

from chaospoint._kernel import effects as _effects
from chaospoint._kernel.chance import Draws
from chaospoint.faults.base import FaultModel
from chaospoint.faults.lookup import Trust
from chaospoint.faults.settled import _NO_DRAWS, _Settled
from chaospoint.faults.signatures import awaits, needs_arguments, taken_by, takes_arguments
from chaospoint.models.plain_data import CODE_ONLY
from chaospoint.models.refusal import Refusal

__all__ = ["Call"]


def _callable(value: object) -> object:
    if not callable(value):
        raise Refusal(
            "not callable", "give a function that takes the Injection, in code", value=value
        )
    return value


class Call(FaultModel):
    """Runs a function that you give, with the `Injection` as its argument; from code only.

    The function also gets the arguments of the call if it has further required parameters, or takes
    ``*args`` or ``**kwargs``: ``def note(injection, order): ...``. Its result is ignored; an
    exception from it reaches the caller. A coroutine function is awaited, so the placement must be
    asynchronous.
    """

    outcome: ClassVar[bool] = False
    kind: Literal["call"] = "call"
    call: Annotated[Any, BeforeValidator(_callable)]

    if TYPE_CHECKING:

        def __init__(self, *, call: Callable[..., object]) -> None: ...

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Return the fault that runs this function."""
        return cls.checked({"call": _callable(value)})

    def to_text(self) -> str | None:
        """Return a placeholder: a function has no text form."""
        return f"call({CODE_ONLY})"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Run the function."""
        del draws
        takes, needs = takes_arguments(self.call, after=1), needs_arguments(self.call, after=1)
        by = taken_by(self.call, after=1) if takes else None
        return (_effects.Run(self.call, awaits(self.call), takes, needs, by),)

    def resolve(self, trust: Trust, *, reached: bool = False) -> _effects.Fault:
        """Read the signature of the function once."""
        del trust, reached
        return _Settled(self.kind, self.effects(_NO_DRAWS))

    def detached(self) -> Self:
        """Refuse: data cannot contain a function."""
        raise Refusal("only code can give a function", "arm the rule in code", field="call")

    @field_serializer("call", when_used="json")
    def _dump_call(self, call: object) -> object:  # noqa: ARG002
        return CODE_ONLY
