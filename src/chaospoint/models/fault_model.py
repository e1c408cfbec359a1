"""What every kind of fault is: a frozen value with one pure method, `effects`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from chaospoint.models.lookup import Trust
from chaospoint.models.model import Model

if TYPE_CHECKING:
    from chaospoint._draw import Draws
    from chaospoint._effects import Effect

__all__ = ["FaultModel"]


class FaultModel(Model):
    """A kind of fault.

    A subclass sets ``kind`` and writes `effects`. ``outcome``: it decides how the call ends, so a
    rule holds one of them, after whatever only delays.
    """

    outcome: ClassVar[bool] = True
    kind: str

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Return the fault that the value of its short key stands for; raises `Refusal` only."""
        return cls.checked(value)

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        """Say what to do at one firing: pure, with all chance from ``draws``."""
        raise NotImplementedError

    def resolve(self, trust: Trust, *, reached: bool = False) -> Self:
        """Return the fault with what it names looked up as far as the trust allows now.

        ``reached``: the rule has been reached, so nothing may wait longer. Raises `Refusal` only.
        """
        del trust, reached
        return self

    @property
    def resolved(self) -> bool:
        """Whether nothing is left to look up."""
        return True

    def detached(self) -> Self:
        """Return the fault as read from data, sharing nothing with it; `Refusal` if not data."""
        return self

    def _is_set(self, name: str) -> bool:
        return name == "kind" or super()._is_set(name)
