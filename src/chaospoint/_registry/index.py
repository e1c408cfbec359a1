"""Find the points that a glob matches, without trying each of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from chaospoint._kernel.names import is_glob, matcher

__all__ = ["Index"]

_OFTEN = 8  # if more than one name in eight has the literal, trying all names is as fast
_KEPT = 1_000_000  # the most names in the cache of globs


class Index:
    """The names of points; names may be added, but never removed."""

    __slots__ = ("_names", "_points")

    def __init__(self, points: Mapping[str, object]) -> None:
        self._points = points
        self._names = _Names(())

    def matching(self, pattern: str) -> Collection[str]:
        """Return the names that a name or glob matches."""
        if not is_glob(pattern):
            return (pattern,) if pattern in self._points else ()
        names = self._names
        if names.count != len(self._points):
            names = self._names = _Names(tuple(self._points))
        return names.matching(pattern)


class _Names:
    """A set of names, with a cache of the globs: a change looks up the same globs repeatedly."""

    __slots__ = ("_cache", "_kept", "_text", "count")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.count = len(names)
        self._text = "\n".join(("", *names, ""))  # a line each
        self._cache: dict[str, tuple[str, ...]] = {}
        self._kept = 0

    def matching(self, pattern: str) -> tuple[str, ...]:
        names = self._cache.get(pattern)
        if names is None:
            names = tuple(self._find(pattern))
            if self._kept < _KEPT:
                self._cache[pattern] = names
                self._kept += len(names) + 1
        return names

    def _find(self, pattern: str) -> Collection[str] | Iterator[str]:
        text = self._text
        literal = _longest_literal(pattern)
        if not literal:
            return text.split()
        if text.count(literal) * _OFTEN > self.count:
            return filter(matcher(pattern), text.split())
        return filter(matcher(pattern), _lines_with(literal, text))


def _longest_literal(pattern: str) -> str:
    """Return the longest text that the line of every matching name contains."""
    first, *inner, last = re.split(r"\*+", pattern)
    return max((first and f"\n{first}", *inner, last and f"{last}\n"), key=len)


def _lines_with(literal: str, text: str) -> Iterator[str]:
    place = text.find(literal)
    while place >= 0:
        start = text.rfind("\n", 0, place + 1) + 1
        end = text.find("\n", start)
        yield text[start:end]
        place = text.find(literal, end)
