"""Which kinds of faults there are, and how a list of them is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chaospoint.faults import Failure, Hang, Latency, Return
from chaospoint.models.fault_model import FaultModel
from chaospoint.models.refusal import Refusal, close_to

__all__ = ["kind_named", "read_faults"]

# Kinds without a short key, and those of entry points, join here.
_KINDS: Final[Mapping[str, type[FaultModel]]] = {
    "latency": Latency,
    "exception": Failure,
    "return": Return,
    "hang": Hang,
}


def kind_named(name: object) -> type[FaultModel]:
    """Return the kind of this name; `Refusal` with the nearest ones if there is none."""
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        cure = close_to(str(name), _KINDS) or f"known are {', '.join(_KINDS)}"
        raise Refusal("not a kind of fault", cure, field="kind", value=name)
    return kind


def read_faults(value: object) -> list[FaultModel]:
    """Read the key ``faults``; raises `Refusal` only."""
    if not isinstance(value, list | tuple):
        raise Refusal("not a list", "write a list of {kind: ..., ...}", field="faults", value=value)
    faults = []
    for nth, item in enumerate(value):
        try:
            faults.append(_read_fault(item))
        except Refusal as refusal:
            raise refusal.within(f"faults[{nth}]", item) from None
    return faults


def _read_fault(item: object) -> FaultModel:
    if isinstance(item, FaultModel):
        return item
    if not isinstance(item, Mapping):
        raise Refusal("not a fault", "write {kind: ..., ...}", value=item)
    return kind_named(item.get("kind")).checked(item)
