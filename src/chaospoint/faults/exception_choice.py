"""One exception, or several from which each injection draws one by weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Self

from chaospoint._kernel.effects import Raise
from chaospoint.faults.exception_schema import EXCEPTION_SCHEMA
from chaospoint.faults.exception_spec import ExceptionSpec
from chaospoint.faults.lookup import Trust
from chaospoint.models.refusal import Refusal

__all__ = ["CHOICE_SCHEMA", "ExceptionChoice"]

_MOST = 1_000_000
_name, _object = EXCEPTION_SCHEMA["anyOf"]
_weight = {"type": "number", "minimum": 0, "maximum": _MOST, "default": 1}
_weighed = {**_object, "properties": {**_object["properties"], "weight": _weight}}
CHOICE_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        *EXCEPTION_SCHEMA["anyOf"],
        {"type": "array", "minItems": 1, "items": {"anyOf": [_name, _weighed]}},
    ]
}
"""The JSON schema of the key ``exception``."""


@dataclass(frozen=True, slots=True)
class ExceptionChoice:
    """The value of the key ``exception``: the exceptions and their weights."""

    specs: tuple[ExceptionSpec, ...]
    weights: tuple[float, ...]

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read one exception in any form, or a list of them; raises `Refusal` only."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, list | tuple):
            return cls((ExceptionSpec.parse(value),), (1.0,))
        if not value:
            raise Refusal("an empty list", "write at least one exception", value=value)
        specs, weights = [], []
        for nth, item in enumerate(value):
            try:
                spec, weight = _weighted(item)
            except Refusal as refusal:
                raise refusal.within(f"[{nth}]", item) from None
            specs.append(spec)
            weights.append(weight)
        if not any(weights):
            raise Refusal("all weights are 0", "give one of them a weight", value=value)
        if len(specs) == 1:
            weights = [1.0]
        return cls(tuple(specs), tuple(weights))

    def dump(self) -> object:
        """Return the shortest form that `parse` reads back."""
        if len(self.specs) == 1:
            return self.specs[0].dump()
        return [_dump(*pair) for pair in zip(self.specs, self.weights, strict=True)]

    @property
    def path(self) -> object:
        """The path, or the list of paths, that messages show."""
        paths = [spec.path for spec in self.specs]
        return paths[0] if len(paths) == 1 else paths

    def paths(self) -> Iterator[str]:
        """Return the dotted names that have to be looked up."""
        for spec in self.specs:
            yield from spec.paths()

    def check_plain(self) -> None:
        """Refuse arguments that are not plain data."""
        for spec in self.specs:
            spec.check_plain()

    def find(
        self, trust: Trust, *, reached: bool = False
    ) -> tuple[tuple[float, Raise], ...] | None:
        """Return each exception with the upper bound of its draws; None if one has to wait."""
        effects = [spec.find(trust, reached=reached) for spec in self.specs]
        *_, total = sums = list(accumulate(self.weights))
        raised = [
            (upto / total, raise_) for upto, raise_ in zip(sums, effects, strict=True) if raise_
        ]
        return tuple(raised) if len(raised) == len(effects) else None


def _weighted(item: object) -> tuple[ExceptionSpec, float]:
    if not isinstance(item, Mapping):
        return ExceptionSpec.parse(item), 1.0
    rest = dict(item)
    weight = rest.pop("weight", 1.0)
    fine = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not fine or not 0 <= weight <= _MOST:  # NaN, too
        cure = "write a number from 0 to a million, such as 3; weights are relative"
        raise Refusal("not a weight", cure, field="weight", value=weight)
    return ExceptionSpec.parse(rest), abs(float(weight))  # -0.0 is 0.0


def _dump(spec: ExceptionSpec, weight: float) -> object:
    dumped: Any = spec.dump()
    if weight == 1.0:
        return dumped
    if isinstance(dumped, dict):
        return {**dumped, "weight": weight}
    return {"type": dumped, "weight": weight}
