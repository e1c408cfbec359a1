"""Durations: seconds in code; outside it a number of seconds, or text with a unit."""

from __future__ import annotations

import re
from decimal import Decimal
from math import isfinite
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

from chaospoint.models.refusal import Refusal

__all__ = [
    "MAX_SECONDS",
    "Duration",
    "Lifetime",
    "OptionalDuration",
    "format_duration",
    "format_lifetime",
    "lifetime",
    "milliseconds",
    "parse_duration",
]

MAX_SECONDS: Final = 10 * 365 * 86_400.0
"""Ten years, which every clock and every lock can still wait for."""

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_TEXT = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(us|ms|s|m|h|d|)")
_CURE = "write a number of seconds or a number with a unit: 200ms, 1.5s, 2m, 1h"


def parse_duration(value: object) -> float:
    """Return the duration in seconds, 0 to ten years; `Refusal` for anything else."""
    if isinstance(value, str):
        text = value.strip()
        match = _TEXT.fullmatch(text)
        if match is None:
            negative = text.startswith("-") and _TEXT.fullmatch(text[1:])
            problem = "a duration cannot be negative" if negative else "not a duration"
            raise Refusal(problem, _CURE, value=value)
        number, unit = match.groups()
        # Divided rather than multiplied, so that 200ms is exactly 0.2, the value of 0.2s.
        factor = _UNITS[unit]
        amount = float(number) * factor if factor >= 1 else float(number) / round(1 / factor)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            amount = float(value)
        except OverflowError:
            amount = MAX_SECONDS * (2 if value > 0 else -2)
    else:
        raise Refusal("not a duration", _CURE, value=value)
    if amount < 0:
        raise Refusal("a duration cannot be negative", _CURE, value=value)
    if not isfinite(amount) and isinstance(value, float):
        raise Refusal("not a finite number", _CURE, value=value)
    if amount > MAX_SECONDS:
        raise Refusal("longer than ten years", "write a shorter duration", value=value)
    return abs(amount)  # -0.0 is 0.0


def milliseconds(text: str) -> float:
    """Return the duration in seconds; a number without a unit is milliseconds, as in fail-rs."""
    try:
        return parse_duration(f"{text}ms" if text[-1:] in "0123456789." else text)
    except Refusal as refusal:
        cure = "write a number of milliseconds or a number with a unit: 100, 200ms, 1.5s"
        raise Refusal(refusal.problem, cure, value=text) from None


def format_duration(amount: float) -> str:
    """Return text that reads back as the same duration: ``200ms``, ``1.5s``."""
    for unit, digits in (("ms", f"{amount * 1000:.12g}"), ("s", repr(amount))):
        text = f"{digits.removesuffix('.0')}{unit}"
        if (unit == "s" or amount < 1) and _TEXT.fullmatch(text) and parse_duration(text) == amount:
            return text
    return f"{Decimal(repr(amount)):f}s"


def format_lifetime(amount: float) -> str:
    """Return text as `format_duration` does, but ``5m`` for whole minutes, hours or days."""
    for unit in ("d", "h", "m"):
        number, rest = divmod(amount, _UNITS[unit])
        if number and not rest:
            return f"{number:.0f}{unit}"
    return format_duration(amount)


def _optional(value: object) -> float | None:
    return None if value is None else parse_duration(value)


def lifetime(value: object) -> float | None:
    """Return the duration in seconds, or None; `Refusal` for 0 too."""
    if value is None:
        return None
    amount = parse_duration(value)
    if amount == 0:
        raise Refusal(
            "the rule would expire at once", "write more than 0, such as 10m", value=value
        )
    return amount


_NUMBER = {"type": "number", "minimum": 0, "maximum": MAX_SECONDS, "description": "seconds"}
# All of Python's white space: ``\\s`` of other languages matches less.
_PATTERN = r"^{s}([0-9]+(\.[0-9]*)?|\.[0-9]+){s}(us|ms|s|m|h|d)?{s}$".format(
    s=r"[\s\x1c-\x1f\x85]*"
)
_UNIT = {"type": "string", "pattern": _PATTERN, "examples": ["200ms", "1.5s", "10m"]}
_NULL = {"type": "null"}

Duration = Annotated[
    float, BeforeValidator(parse_duration), WithJsonSchema({"anyOf": [_NUMBER, _UNIT]})
]
OptionalDuration = Annotated[
    float | None, BeforeValidator(_optional), WithJsonSchema({"anyOf": [_NUMBER, _UNIT, _NULL]})
]
Lifetime = Annotated[
    float | None,
    BeforeValidator(lifetime),
    WithJsonSchema({"anyOf": [{**_NUMBER, "exclusiveMinimum": 0}, _UNIT, _NULL]}),
]
