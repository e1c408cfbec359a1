"""How deep data may be nested: one limit for documents of every format, and one for values in them.

Our check comes before a parser recurses, or turns its error into ours, so that the limit and the
message do not depend on the library that reads the format.
"""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["MAX_DEPTH", "TOO_DEEP", "VALUE_DEPTH", "deep_at", "is_deep"]

MAX_DEPTH: Final = 64
"""How many lists and mappings of a document may stand in each other."""

VALUE_DEPTH: Final = MAX_DEPTH - 14
"""The same for one value: what a plan, or a store, writes around it must fit as well."""

TOO_DEEP: Final = f"nested more than {MAX_DEPTH} deep"

_BEGINS = re.compile(r"\s*[\[{]")
_MARK = re.compile(r'"(?:[^"\\]++|\\.)*+"|["\[\]{}]', re.DOTALL)


def deep_at(text: str, start: int = 0) -> int | None:
    """Return the place of the bracket that nests the JSON value at ``start`` too deep, if any."""
    if _BEGINS.match(text, start) is None:
        return None
    depth = 0
    for found in _MARK.finditer(text, start):
        mark = found[0]
        if mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return found.start()
        elif mark in "]}":
            depth -= 1
        if depth == 0 or mark == '"':  # the end, or text that is not closed: the parser says so
            return None
    return None


def is_deep(value: object) -> bool:
    """Tell whether data is nested too deep, without recursion."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [one for one in level if isinstance(one, list | dict)]
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return True
