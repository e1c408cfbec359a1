"""What JSON can say and read back: the only values that are written down and copied."""

from __future__ import annotations

from math import isfinite
from typing import Final

from chaospoint.models.refusal import Refusal

__all__ = ["CODE_ONLY", "check_plain", "is_plain"]

CODE_ONLY: Final = "<code only>"
"""Stands in a dump for what only code can say; refused when read back."""

_DEPTH = 100
_SCALARS = frozenset({type(None), bool, int, str})


def is_plain(value: object, depth: int = _DEPTH) -> bool:
    """Tell whether the value is JSON data that reads back equal, nested 100 deep at most.

    Subclasses are not: an enum member or a named tuple would come back as something else.
    """
    kind = type(value)
    if kind in _SCALARS:
        return True
    if isinstance(value, float) and kind is float:
        return isfinite(value)
    if depth == 0:
        return False
    if isinstance(value, list) and kind is list:
        return all(is_plain(item, depth - 1) for item in value)
    if isinstance(value, dict) and kind is dict:
        return all(type(key) is str and is_plain(item, depth - 1) for key, item in value.items())
    return False


def check_plain(value: object) -> None:
    """Refuse what is not plain data."""
    if not is_plain(value):
        raise Refusal(
            "not plain data",
            "write null, true, false, a finite number, text in quotes, a list, or a mapping with"
            " text keys, nested 100 deep at most; in code, give the value to arm(...) or Rule(...)",
            value=value,
        )
