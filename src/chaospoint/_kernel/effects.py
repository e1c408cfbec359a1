"""Effects: a closed set of frozen values that the drivers carry out.

Faults are an open set. Each fault returns effects, so a new fault works in threads and in tasks
without code of its own for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    from chaospoint._kernel.chance import Draws
    from chaospoint._kernel.takes import Takes

__all__ = ["Effect", "Fault", "Hold", "Outcome", "Raise", "Return", "Run", "Sleep", "Step"]


@final
@dataclass(frozen=True, slots=True)
class Sleep:
    """Delay the call by ``seconds``; disarming ends the delay.

    ``busy``: keep the processor busy meanwhile, and so block the thread or the event loop.
    """

    seconds: float
    busy: bool = False


@final
@dataclass(frozen=True, slots=True)
class Hold:
    """Hold the call until its rule is disarmed, or for ``seconds`` at most.

    For 0 seconds: let other threads or tasks run once. ``releasable``: `release` ends the hold, and
    the later effects then act.
    """

    seconds: float | None = None
    releasable: bool = False


@final
@dataclass(frozen=True, slots=True)
class Run:
    """Call ``call`` with the `Injection`; its exceptions reach the caller.

    ``needs_await``: it is a coroutine function, whose coroutine is awaited. ``with_arguments``:
    pass the arguments of the call after the `Injection`. ``needs_arguments``: it requires them.
    ``takes``: the arguments that it takes; None to pass all of them as the caller did.
    """

    call: Callable[..., object]
    needs_await: bool = False
    with_arguments: bool = False
    needs_arguments: bool = False
    takes: Takes | None = None


@final
@dataclass(frozen=True, slots=True)
class Raise:
    """Raise a new exception from ``build``; ``name`` is the name of its type.

    ``with_arguments``: pass the arguments of the call to ``build``. ``needs_arguments``: it
    requires them. ``takes``: the arguments that it takes; None to pass all of them as the caller
    did.
    """

    build: Callable[..., BaseException]
    name: str
    with_arguments: bool = False
    needs_arguments: bool = False
    takes: Takes | None = None


@final
@dataclass(frozen=True, slots=True)
class Return:
    """Return ``value``, or a deep copy of it if ``copy``, instead of making the call.

    At a generator the value is an iterable; its items are yielded, from the start at each call.
    ``make``: a function that is called for the value at each firing; its exceptions reach the
    caller, and asynchronous placements await an awaitable result. ``needs_await``: ``make`` is a
    coroutine function. ``with_arguments``: pass the arguments of the call to ``make``. ``takes``:
    the arguments that it takes; None to pass all of them as the caller did.
    """

    value: object = None
    copy: bool = False
    make: Callable[..., object] | None = None
    needs_await: bool = False
    with_arguments: bool = False
    takes: Takes | None = None


Step = Sleep | Hold | Run
"""An effect after which the call continues."""

Outcome = Raise | Return
"""An effect that ends the call; later effects never act."""

Effect = Step | Outcome


class Fault(Protocol):
    """A fault, as the kernel sees it: a label and effects."""

    @property
    def kind(self) -> str:
        """The label of this fault in metrics, spans and logs."""
        ...

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        """Return the effects of one firing; an empty tuple means that the fault does not act.

        The method must be pure: no clock, lock, global or I/O, and random numbers from ``draws``
        alone.  If it draws nothing, its first result is used for every firing.  It is also called
        when a rule is armed, to find the placements that can express the effects.  If an effect has
        ``with_arguments``, the fault has a true attribute ``with_arguments``.
        """
        ...
