"""What a kind of fault of your own compiles to; chaospoint's drivers do the rest.

A kind is a frozen model with one pure method::

    class Brownout(FaultModel):
        kind: Literal["brownout"] = "brownout"
        seconds: float = 0.2

        def effects(self, draws):
            return (Sleep(self.seconds),)

Its package names it as an entry point of the group ``chaospoint.faults``.
"""

from __future__ import annotations

from chaospoint._kernel.chance import Draws
from chaospoint._kernel.effects import Effect, Hold, Raise, Return, Run, Sleep

__all__ = ["Draws", "Effect", "Hold", "Raise", "Return", "Run", "Sleep"]
