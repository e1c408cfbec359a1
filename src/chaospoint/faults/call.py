"""A fault that runs a function of the program."""

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
            "not callable", "give a function that takes the Injection; only code can", value=value
        )
    return value


class Call(FaultModel):
    """Runs a function of your own, given the `Injection`; from code only.

    The arguments of the call follow the `Injection` if it needs them, or takes ``*args`` or
    ``**kwargs``: ``def note(injection, order): ...``.  What it returns is ignored, what it raises
    reaches the caller.  A coroutine function is awaited, so it needs an asynchronous placement.
    """

    outcome: ClassVar[bool] = False
    kind: Literal["call"] = "call"
    call: Annotated[Any, BeforeValidator(_callable)]

    if TYPE_CHECKING:

        def __init__(self, *, call: Callable[..., object]) -> None: ...

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Take the function as it is."""
        return cls.checked({"call": _callable(value)})

    def to_text(self) -> str | None:
        """Only code has functions."""
        return f"call({CODE_ONLY})"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Run it."""
        del draws
        takes, needs = takes_arguments(self.call, after=1), needs_arguments(self.call, after=1)
        by = taken_by(self.call, after=1) if takes else None
        return (_effects.Run(self.call, awaits(self.call), takes, needs, by),)

    def resolve(self, trust: Trust, *, reached: bool = False) -> _effects.Fault:
        """Read the signature of the function, once."""
        del trust, reached
        return _Settled(self.kind, self.effects(_NO_DRAWS))

    def detached(self) -> Self:
        """Refuse: data holds no function."""
        raise Refusal("a function comes from code only", "arm it in code", field="call")

    @field_serializer("call", when_used="json")
    def _dump_call(self, call: object) -> object:  # noqa: ARG002
        return CODE_ONLY
