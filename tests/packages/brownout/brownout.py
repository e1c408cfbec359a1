"""A package that adds a kind of fault, as any installed package can: it knows nothing but
`chaospoint.faults` and `chaospoint.effects`, and chaospoint knows nothing of it."""

from __future__ import annotations

from functools import partial
from typing import Literal

from chaospoint.effects import Draws, Effect, Raise, Sleep
from chaospoint.faults import Duration, FaultModel


class Overloaded(Exception):
    """What a client of an overloaded service gets."""


class Brownout(FaultModel):
    """An overloaded service: always slow, and for a share of the calls too slow."""

    kind: Literal["brownout"] = "brownout"
    seconds: Duration = 0.2
    share: float = 0.5

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        """Delay, and after the share of the calls fail as well."""
        slow = Sleep(self.seconds)
        if draws.uniform("outcome") >= self.share:
            return (slow,)
        late = partial(Overloaded, f"gave up after {self.seconds:g} s")
        return (slow, Raise(late, "Overloaded"))
