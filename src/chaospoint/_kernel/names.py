"""Names of points and globs over them.

A name is parts of lower-case letters, digits, ``_`` and ``-``, joined by dots; in a glob ``*``
stands for any run of characters, dots included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from chaospoint.errors import InvalidPoint

__all__ = ["MAX_NAME", "check_name", "is_glob", "matcher", "matches", "nearest"]

MAX_NAME = 255
"""How many characters a name or a glob from outside may have."""

_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def check_name(name: object) -> str:
    """Return ``name`` if it can be a point's; raise `InvalidPoint` with the cure if not."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    if callable(name):
        raise InvalidPoint(
            f"a point needs a name, and got {name!r}: write @chaospoint.point('payment.charge')"
        )
    raise InvalidPoint(
        f"{name!r} cannot be the name of a point: use lower-case letters, digits, '_' and '-', "
        "in parts joined by dots, such as 'payment.charge'"
    )


def is_glob(pattern: str) -> bool:
    """Whether ``pattern`` stands for more than one name."""
    return "*" in pattern


def matcher(pattern: str) -> Callable[[str], object]:
    """Return a function that is true of the names, or globs read as text, that match."""
    if not is_glob(pattern):
        return pattern.__eq__
    # One that is made of a long text takes a megabyte: it is not kept.
    return _matcher(pattern) if len(pattern) <= MAX_NAME else _matcher.__wrapped__(pattern)


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[str], object]:
    # Runs of stars mean what one star means.  What stands between two stars is matched at the
    # first place where it can be and never tried at another, or matching would take for ever.
    first, *inner, last = map(re.escape, re.split(r"\*+", pattern))
    atoms = "".join(f"(?>.*?{part})" for part in inner)
    return re.compile(f"{first}{atoms}.*{last}", re.DOTALL).fullmatch


def matches(pattern: str, name: str) -> bool:
    """Whether ``name``, read as text, matches ``pattern``."""
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
