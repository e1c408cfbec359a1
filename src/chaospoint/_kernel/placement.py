"""The kinds of placements, and the faults that each can express."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from chaospoint._kernel.chance import RecordingDraws
from chaospoint._kernel.effects import Raise, Return, Run

if TYPE_CHECKING:
    from chaospoint._kernel.effects import Effect, Fault
    from chaospoint._kernel.takes import Shape

__all__ = ["STATEMENTS", "Kind", "Placed", "why_not_expressible"]


Kind = Literal[
    "function",
    "coroutine",
    "generator",
    "async generator",
    "block",
    "async block",
    "statement",
    "async statement",
]

STATEMENTS: tuple[Kind, ...] = ("block", "async block", "statement", "async statement")
"""Kinds that are unknown until the point is first used in that way."""

_AWAITS: tuple[Kind, ...] = ("coroutine", "async generator", "async block", "async statement")


class Placed(Protocol):
    """The part of a point at one placement that its rules use."""

    @property
    def name(self) -> str:
        """The name."""
        ...

    @property
    def raises(self) -> tuple[type[BaseException], ...]:
        """The exceptions that this placement really raises."""
        ...


def why_not_expressible(
    fault: Fault, kind: Kind, after: bool = False, shape: Shape | None = None
) -> str | None:
    """Return why a placement of this kind cannot express ``fault``, or None if it can.

    ``shape``: the arguments of its calls, if known.
    """
    if after and kind in ("statement", "async statement"):
        return "a statement has no end to act after: use a block, or leave `when` out"
    if kind == "coroutine" and (shape is None or not getattr(fault, "with_arguments", False)):
        return None
    try:
        effects = fault.effects(RecordingDraws(0, 0))
    except Exception:
        return None  # the exception is looked up at the first reach, and may fail only then
    return next(
        filter(None, (_why_not_expressible(effect, kind, after, shape) for effect in effects)), None
    )


def _why_not_expressible(
    effect: Effect, kind: Kind, after: bool, shape: Shape | None
) -> str | None:
    if isinstance(effect, Run | Return) and effect.needs_await and kind not in _AWAITS:
        return "a coroutine function can be awaited at asynchronous placements only"
    if isinstance(effect, Run | Raise) and effect.needs_arguments and kind in STATEMENTS:
        return "a block or a statement has no arguments to give: let the function need none"
    takes = getattr(effect, "takes", None) if getattr(effect, "with_arguments", False) else None
    if takes is not None and shape is not None and not takes.fits(shape):
        return (
            f"its function takes {takes}, and the arguments of the call are {shape}: let it take "
            "some of these by their names, or *args and **kwargs"
        )
    if not isinstance(effect, Return) or kind in ("function", "coroutine"):
        return None
    if kind in STATEMENTS:
        return "a block or a statement has no value to return: decorate a function"
    if after:
        return "what a generator has yielded cannot be replaced: leave `when` out"
    if effect.make is not None:
        return None
    kind_of_value = type(effect.value)
    if not hasattr(kind_of_value, "__iter__"):
        return f"a generator needs an iterable to yield from, not {kind_of_value.__name__!r}"
    if hasattr(kind_of_value, "__next__"):
        return "an iterator is empty after its first use: give a list or a tuple"
    return None
