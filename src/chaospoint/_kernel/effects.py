"""What a driver can do: a closed set of frozen values.

Faults are an open set; every fault compiles to these, so that a new fault never needs an
asynchronous twin.  Nothing here acts: `drive` does.
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
    """Delay the call by ``seconds``; disarming wakes it.

    ``busy``: by keeping the processor, and so the thread or the event loop, busy.
    """

    seconds: float
    busy: bool = False


@final
@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the call until its rule is disarmed, or for ``seconds`` at most.

    For 0 seconds: give up the turn once. ``releasable``: until it is released, after which the
    effects behind it act.
    """

    seconds: float | None = None
    releasable: bool = False


@final
@dataclass(frozen=True, slots=True)
class Run:
    """Run ``call`` with the `Injection`; what it raises reaches the caller.

    ``needs_await``: it is a coroutine function, and its coroutine is awaited.
    ``with_arguments``: the arguments of the call follow the `Injection`; with ``needs_arguments``
    it cannot do without.  ``takes``: what it takes of them; None for all as the call was made.
    """

    call: Callable[..., object]
    needs_await: bool = False
    with_arguments: bool = False
    needs_arguments: bool = False
    takes: Takes | None = None


@final
@dataclass(frozen=True, slots=True)
class Raise:
    """Fail the call with a fresh exception from ``build``; ``name`` is its type's name.

    ``with_arguments``: ``build`` is given the arguments of the call; with ``needs_arguments`` it
    cannot do without.  ``takes``: what it takes of them; None for all as the call was made.
    """

    build: Callable[..., BaseException]
    name: str
    with_arguments: bool = False
    needs_arguments: bool = False
    takes: Takes | None = None


@final
@dataclass(frozen=True, slots=True)
class Return:
    """Answer with ``value`` instead of making the call; with a deep copy of it if ``copy``.

    At a generator the value is an iterable, iterated anew each time, whose items are yielded.
    ``make``: it is asked for the value at each firing, and what it raises reaches the caller; an
    awaitable is awaited at asynchronous placements. ``needs_await``: it is a coroutine function.
    ``with_arguments``: it is given the arguments of the call; ``takes``: what it takes of them,
    or None for all as the call was made.
    """

    value: object = None
    copy: bool = False
    make: Callable[..., object] | None = None
    needs_await: bool = False
    with_arguments: bool = False
    takes: Takes | None = None


Step = Sleep | Hold | Run
"""What a call goes through on its way."""

Outcome = Raise | Return
"""How a call ends; what stands behind it never acts."""

Effect = Step | Outcome


class Fault(Protocol):
    """What a caller suffers, as effects."""

    @property
    def kind(self) -> str:
        """The label of this fault in metrics, spans and logs."""
        ...

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        """Say what to do at one firing; no effects means that this fault sits this one out.

        Pure: no clock, no lock, no global, no I/O.  Chance comes from ``draws`` alone; the answer
        of what draws nothing is used for every firing.  It is asked when arming, too, to see which
        placements can express it.  A fault with an effect that has ``with_arguments`` has an
        attribute ``with_arguments`` that is true.
        """
        ...
