"""What every kind of fault is: a frozen value with one pure method, `effects`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import ConfigDict

from chaospoint.faults.lookup import Trust
from chaospoint.models.model import Model
from chaospoint.models.plain_data import json_line
from chaospoint.models.refusal import Refusal

if TYPE_CHECKING:
    from chaospoint._kernel.chance import Draws
    from chaospoint._kernel.effects import Effect, Fault
    from chaospoint.models.cursor import Arguments

__all__ = ["FaultModel"]


class FaultModel(Model):
    """A kind of fault.

    A subclass sets ``kind`` and writes `effects`. ``outcome``: it decides how the call ends, so a
    rule holds one of them, after whatever only delays.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    outcome: ClassVar[bool] = True
    kind: str

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Return the fault that the value of its short key stands for; raises `Refusal` only."""
        return cls.checked(value)

    @classmethod
    def from_text(cls, arguments: Arguments) -> Self:
        """Return the fault that its verb stands for in the text form; raises `Refusal` only.

        As it stands it takes nothing, or the fields as one JSON object: ``kind({"bits": 3})``.
        """
        name = cls.model_fields["kind"].default
        takes = name
        if names := [field for field in cls.model_fields if field != "kind"]:
            takes += "({" + ", ".join(f'"{field}": ...' for field in names) + "})"
        parts = arguments.most(1 if names else 0, takes)
        fields = parts[0].json() if parts else {}
        if not isinstance(fields, dict):
            raise Refusal("takes its fields as one JSON object", f"write {takes}")
        return cls.checked({"kind": name, **fields})

    def to_text(self) -> str | None:
        """Return the fault in text form, or None if only JSON can say it.

        As it stands it writes what the default of `from_text` reads.
        """
        fields = self.model_dump(mode="json", exclude={"kind"})
        return f"{self.kind}({json_line(fields)})" if fields else self.kind

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        """Say what to do at one firing: pure, with all chance from ``draws``."""
        raise NotImplementedError

    def resolve(self, trust: Trust, *, reached: bool = False) -> Fault | None:
        """Return the fault as the kernel runs it, with what it names looked up as far as the trust
        allows now; None if that has to wait for the rule's first reach.

        ``reached``: that has come, so nothing may wait longer. Raises `Refusal` only.
        """
        del trust, reached
        return self

    def can_resolve(self) -> bool:
        """Tell whether all that it names may be in this process, which has not to be the one that
        the rule is for."""
        return True

    def detached(self) -> Self:
        """Return the fault as read from data, sharing nothing with it; `Refusal` if not data."""
        return self

    def _is_set(self, name: str) -> bool:
        return name == "kind" or super()._is_set(name)
