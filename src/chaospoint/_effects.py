"""What a driver can do: a closed set of frozen values.

Faults are an open set; every fault compiles to these, so that a new fault never needs an
asynchronous twin.  Nothing here acts: `_drive` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    from chaospoint._draw import Draws

__all__ = ["Effect", "Fault", "Hold", "Raise", "Return", "Sleep"]


@final
@dataclass(frozen=True, slots=True)
class Sleep:
    """Delay the call by ``seconds``; disarming wakes it."""

    seconds: float


@final
@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the call until its rule is disarmed, or for ``seconds`` at most."""

    seconds: float | None = None


@final
@dataclass(frozen=True, slots=True)
class Raise:
    """Fail the call with a fresh exception from ``build``; ``name`` is its type's name."""

    build: Callable[[], BaseException]
    name: str


@final
@dataclass(frozen=True, slots=True)
class Return:
    """Answer with ``value`` instead of making the call; with a deep copy of it if ``copy``.

    At a generator the value is an iterable, iterated anew each time, whose items are yielded.
    """

    value: object
    copy: bool = False


# `Run` (a function of the user's own) joins here with the key `call`.
Effect = Sleep | Hold | Raise | Return


class Fault(Protocol):
    """What a caller suffers, as effects."""

    @property
    def kind(self) -> str:
        """The label of this fault in metrics, spans and logs."""

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        """Say what to do at one firing; no effects means that this fault sits this one out.

        Pure: no clock, no lock, no global, no I/O.  Chance comes from ``draws`` alone; what
        draws nothing is asked once, when arming, and its answer used for every firing.
        """
