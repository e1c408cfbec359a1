"""The faults of fail-rs and gofail that have no short key in a rule."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator

from chaospoint._kernel import effects as _effects
from chaospoint._kernel.reporting import log
from chaospoint.faults.base import FaultModel
from chaospoint.models.durations import Duration, format_duration, milliseconds
from chaospoint.models.plain_data import is_plain, json_line
from chaospoint.models.refusal import Refusal, one_line

if TYPE_CHECKING:
    from chaospoint._kernel.chance import Draws
    from chaospoint._kernel.injection import Injection
    from chaospoint.models.cursor import Arguments

__all__ = ["Burn", "Off", "Pause", "Print", "Yield"]


class Off(FaultModel):
    """Does nothing, and keeps the later rules of the point from acting."""

    kind: Literal["off"] = "off"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Do nothing."""
        del draws
        return ()


class Yield(FaultModel):
    """Lets other threads or tasks run before the call continues."""

    outcome: ClassVar[bool] = False
    kind: Literal["yield"] = "yield"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Hold for 0 seconds, which gives other threads or tasks a turn."""
        del draws
        return (_effects.Hold(0.0),)


class Pause(FaultModel):
    """Holds the call until it is released or its rule disarmed; then the other faults act."""

    outcome: ClassVar[bool] = False
    kind: Literal["pause"] = "pause"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Hold until released."""
        del draws
        return (_effects.Hold(None, releasable=True),)


def _message(value: object) -> object:
    if not isinstance(value, str) or not is_plain(value):
        raise Refusal("not a line of text", "write the text in quotes", value=value)
    return value


class Print(FaultModel):
    """Writes one line to the logger ``chaospoint`` at WARNING.

    Characters that are not printable are escaped, so that the text cannot forge another line.
    """

    outcome: ClassVar[bool] = False
    kind: Literal["print"] = "print"
    message: Annotated[str, BeforeValidator(_message)] = ""

    if TYPE_CHECKING:

        def __init__(self, *, message: str = "") -> None: ...

    @classmethod
    def from_text(cls, arguments: Arguments) -> Self:
        """Read ``print``, ``print("text")`` or ``print(bare words)``."""
        return cls(message=arguments.words() or "")

    def to_text(self) -> str | None:
        """Write the message in quotes."""
        return f"print({json_line(self.message)})" if self.message else "print"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Log the message."""
        del draws
        return (_effects.Run(partial(_print, self.message)),)


def _print(message: str, injection: Injection) -> None:
    log(logging.WARNING, "%s", one_line(message) or f"{injection.point} was reached")


class Burn(FaultModel):
    """Delays the call and keeps the processor busy; this blocks an event loop, on purpose."""

    outcome: ClassVar[bool] = False
    kind: Literal["delay"] = "delay"
    seconds: Duration

    if TYPE_CHECKING:

        def __init__(self, *, seconds: float | str) -> None: ...

    @classmethod
    def from_text(cls, arguments: Arguments) -> Self:
        """Read a duration; a bare number is milliseconds, as in fail-rs."""
        return cls(seconds=arguments.only("delay(100)").read(milliseconds))

    def to_text(self) -> str | None:
        """Write the duration."""
        return f"delay({format_duration(self.seconds)})"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Delay the call with a busy loop."""
        del draws
        return (_effects.Sleep(self.seconds, busy=True),)
