"""A fault that raises an exception."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    PlainSerializer,
    WithJsonSchema,
)

from chaospoint._kernel import effects as _effects
from chaospoint._kernel.chance import Draws
from chaospoint.errors import InjectedFault
from chaospoint.faults.base import FaultModel
from chaospoint.faults.exception_choice import CHOICE_SCHEMA, ExceptionChoice
from chaospoint.faults.exception_spec import ExceptionSpec
from chaospoint.faults.lookup import Trust, can_exist
from chaospoint.models.plain_data import json_line
from chaospoint.models.quantities import share
from chaospoint.models.refusal import Refusal

if TYPE_CHECKING:
    from chaospoint.models.cursor import Arguments

__all__ = ["ExceptionForm", "ExceptionForms", "Failure"]


ExceptionForm = (
    type[BaseException] | BaseException | str | Mapping[str, object] | Callable[..., BaseException]
)
ExceptionForms = ExceptionForm | Sequence[ExceptionForm]


def _rate(value: object) -> float | None:
    """Return the share, or None for 1.0, so that equal rates compare equal."""
    rate = 1.0 if value is None else share(value)
    return None if rate == 1.0 else rate


def _dump_choice(choice: ExceptionChoice) -> object:
    return choice.dump()


class Failure(FaultModel):
    """Raises a new exception; with ``rate``, in that share of the injections only.

    ``exception`` is a class, a dotted path, ``{type, args, kwargs}``, an instance to copy, a
    function that makes one, or a list of these with weights. `resolve` looks up the classes;
    `effects` works on its result only.
    """

    kind: Literal["exception"] = "exception"
    exception: Annotated[
        ExceptionChoice,
        BeforeValidator(ExceptionChoice.parse),
        PlainSerializer(_dump_choice),
        WithJsonSchema(CHOICE_SCHEMA),
    ] = ExceptionChoice.parse(InjectedFault)
    rate: Annotated[
        float | None,
        BeforeValidator(_rate),
        WithJsonSchema({"type": ["number", "null"], "minimum": 0, "maximum": 1}),
    ] = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            exception: ExceptionForms = InjectedFault,
            rate: float | None = None,
        ) -> None: ...

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Return the fault for any form of the key."""
        return cls.checked({"exception": ExceptionChoice.parse(value)})

    @classmethod
    def from_text(cls, arguments: Arguments) -> Self:
        """Read ``raise``, ``raise(Type)``, ``raise(Type, "text", ...)``, ``raise("text")``, or
        any form of the key in JSON: ``raise([{"type": "OSError", "weight": 3}, "KeyError"])``."""
        parts = list(arguments.parts)
        if parts and parts[0].text.startswith(("{", "[")):
            return cls.from_key(arguments.only('raise({"type": ...})').json())
        kind: object = InjectedFault
        if parts and not parts[0].text.startswith('"'):
            kind = parts.pop(0).read(ExceptionSpec.parse).path
        return cls.from_key({"type": kind, "args": [part.json() for part in parts]})

    def to_text(self) -> str | None:
        """Write the type and its arguments, or JSON; the rate belongs to the tail of the rule."""
        spec = self.exception.dump()
        if isinstance(spec, str):
            return "raise" if spec == "InjectedFault" else f"raise({spec})"
        if isinstance(spec, dict) and spec.keys() == {"type", "args"}:
            return f"raise({','.join([spec['type'], *map(json_line, spec['args'])])})"
        return f"raise({json_line(spec)})"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Raise `InvalidPlan`: only the result of `resolve` has effects."""
        del draws
        raise self._unresolved().invalid_plan()

    def resolve(self, trust: Trust, *, reached: bool = False) -> _effects.Fault | None:
        """Return the failure with its classes looked up; None if that waits for the first reach."""
        try:
            raised = self.exception.find(trust, reached=reached)
        except Refusal as refusal:
            raise refusal.within("exception") from None
        if raised is None:
            if reached:
                raise self._unresolved()
            return None
        return _Bound(self.kind, raised, self.rate)

    def can_resolve(self) -> bool:
        """Return whether the modules of its classes are installed."""
        return all(map(can_exist, self.exception.paths()))

    def detached(self) -> Self:
        """Refuse arguments that are not data."""
        try:
            self.exception.check_plain()
        except Refusal as refusal:
            raise refusal.within("exception") from None
        return self

    def _unresolved(self) -> Refusal:
        cure = "call resolve() first, or arm the rule"
        path = self.exception.path
        return Refusal("its class was not looked up", cure, field="exception", value=path)


@dataclass(frozen=True, slots=True)
class _Bound:
    """A failure whose classes are known: each `Raise` with the upper bound of its draws."""

    kind: str
    raised: tuple[tuple[float, _effects.Raise], ...]
    rate: float | None

    @property
    def with_arguments(self) -> bool:
        """Whether a function that builds an exception takes the arguments of the call."""
        return any(raised.with_arguments for _, raised in self.raised)

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Raise one exception, or nothing if the rate was not drawn."""
        if self.rate is not None and draws.uniform("outcome") >= self.rate:
            return ()
        if len(self.raised) == 1:
            return (self.raised[0][1],)
        share = draws.uniform("choice")
        return (next(raised for upto, raised in self.raised if share < upto),)
