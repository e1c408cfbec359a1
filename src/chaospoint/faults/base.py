"""The base of all kinds of faults: a frozen value with one pure method, `effects`."""

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

    A subclass sets ``kind`` and implements `effects`. ``outcome``: whether it decides how the call
    ends. A rule has one fault with an outcome, after those that only delay the call.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    outcome: ClassVar[bool] = True
    kind: str

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Return the fault for the value of its short key; raises `Refusal` only."""
        return cls.checked(value)

    @classmethod
    def from_text(cls, arguments: Arguments) -> Self:
        """Return the fault for its arguments in the text form; raises `Refusal` only.

        This default takes no arguments, or the fields as one JSON object: ``kind({"bits": 3})``.
        """
        name = cls.model_fields["kind"].default
        takes = name
        if names := [field for field in cls.model_fields if field != "kind"]:
            takes += "({" + ", ".join(f'"{field}": ...' for field in names) + "})"
        parts = arguments.at_most(1 if names else 0, takes)
        fields = parts[0].json() if parts else {}
        if not isinstance(fields, dict):
            raise Refusal("takes its fields as one JSON object", f"write {takes}")
        return cls.checked({"kind": name, **fields})

    def to_text(self) -> str | None:
        """Return the fault in text form, or None if it can be written as JSON only.

        This default writes the form that the default of `from_text` reads.
        """
        fields = self.model_dump(mode="json", exclude={"kind"})
        return f"{self.kind}({json_line(fields)})" if fields else self.kind

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        """Return the effects of one injection; pure, with all random numbers from ``draws``."""
        raise NotImplementedError

    def resolve(self, trust: Trust, *, reached: bool = False) -> Fault | None:
        """Return the fault as the kernel runs it, with the names in it looked up.

        Returns None if the trust allows the look-up only at the rule's first reach. ``reached``:
        this is the first reach, so the look-up must not wait longer. Raises `Refusal` only.
        """
        del trust, reached
        return self

    def can_resolve(self) -> bool:
        """Return whether this process may have every module that the fault names.

        The rule may be meant for another process, which has other modules.
        """
        return True

    def detached(self) -> Self:
        """Return a copy that shares nothing with its source; `Refusal` if it is not plain data."""
        return self

    def _is_set(self, name: str) -> bool:
        return name == "kind" or super()._is_set(name)
