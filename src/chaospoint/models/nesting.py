"""Limits for the depth and size of documents, the same for JSON, YAML and TOML.

The limits are checked before a parser recurses, so they and the messages do not depend on the
library that reads the format.
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
"""How deep the lists and mappings of a document may be nested."""

VALUE_DEPTH: Final = MAX_DEPTH - 14
"""How deep one value may be nested, so that it fits into the document of a plan or a store."""

MAX_VALUES: Final = 250_000
"""How many values, keys and tables a document may hold."""

MAX_RULES: Final = 1_000
"""How many rules a text, an HTTP body or a store may hold, and how many faults a rule in text."""

MAX_FILE_RULES: Final = 10_000
"""How many rules a plan file may hold."""

TOO_DEEP: Final = f"nested more than {MAX_DEPTH} deep"
TOO_MANY: Final = f"holds more than {MAX_VALUES} values"

FEWER_RULES: Final = "use globs, or lists of values in `where`"

_BEGINS = re.compile(r"\s*[\[{]")
_MARK = re.compile(r'"(?:[^"\\]++|\\.)*+"|["\[\]{}]', re.DOTALL)
# An unclosed string ends with its line, or with the document, so that no part is scanned twice.
_TOML_MARK = re.compile(
    r'''"""(?:[^"\\]++|\\.|"(?!""))*+(?:"{3,5}|\Z)'''
    r"""|'{3}(?:[^']++|'(?!''))*+(?:'{3,5}|\Z)"""
    r"""|"(?:[^"\\\n]++|\\[^\n])*+"?|'[^'\n]*+'?|\#[^\n]*+|[.=,\[{]""",
    re.DOTALL,
)


def deep_at(text: str, start: int = 0) -> int | None:
    """Return the index of the first bracket that is nested too deep in the value at ``start``."""
    if _BEGINS.match(text, start) is None:
        return None
    depth = 0
    for match in _MARK.finditer(text, start):
        mark = match[0]
        if mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return match.start()
        elif mark in "]}":
            depth -= 1
        if (
            depth == 0 or mark == '"'
        ):  # the value's end, or an unclosed string, which the parser reports
            return None
    return None


def json_excess(text: str) -> tuple[str, int] | None:
    """Return which limit JSON text exceeds, and at which index; None if it exceeds none."""
    if (place := deep_at(text)) is not None:
        return TOO_DEEP, place
    if sum(map(text.count, ",[{")) > MAX_VALUES:  # counting those in strings too is safe and fast
        return TOO_MANY, 0
    return None


def toml_excess(text: str) -> tuple[str, int] | None:
    """Return which limit TOML text exceeds, and at which index; None if it exceeds none.

    A dotted key makes one table per dot, and the parser's time grows with their square.
    """
    dots = values = 0
    for match in _TOML_MARK.finditer(text):
        mark = match[0]
        if mark == ".":
            dots += 1
            if dots >= MAX_DEPTH:
                return TOO_DEEP, match.start()
        elif mark in "=,[{":
            dots = 0
        else:
            continue  # a string or a comment
        values += 1
        if values > MAX_VALUES:
            return TOO_MANY, match.start()
    return None


def is_deep(value: object) -> bool:
    """Return whether data is nested too deep, without recursion."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [value for value in level if isinstance(value, list | dict)]
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return True
