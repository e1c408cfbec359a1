"""Names of points and globs over them.

A name consists of parts joined by dots; each part has lower-case letters, digits, ``_`` and ``-``.
In a glob, ``*`` matches any sequence of characters, including dots.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from chaospoint.errors import InvalidPoint

__all__ = ["MAX_NAME", "check_name", "is_glob", "matcher", "matches", "nearest"]

MAX_NAME = 255
"""The maximum length of a name or glob that does not come from code."""

_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def check_name(name: object) -> str:
    """Return ``name`` if it is valid for a point; otherwise raise `InvalidPoint`."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    if callable(name):
        raise InvalidPoint(
            f"a point needs a name, not {name!r}: write @chaospoint.point('payment.charge')"
        )
    raise InvalidPoint(
        f"{name!r} cannot be the name of a point: use lower-case letters, digits, '_' and '-', "
        "in parts joined by dots, such as 'payment.charge'"
    )


def is_glob(pattern: str) -> bool:
    """Whether ``pattern`` is a glob."""
    return "*" in pattern


def matcher(pattern: str) -> Callable[[str], object]:
    """Return a function whose result is true for the names that match."""
    if not is_glob(pattern):
        return pattern.__eq__
    # A long glob compiles to a megabyte, so it is not cached.
    return _matcher(pattern) if len(pattern) <= MAX_NAME else _matcher.__wrapped__(pattern)


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[str], object]:
    # Several stars in a row mean the same as one.  Atomic groups match each part at its first
    # possible position and never retry it, because backtracking could take exponential time.
    first, *inner, last = map(re.escape, re.split(r"\*+", pattern))
    atoms = "".join(f"(?>.*?{part})" for part in inner)
    return re.compile(f"{first}{atoms}.*{last}", re.DOTALL).fullmatch


def matches(pattern: str, name: str) -> bool:
    """Whether ``name`` matches ``pattern``; ``name`` may itself be a glob, compared as text."""
    return bool(matcher(pattern)(name))


def nearest(
    pattern: str, names: Iterable[str], *, most: int = 3, cutoff: float = 0.5
) -> tuple[str, ...]:
    """Return up to ``most`` of ``names`` that resemble ``pattern``, the most similar first.

    ``cutoff``: how similar they must be, from 0 to 1.
    """
    from difflib import get_close_matches

    return tuple(
        get_close_matches(
            pattern.replace("*", ""), list(dict.fromkeys(names)), n=most, cutoff=cutoff
        )
    )
