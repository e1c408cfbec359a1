"""Finds the points that a glob matches without trying each of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from chaospoint._names import is_glob, matcher

__all__ = ["Index"]

_OFTEN = 8  # where one name in so many has the literal, trying all of them is as fast


class Index:
    """The names of some points, to which more may be added and none removed."""

    __slots__ = ("_points", "_text")

    def __init__(self, points: Mapping[str, object]) -> None:
        self._points = points
        self._text = (0, "\n")  # how many names, and all of them, a line each

    def matching(self, pattern: str) -> Collection[str]:
        """Return the names that a name or glob matches."""
        if not is_glob(pattern):
            return (pattern,) if pattern in self._points else ()
        count, text = self._text
        if count != len(self._points):
            names = tuple(self._points)
            count, text = self._text = len(names), "\n".join(("", *names, ""))
        literal = _longest_literal(pattern)
        if not literal:
            return text.split()
        if text.count(literal) * _OFTEN > count:
            return list(filter(matcher(pattern), text.split()))
        return list(filter(matcher(pattern), _lines_with(literal, text)))


def _longest_literal(pattern: str) -> str:
    """Return the longest text that stands in the line of each name that the glob matches."""
    first, *inner, last = re.split(r"\*+", pattern)
    return max((first and f"\n{first}", *inner, last and f"{last}\n"), key=len)


def _lines_with(literal: str, text: str) -> Iterator[str]:
    place = text.find(literal)
    while place >= 0:
        start = text.rfind("\n", 0, place + 1) + 1
        end = text.find("\n", start)
        yield text[start:end]
        place = text.find(literal, end)
