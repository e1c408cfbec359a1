"""Turn the short keys of a rule into its faults.

The result is canonical: delays come before the outcome, there is at most one outcome, and the rate
of an exception that is the only fault is multiplied into the rule's probability.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from chaospoint.faults.base import FaultModel
from chaospoint.faults.call import Call
from chaospoint.faults.failure import Failure
from chaospoint.faults.hang import Hang
from chaospoint.faults.kinds import read_faults
from chaospoint.faults.latency import Latency
from chaospoint.faults.returns import Return
from chaospoint.models.quantities import share
from chaospoint.models.refusal import Refusal

__all__ = ["SHORT_KEYS", "expand"]

T = TypeVar("T")

_READERS: Final[Mapping[str, Callable[[Any], FaultModel]]] = {
    "latency": Latency.from_key,
    "exception": Failure.from_key,
    "returns": Return.from_key,
    "returns_from": Return.from_function,
    "hang": Hang.from_key,
    "call": Call.from_key,
}

SHORT_KEYS: Final = (
    "latency",
    "exception",
    "failure_rate",
    "returns",
    "returns_from",
    "hang",
    "call",
)


def expand(keys: Mapping[str, object]) -> dict[str, object]:
    """Return the keys with ``faults`` in place of the short keys; raises `Refusal` only."""
    faults = [*_read_short_keys(keys), *read_faults(keys.get("faults", ()))]
    if not faults:
        cure = f"write one of {', '.join(SHORT_KEYS)}; returns_from and call in code only"
        raise Refusal("a rule needs a fault", cure, field="faults", value=[])
    faults.sort(key=_place)
    _check_outcomes(faults)
    rest = {key: value for key, value in keys.items() if key not in SHORT_KEYS}
    only = faults[0]
    if len(faults) == 1 and isinstance(only, Failure) and only.rate is not None:
        probability = _read("probability", share, keys.get("probability", 1.0))
        rest["probability"] = probability * only.rate
        faults = [only.model_copy(update={"rate": None})]
    rest["faults"] = tuple(faults)
    return rest


def _read_short_keys(keys: Mapping[str, object]) -> list[FaultModel]:
    faults = {key: _read(key, read, keys[key]) for key, read in _READERS.items() if key in keys}
    if "failure_rate" in keys:
        rate = _read("failure_rate", share, keys["failure_rate"])
        failure = faults.get("exception", Failure())
        faults["exception"] = failure.model_copy(update={"rate": None if rate == 1.0 else rate})
    return list(faults.values())


def _read(key: str, read: Callable[[Any], T], value: object) -> T:
    if value is None and key != "returns":
        raise Refusal("no value", "leave the key out, or write a value", field=key, value=value)
    try:
        return read(value)
    except Refusal as refusal:
        raise refusal.within(key, value) from None


def _place(fault: FaultModel) -> int:
    """Return the sort key of a fault: delays, then exceptions with a rate, then other outcomes."""
    return (1 if isinstance(fault, Failure) else 2) if fault.outcome else 0


def _check_outcomes(faults: list[FaultModel]) -> None:
    outcomes = [fault for fault in faults if fault.outcome]
    if len(outcomes) < 2:
        return
    match outcomes:
        case [Failure(rate=float()), Return()]:
            return
    raise Refusal(
        "a rule can have only one outcome",
        "write two rules; only an exception with a failure_rate below 1 goes together with returns",
        field="faults",
        value=" + ".join(fault.kind for fault in outcomes),
    )
