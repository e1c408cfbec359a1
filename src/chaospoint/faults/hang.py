"""A fault that holds the call."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

from chaospoint._kernel import effects as _effects
from chaospoint._kernel.chance import Draws
from chaospoint.faults.base import FaultModel
from chaospoint.models.durations import OptionalDuration, format_duration, parse_duration
from chaospoint.models.refusal import Refusal

if TYPE_CHECKING:
    from chaospoint.models.cursor import Arguments

__all__ = ["Hang"]


class Hang(FaultModel):
    """Holds the call until its rule is disarmed, or raises `TimeoutError` after ``seconds``."""

    kind: Literal["hang"] = "hang"
    seconds: OptionalDuration = None

    if TYPE_CHECKING:

        def __init__(self, *, seconds: float | str | None = None) -> None: ...

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Read ``true`` or a duration."""
        if value is False:
            raise Refusal("has no effect", "leave the key out, or write true", value=value)
        return cls() if value is True else cls.checked({"seconds": parse_duration(value)})

    @classmethod
    def from_text(cls, arguments: Arguments) -> Self:
        """Read ``hang`` or ``hang(30s)``."""
        parts = arguments.at_most(1, "hang, or hang(30s)")
        return cls(seconds=parts[0].read(parse_duration) if parts else None)

    def to_text(self) -> str | None:
        """Write the duration if there is one."""
        return "hang" if self.seconds is None else f"hang({format_duration(self.seconds)})"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Hold, and raise after the duration if there is one."""
        del draws
        if self.seconds is None:
            return (_effects.Hold(None),)
        late = partial(TimeoutError, f"no answer for {self.seconds:g} s")
        return (_effects.Hold(self.seconds), _effects.Raise(late, "TimeoutError"))
