"""The effects that a fault kind of your own can return; chaospoint carries them out.

A fault kind is a frozen model with one pure method::

    class Brownout(FaultModel):
        kind: Literal["brownout"] = "brownout"
        seconds: float = 0.2

        def effects(self, draws):
            return (Sleep(self.seconds),)

Its package registers it as an entry point in the group ``chaospoint.faults``.
"""

from __future__ import annotations

from chaospoint._kernel.chance import Draws
from chaospoint._kernel.effects import Effect, Hold, Raise, Return, Run, Sleep

__all__ = ["Draws", "Effect", "Hold", "Raise", "Return", "Run", "Sleep"]
