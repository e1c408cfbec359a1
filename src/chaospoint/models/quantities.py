"""The numbers in a rule: shares and whole numbers, never booleans, NaN or infinities."""

from __future__ import annotations

import re
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

from chaospoint.models.refusal import Refusal

__all__ = [
    "SHARE_SCHEMA",
    "Count",
    "OptionalCount",
    "Seed",
    "Share",
    "Skip",
    "count",
    "optional_count",
    "seed",
    "share",
    "skip",
    "whole",
]

_MOST = 2**62
SHARE_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^(100|[0-9]{1,2}(\.[0-9]{1,9})?)%$"},
    ]
}
"""The JSON schema of a share."""


_PERCENT = re.compile(r"([0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})\s*%")


def share(value: object) -> float:
    """Return a number from 0 to 1; also reads a percentage such as ``30%``. Else `Refusal`."""
    if isinstance(value, str) and (percent := _PERCENT.fullmatch(value.strip())):
        # Decimal, so that 30% is exactly 0.3 and a written share reads back equal.
        if (part := Decimal(percent[1]) / 100) > 1:
            cure = "write a percentage from 0% to 100%"
            raise Refusal("more than 100%", cure, value=value)
        return float(part)
    if isinstance(value, bool) or not isinstance(value, int | float):
        cure = "write a number from 0 to 1, such as 0.3, or a percentage such as 30%"
        raise Refusal("not a number", cure, value=value)
    if not 0 <= value <= 1:  # NaN, too
        finite = isinstance(value, int) or isfinite(value)
        example = f"{value / 100:g}" if finite and 2 <= value <= 100 else "0.3"
        problem = "not between 0 and 1" if finite else "not a finite number"
        raise Refusal(problem, f"write a number from 0 to 1, such as {example}", value=value)
    return abs(float(value))  # -0.0 is 0.0


def whole(value: object, least: int, most: int = _MOST) -> int:
    """Return a whole number from ``least`` to ``most``; `Refusal` for anything else."""
    bound = "2**62" if most == _MOST else "2**63 - 1"
    cure = f"write a whole number from {least} to {bound}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refusal("not a whole number", cure, value=value)
    if value < least:
        raise Refusal(f"less than {least}", cure, value=value)
    if value > most:
        raise Refusal(f"more than {bound}", cure, value=value)
    return int(value)


def skip(value: object) -> int:
    """Return a whole number from 0; `Refusal` for anything else."""
    return whole(value, 0)


def count(value: object) -> int:
    """Return a whole number from 1; `Refusal` for anything else."""
    return whole(value, 1)


def optional_count(value: object) -> int | None:
    """Return a whole number from 1, or None; `Refusal` for anything else."""
    return None if value is None else whole(value, 1)


def seed(value: object) -> int | None:
    """Return a whole number from 0 to 2**63 - 1, or None; `Refusal` for anything else."""
    return None if value is None else whole(value, 0, 2**63 - 1)


def _json(least: int, most: int = _MOST, *, optional: bool = False) -> WithJsonSchema:
    types = ["integer", "null"] if optional else "integer"
    return WithJsonSchema({"type": types, "minimum": least, "maximum": most})


Share = Annotated[float, BeforeValidator(share), WithJsonSchema(SHARE_SCHEMA)]
Skip = Annotated[int, BeforeValidator(skip), _json(0)]
Count = Annotated[int, BeforeValidator(count), _json(1)]
OptionalCount = Annotated[int | None, BeforeValidator(optional_count), _json(1, optional=True)]
Seed = Annotated[int | None, BeforeValidator(seed), _json(0, 2**63 - 1, optional=True)]
