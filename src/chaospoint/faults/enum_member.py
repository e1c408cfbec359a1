"""A member of an enumeration, named by its path, as an argument of an exception."""

from __future__ import annotations

from dataclasses import dataclass
from enum import EnumType
from typing import Self

from chaospoint._kernel.static import held
from chaospoint.faults.lookup import Trust, look_up
from chaospoint.models.refusal import Refusal, close_to

__all__ = ["EnumMember"]

_CURE = "write the path of a member, such as {enum: http.HTTPStatus.NOT_FOUND}"


@dataclass(frozen=True, slots=True)
class EnumMember:
    """A member of an enumeration; ``path`` is the path of its class, a dot and its name."""

    path: str

    @classmethod
    def read(cls, value: dict[object, object]) -> Self | None:
        """Return the member that ``{enum: path}`` describes; None for any other mapping."""
        path = value.get("enum")
        if len(value) != 1 or not isinstance(path, str) or path.count(".") < 2:
            return None
        return cls(path) if all(map(str.isidentifier, path.split("."))) else None

    def dump(self) -> dict[str, object]:
        """Return the mapping that `read` reads back."""
        return {"enum": self.path}

    def find(self, trust: Trust, *, reached: bool = False) -> object | None:
        """Return the member; None if its class can be looked up only at the rule's first reach."""
        path, _, name = self.path.rpartition(".")
        kind = look_up(path, trust, reached=reached)
        if kind is None:
            return None
        if not issubclass(type(kind), EnumType):
            raise Refusal(f"{path!r} is not an enumeration", _CURE, field="enum", value=self.path)
        mapped = held(kind, "_member_map_")
        members: dict[str, object] = mapped if type(mapped) is dict else {}
        if name not in members:
            cure = close_to(name, members) or _CURE
            raise Refusal(f"{path!r} has no {name!r}", cure, field="enum", value=self.path)
        return members[name]
