"""The tail of a rule in text form: ``[to=db, every=3, when=after, expires_after=5m]``.

It holds the keys that are not written before or in the faults. A name that is not a key is an entry
of ``where``, as is every name in quotes and every name after ``where.``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from chaospoint._kernel.names import nearest
from chaospoint.models import strict_json
from chaospoint.models.cursor import is_word
from chaospoint.models.durations import lifetime
from chaospoint.models.plain_data import CODE_ONLY, is_plain, json_line
from chaospoint.models.quantities import count, optional_count, seed, share, skip
from chaospoint.models.refusal import Refusal, show
from chaospoint.plan.fields import scope, when, where_value

if TYPE_CHECKING:
    from chaospoint.models.cursor import Cursor

__all__ = ["KEYS", "read_tail", "share_text"]


_NAME: Final = re.compile(r'[^\s=,;"\[\](){}]+')
_BARE: Final = re.compile(r"[^\W\d][\w.-]*")
_WHERE: Final = "where."
_KEYS: Final[Mapping[str, Callable[[object], object]]] = {
    "failure_rate": share,
    "probability": share,
    "skip": skip,
    "every": count,
    "times": optional_count,
    "max_active": optional_count,
    "when": when,
    "scope": scope,
    "seed": seed,
    "expires_after": lifetime,
}
# Keys of a rule that are written in another part of its text.
_ELSEWHERE: Final = {
    "point": "write it before the '='",
    **dict.fromkeys(
        ("latency", "exception", "returns", "returns_from", "hang", "call", "faults", "rule"),
        "write the faults before the '['",
    ),
}
KEYS: Final = (*_KEYS, *_ELSEWHERE, "where")
# Common mistakes for a key. A label or argument of such a name needs `where.` in front.
_MISTAKES: Final = {
    **dict.fromkeys(("expires", "expire", "ttl", "lifetime"), "expires_after"),
    **dict.fromkeys(("rate", "prob", "p", "chance", "percent"), "probability"),
    **dict.fromkeys(("count", "max", "limit", "max_times"), "times"),
}
_ENTRY_AFTER: Final = re.compile(r";\s*[\w.]+\s*=")
_COMPARES: Final = ("!", "<", ">", "~")
_EQUAL: Final = "write name=value, which compares for equality; put a value with signs in quotes"
_EXAMPLE: Final = "write keys and labels such as [every=3, tenant=acme]"


def read_tail(cursor: Cursor, given: Collection[str], *, raises: bool) -> dict[str, Any]:
    """Read up to the ``]``, and return the keys.

    ``given``: the keys that the text contains before; ``raises``: it contains an exception.
    """
    keys: dict[str, Any] = {}
    where: dict[str, object] = {}
    while True:
        at = cursor.skip_space()
        bare = not cursor.comes_next('"')
        name, is_key = _read_name(cursor)
        if bare and name[-1:] in _COMPARES and cursor.comes_next("="):
            cursor.refuse(f"{name[-1]}= is not supported", at, _EQUAL)
        cursor.expect("=", f"'=' after {show(name)}")
        if cursor.comes_next("="):
            cursor.refuse("expected a value after '='", cure=_EQUAL)
        if not is_key:
            if name in where:
                cursor.refuse(f"{show(name)} is given twice", at, "keep one of them")
            where[name] = _read_value(cursor)
        elif name == "where":
            where |= _read_where(cursor, where)
        elif name in keys or name in given:
            cursor.refuse(f"{name!r} is in the text already", at, "keep one of them")
        elif name == "failure_rate" and not raises:
            cure = "write latency(200ms)+raise(TimeoutError), or leave the rate out"
            cursor.refuse("'failure_rate': there is no raise(...) to apply it to", at, cure)
        else:
            keys[name] = cursor.argument("]").value(_KEYS[name])
        if cursor.accept("]"):
            return {**keys, "where": where} if where else keys
        cursor.expect(",", "',' or ']'")


def _read_name(cursor: Cursor) -> tuple[str, bool]:
    """Read a name, and return it with whether it is a key."""
    at = cursor.skip_space()
    if cursor.comes_next('"'):
        if not (name := cursor.json()):
            cursor.refuse("expected a name between the quotes", at, _EXAMPLE)
        return str(name), False
    name = cursor.expect_match(_NAME, "a key or a label, such as every=3 or tenant=acme")
    if name.startswith(_WHERE):
        if name == _WHERE:
            cursor.refuse("expected a name after 'where.'", cure=_EXAMPLE)
        return name.removeprefix(_WHERE), False
    if name in _ELSEWHERE:
        cure = f"{_ELSEWHERE[name]}; for a label or an argument write {_WHERE}{name}"
        cursor.refuse(f"{name!r} does not belong in the brackets", at, cure)
    if name in KEYS:
        return name, True
    if near := _near(name):
        cure = f"did you mean {near!r}? for a label or an argument write {_WHERE}{name}"
        cursor.refuse(f"unknown key {show(name)}", at, cure)
    return name, False


def _read_value(cursor: Cursor) -> object:
    """Read a value of ``where``: JSON, words without quotes, or a list of both as ``(a, b)``."""
    if not cursor.accept("("):
        argument = cursor.argument("]")
        if argument.text.startswith("[") and not _is_list(argument.text):
            cure = 'write (db, 5432), or a list in JSON: ["db", 5432]'
            cursor.refuse(f"not a list: {show(argument.text)}", argument.at, cure)
        if argument.text[:1] not in ('"', "[", "{") and _ENTRY_AFTER.search(argument.text):
            cure = "write ',' between entries, or put the text in double quotes"
            cursor.refuse("expected ',' or ']' in place of ';'", argument.at, cure)
        return argument.value(where_value)
    return [part.value(where_value) for part in cursor.arguments().parts]


def _read_where(cursor: Cursor, where: Mapping[str, object]) -> dict[str, object]:
    def read(value: object) -> dict[str, object]:
        if not isinstance(value, dict) or not value or "" in value:
            raise Refusal("not an object of names", _EXAMPLE)
        if again := value.keys() & where.keys():
            raise Refusal(f"{min(again)!r} is given twice", "keep one of them")
        return {name: where_value(wanted) for name, wanted in value.items()}

    return cursor.argument("]").value(read)


def _is_list(text: str) -> bool:
    """Return whether the text begins with a list in JSON."""
    try:
        return isinstance(strict_json.first(text, 0)[0], list)
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _near(name: str) -> str:
    """Return the key that was probably meant by the name, or an empty text."""
    if name.lower() in _MISTAKES:
        return _MISTAKES[name.lower()]
    if len(name) > 20:
        return ""
    return next(iter(nearest(name.lower(), (*_KEYS, "where"), most=1, cutoff=0.85)), "")


def share_text(share: float) -> str:
    """Return the share as a percentage that reads back as the same share: ``30%``."""
    return f"{(Decimal(repr(share)) * 100).normalize():f}%"


def _write_name(name: str) -> str:
    if _BARE.fullmatch(name) is None:
        return json_line(name)
    return f"{_WHERE}{name}" if name in KEYS or name.startswith(_WHERE) or _near(name) else name


def _write_value(value: object) -> str:
    if not is_plain(value):
        return CODE_ONLY
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return f"({', '.join(map(_write_item, value))})"
    return _write_item(value)


def _write_item(value: object) -> str:
    return value if isinstance(value, str) and is_word(value) else json_line(value)
