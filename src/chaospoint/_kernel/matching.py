"""What labels and arguments have to be for a reach to match.

Equal to the value that is wanted, or to one of a list or set, or matched by a string with ``*``.
A value that is a list or tuple matches a list of the same items, given alone or as one of those in
a list, such as ``[["db", 5432]]``: JSON has no tuples.  What is missing, or cannot be compared,
does not match; comparing raises nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from chaospoint._kernel.context import context_copied, in_chaospoint
from chaospoint._kernel.names import is_glob, matcher

__all__ = ["Reads", "Test", "compares_alone", "may_accept", "predicate_for"]

Test = Callable[[Any], bool]
"""Whether a reach with these labels or arguments matches."""

Reads = Callable[[str], Callable[[Any], object] | None]
"""For a name: how a placement reads its value at a reach, or None if it has nothing so named."""

_COMPARES_ALONE = (bool, int, float, str, bytes, type(None))


def predicate_for(where: Mapping[str, object], reads: Reads) -> Test | None:
    """Return the test of one placement, or None if nothing there can ever match."""
    pairs = [(reads(name), _check(wanted)) for name, wanted in where.items()]
    known = tuple((read, check) for read, check in pairs if read is not None)
    if len(known) < len(pairs):
        return None

    def test(values: Any) -> bool:
        for read, check in known:
            try:
                found = read(values)
            except LookupError:
                return False
            if not check(found):
                return False
        return True

    return test


def may_accept(wanted: object, found: object) -> bool:
    """Whether a value may be one that `where` asks for; comparing runs no foreign code.

    So this may be asked under the lock.  A value of a class that compares in its own way may match.
    """
    return not (compares_alone(wanted) and compares_alone(found)) or _check(wanted)(found)


def compares_alone(value: object) -> bool:
    """Whether comparing a value runs nothing but code of the interpreter."""
    kind = type(value)
    if any(kind is one for one in (list, tuple, set, frozenset)):
        return all(map(compares_alone, cast("Iterable[object]", value)))
    return any(kind is one for one in _COMPARES_ALONE)


def _check(wanted: object) -> Callable[[object], bool]:
    # Types are looked at as they are: `isinstance` asks values for their class, and sets ask types
    # for their hash, which may be foreign code that raises.
    kind = type(wanted)
    if issubclass(kind, (list, tuple, set, frozenset)):
        checks = tuple(map(_check_one, cast("Iterable[object]", wanted)))
        if issubclass(kind, (set, frozenset)):
            return lambda found: any(check(found) for check in checks)
        whole = _check_items(checks, wanted)
        return lambda found: (
            any(check(found) for check in checks) or (type(found) is not str and whole(found))
        )
    return _check_one(wanted)


def _check_one(wanted: object) -> Callable[[object], bool]:
    kind = type(wanted)
    if issubclass(kind, str) and is_glob(cast("str", wanted)):
        match = matcher(cast("str", wanted))
        return lambda found: issubclass(type(found), str) and bool(match(cast("str", found)))
    if issubclass(kind, (list, tuple)):
        return _check_items(tuple(map(_check_one, cast("Iterable[object]", wanted))), wanted)
    plain = any(kind is one for one in _COMPARES_ALONE)
    return lambda found: found == wanted if plain and type(found) is kind else _equal(found, wanted)


def _check_items(
    checks: tuple[Callable[[object], bool], ...], wanted: object
) -> Callable[[object], bool]:
    def check(found: object) -> bool:
        kind = type(found)
        if kind is str or kind is int:
            return False  # as most are
        if not issubclass(kind, (list, tuple)):
            return _equal(found, wanted)
        # By the classes' own methods: those of a subclass may be foreign code.
        own: Any = list if issubclass(kind, list) else tuple
        return own.__len__(found) == len(checks) and all(
            one(item) for one, item in zip(checks, own.__iter__(found), strict=True)
        )

    return check


def _equal(found: object, wanted: object) -> bool:
    try:
        return context_copied().run(_are_equal, found, wanted)
    except Exception:
        return False


def _are_equal(found: object, wanted: object) -> bool:
    in_chaospoint.set(True)  # foreign code, which may reach points
    return bool(found == wanted)
