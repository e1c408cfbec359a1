"""Compare the labels and arguments of a call with the ``where`` of a rule.

A value matches if it equals the wanted value, if it equals an item of a wanted list or set, or if
it is a string that matches a wanted glob.  A list or tuple matches a wanted list with the same
items, also as one of several, as in ``[["db", 5432]]``; JSON has no tuples.  A value that is
missing or cannot be compared does not match.  Comparing never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from chaospoint._kernel.context import context_copied, in_chaospoint
from chaospoint._kernel.names import is_glob, matcher

__all__ = ["Reads", "Test", "compares_alone", "may_accept", "predicate_for"]

Test = Callable[[Any], bool]
"""Whether a call with these labels or arguments matches."""

Reads = Callable[[str], Callable[[Any], object] | None]
"""Returns, for a name, a function that reads its value from a call; None if there is no such
label or argument."""

_COMPARES_ALONE = (bool, int, float, str, bytes, type(None))


def predicate_for(where: Mapping[str, object], reads: Reads) -> Test | None:
    """Return the test for one placement, or None if no call there can match."""
    pairs = [(reads(name), _check(wanted)) for name, wanted in where.items()]
    known = tuple((read, check) for read, check in pairs if read is not None)
    if len(known) < len(pairs):
        return None

    def test(values: Any) -> bool:
        for read, check in known:
            try:
                value = read(values)
            except LookupError:
                return False
            if not check(value):
                return False
        return True

    return test


def may_accept(wanted: object, value: object) -> bool:
    """Whether ``value`` may match; True if comparing it would run code of the program.

    It runs no code of the program, so it may be called under the lock.
    """
    return not (compares_alone(wanted) and compares_alone(value)) or _check(wanted)(value)


def compares_alone(value: object) -> bool:
    """Whether comparing a value runs only code of the interpreter."""
    kind = type(value)
    if any(kind is builtin for builtin in (list, tuple, set, frozenset)):
        return all(map(compares_alone, cast("Iterable[object]", value)))
    return any(kind is builtin for builtin in _COMPARES_ALONE)


def _check(wanted: object) -> Callable[[object], bool]:
    # No `isinstance`, which reads `__class__` of the value, and no sets of types, which hash them:
    # both may run code of the program that raises.
    kind = type(wanted)
    if issubclass(kind, (list, tuple, set, frozenset)):
        checks = tuple(map(_check_one, cast("Iterable[object]", wanted)))
        if issubclass(kind, (set, frozenset)):
            return lambda value: any(check(value) for check in checks)
        whole = _check_items(checks, wanted)
        return lambda value: (
            any(check(value) for check in checks) or (type(value) is not str and whole(value))
        )
    return _check_one(wanted)


def _check_one(wanted: object) -> Callable[[object], bool]:
    kind = type(wanted)
    if issubclass(kind, str) and is_glob(cast("str", wanted)):
        match = matcher(cast("str", wanted))
        return lambda value: issubclass(type(value), str) and bool(match(cast("str", value)))
    if issubclass(kind, (list, tuple)):
        return _check_items(tuple(map(_check_one, cast("Iterable[object]", wanted))), wanted)
    plain = any(kind is builtin for builtin in _COMPARES_ALONE)
    return lambda value: value == wanted if plain and type(value) is kind else _equal(value, wanted)


def _check_items(
    checks: tuple[Callable[[object], bool], ...], wanted: object
) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        kind = type(value)
        if kind is str or kind is int:
            return False  # the most frequent types first
        if not issubclass(kind, (list, tuple)):
            return _equal(value, wanted)
        # Calls the methods of the builtin: those of a subclass may be code of the program.
        builtin: Any = list if issubclass(kind, list) else tuple
        return builtin.__len__(value) == len(checks) and all(
            check_item(item)
            for check_item, item in zip(checks, builtin.__iter__(value), strict=True)
        )

    return check


def _equal(value: object, wanted: object) -> bool:
    try:
        return context_copied().run(_are_equal, value, wanted)
    except Exception:
        return False


def _are_equal(value: object, wanted: object) -> bool:
    in_chaospoint.set(True)  # the comparison may run code of the program, which may reach points
    return bool(value == wanted)
