"""How deep data may be nested, and how much of it there may be: one limit for documents of every
format, and one for the depth of values in them.

Our check comes before a parser recurses, or turns its error into ours, so that the limit and the
message do not depend on the library that reads the format.
"""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = [
    "FEWER_RULES",
    "MAX_DEPTH",
    "MAX_FILE_RULES",
    "MAX_RULES",
    "MAX_VALUES",
    "TOO_DEEP",
    "TOO_MANY",
    "VALUE_DEPTH",
    "deep_at",
    "is_deep",
    "json_excess",
    "toml_excess",
]

MAX_DEPTH: Final = 64
"""How many lists and mappings of a document may stand in each other."""

VALUE_DEPTH: Final = MAX_DEPTH - 14
"""The same for one value: what a plan, or a store, writes around it must fit as well."""

MAX_VALUES: Final = 250_000
"""How many values, keys and tables a document may hold."""

MAX_RULES: Final = 1_000
"""How many rules a text, a body or a store may hold, and how many faults the text of a rule."""

MAX_FILE_RULES: Final = 10_000
"""How many rules a plan file may hold."""

TOO_DEEP: Final = f"nested more than {MAX_DEPTH} deep"
TOO_MANY: Final = f"holds more than {MAX_VALUES} values"

FEWER_RULES: Final = "use globs, or lists of values in `where`"

_BEGINS = re.compile(r"\s*[\[{]")
_MARK = re.compile(r'"(?:[^"\\]++|\\.)*+"|["\[\]{}]', re.DOTALL)
# Text that is not closed ends with its line, or with the whole, so that no part is read twice.
_TOML_MARK = re.compile(
    r'''"""(?:[^"\\]++|\\.|"(?!""))*+(?:"{3,5}|\Z)'''
    r"""|'{3}(?:[^']++|'(?!''))*+(?:'{3,5}|\Z)"""
    r"""|"(?:[^"\\\n]++|\\[^\n])*+"?|'[^'\n]*+'?|\#[^\n]*+|[.=,\[{]""",
    re.DOTALL,
)


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


def json_excess(text: str) -> tuple[str, int] | None:
    """Return what JSON text holds too much of, and where; None if the parser may read it."""
    if (place := deep_at(text)) is not None:
        return TOO_DEEP, place
    if sum(map(text.count, ",[{")) > MAX_VALUES:  # those within texts cost no less
        return TOO_MANY, 0
    return None


def toml_excess(text: str) -> tuple[str, int] | None:
    """Return what TOML text holds too much of, and where; None if the parser may read it.

    A dotted key makes a table for each of its dots, which costs the parser the square of them.
    """
    dots = values = 0
    for found in _TOML_MARK.finditer(text):
        mark = found[0]
        if mark == ".":
            dots += 1
            if dots >= MAX_DEPTH:
                return TOO_DEEP, found.start()
        elif mark in "=,[{":
            dots = 0
        else:
            continue  # text, or a remark
        values += 1
        if values > MAX_VALUES:
            return TOO_MANY, found.start()
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
