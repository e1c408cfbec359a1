"""Plain data: the values that JSON holds and gives back unchanged. Only these are written."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Final

from chaospoint.models.nesting import VALUE_DEPTH
from chaospoint.models.refusal import Refusal

__all__ = ["CODE_ONLY", "HALF", "check_plain", "check_written", "is_plain", "json_line"]

CODE_ONLY: Final = "<code only>"
"""Stands in a dump for a value that only code can give; refused when read back."""

HALF: Final = re.compile("[\ud800-\udfff]")
"""Half a surrogate pair, as left behind by invalid UTF-8; JSON cannot hold it."""

_MOST = 10**600


def is_plain(value: object, depth: int = VALUE_DEPTH) -> bool:
    """Return whether the value is JSON data that reads back equal, `VALUE_DEPTH` deep at most.

    Instances of subclasses are not: an enum member or a named tuple would change its type.
    """
    kind = type(value)
    if value is None or kind is bool:
        return True
    if kind is str and isinstance(value, str):
        return HALF.search(value) is None
    if kind is int and isinstance(value, int):
        return abs(value) < _MOST
    if kind is float and isinstance(value, float):
        return isfinite(value)
    if depth == 0:
        return False
    if kind is list and isinstance(value, list):
        return all(is_plain(item, depth - 1) for item in value)
    if kind is dict and isinstance(value, dict):
        return all(
            type(key) is str and is_plain(key) and is_plain(item, depth - 1)
            for key, item in value.items()
        )
    return False


def check_plain(value: object) -> None:
    """Refuse a value that is not plain data."""
    if not is_plain(value):
        raise Refusal(
            "not plain data",
            "write null, true, false, a finite number, text in quotes, a list, or a mapping with"
            f" text keys, nested {VALUE_DEPTH} deep at most; in code, give the value to arm(...) or"
            " Rule(...)",
            value=value,
        )


def check_written(value: object) -> None:
    """Refuse the text that stands for a value that only code can give."""
    if isinstance(value, str) and value == CODE_ONLY:
        cure = "arm the rule in code, with the value itself"
        raise Refusal("this text stands for a value that only code can give", cure, value=value)


def json_line(value: object) -> str:
    """Return plain data as one line of JSON, the same for equal data."""
    return json.dumps(value, sort_keys=True)
