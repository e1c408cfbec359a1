"""JSON as in RFC 8259, within the limits of a plan.

Refuses input that Python's parser accepts: NaN and infinities, a key given twice, numbers too large
for a float, half a surrogate pair, and nesting deeper than `nesting.MAX_DEPTH`.
"""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Hashable, Iterable
from typing import NoReturn, TypeVar

from chaospoint.models.nesting import TOO_DEEP, deep_at

__all__ = ["first", "loads", "repeated"]


def loads(text: str | bytes) -> object:
    """Return the value of ``text`` (bytes: UTF-8); `ValueError` with the reason and the place."""
    try:
        if isinstance(text, bytes):
            text = text.removeprefix(codecs.BOM_UTF8).decode()
        _check_nesting(text, 0)
        value: object = _decoder.decode(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at line {error.lineno} column {error.colno}") from None
    _inspect(value)
    return value


def first(text: str, start: int) -> tuple[object, int]:
    """Return the value that begins at ``start``, and the index after it; raises `ValueError`.

    The error is a `json.JSONDecodeError` if the place of the mistake is known.
    """
    _check_nesting(text, start)
    value, end = _decoder.raw_decode(text, start)
    _inspect(value)
    return value, end


_Key = TypeVar("_Key", bound=Hashable)

_DIGITS = 601  # every interpreter can also write that many


def _check_nesting(text: str, start: int) -> None:
    # This comes before the parser, which recurses.
    if (place := deep_at(text, start)) is not None:
        raise json.JSONDecodeError(f"it is {TOO_DEEP}", text, place)


def repeated(keys: Iterable[_Key]) -> _Key | None:
    """Return the first key that repeats an earlier one, or None."""
    seen: set[_Key] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        key = repeated(name for name, _ in pairs)
        raise ValueError(f"the key {key!r} is given twice in one object")
    return members


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:40]} is too large")
    return number


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"the number {digits[:40]} is too large")
    return int(digits)


def _inspect(value: object) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"half a surrogate pair in {value[:40]!r}") from None
    elif isinstance(value, dict | list):
        for part in value:
            _inspect(part)
        if isinstance(value, dict):
            for part in value.values():
                _inspect(part)


_decoder = json.JSONDecoder(
    object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole
)
