"""A fault that runs a function, with the signature read once."""

from __future__ import annotations

from dataclasses import dataclass

from chaospoint._kernel import effects as _effects
from chaospoint._kernel.chance import Draws

_NO_DRAWS = Draws(0, 0)


@dataclass(frozen=True, slots=True)
class _Settled:
    """A fault that runs a function with a known signature."""

    kind: str
    fixed: tuple[_effects.Effect, ...]

    @property
    def with_arguments(self) -> bool:
        """Whether the function takes the arguments of the call."""
        return any(getattr(effect, "with_arguments", False) for effect in self.fixed)

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Return the effects, which do not depend on the draws."""
        del draws
        return self.fixed
