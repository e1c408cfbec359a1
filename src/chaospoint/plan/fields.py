"""The keys ``where``, ``when`` and ``scope``, which select the calls on which a rule acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Annotated, Literal, cast

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from chaospoint._kernel.names import MAX_NAME, is_glob
from chaospoint.models.nesting import VALUE_DEPTH
from chaospoint.models.plain_data import CODE_ONLY, check_plain, check_written, is_plain
from chaospoint.models.refusal import HIDDEN, Refusal, close_to, name_key

__all__ = ["Scope", "When", "Where", "detached_where", "scope", "when", "where_value"]

_CURE = "write the names of labels or arguments with the values they must have: {tenant: acme}"


def _where(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise Refusal("not a mapping of names", _CURE, value=HIDDEN)
    if not value:
        raise Refusal("has no names", "leave the key out to match every call", value=value)
    for name in value:
        if not isinstance(name, str) or not name or not is_plain(name):
            problem = "not the name of a label or an argument"
            raise Refusal(problem, _CURE, field=name_key(name), value=HIDDEN)
    return {name: _owned(wanted) for name, wanted in value.items()}


def _owned(wanted: object) -> object:
    """Return a copy of plain data, with lists for tuples, which match the same; else the value."""
    data = _listed(wanted)
    return deepcopy(data) if is_plain(data) else wanted


def _listed(value: object, depth: int = VALUE_DEPTH) -> object:
    if type(value) not in (list, tuple) or depth == 0:
        return value
    return [_listed(item, depth - 1) for item in cast("Sequence[object]", value)]


def _dump_where(value: Mapping[str, object] | None) -> object:
    if value is None:
        return None
    return {name: wanted if is_plain(wanted) else CODE_ONLY for name, wanted in value.items()}


def detached_where(where: Mapping[str, object] | None) -> Mapping[str, object] | None:
    """Return a copy of ``where``; refuse values that are not plain data."""
    for name, wanted in (where or {}).items():
        try:
            where_value(wanted)
        except Refusal as refusal:
            refusal.value = HIDDEN
            raise refusal.within(f"where.{name}") from None
    return deepcopy(where)


def where_value(value: object) -> object:
    """Return the value unchanged; refuse values that are not data, and very long globs."""
    check_plain(value)
    check_written(value)
    _check_globs(value)
    return value


def _check_globs(value: object) -> None:
    if isinstance(value, list):
        for item in value:
            _check_globs(item)
    elif isinstance(value, str) and is_glob(value) and len(value) > MAX_NAME:
        problem = f"a glob of more than {MAX_NAME} characters"
        raise Refusal(problem, "write a shorter glob", value=HIDDEN)


def when(value: object) -> str:
    """Return ``before`` or ``after``; `Refusal` for anything else."""
    return _one_of(value, "before", "after")


def scope(value: object) -> str:
    """Return ``process`` or ``context``; `Refusal` for anything else."""
    return _one_of(value, "process", "context")


def _one_of(value: object, *words: str) -> str:
    if not isinstance(value, str) or value not in words:
        cure = close_to(value, words) or f"write {' or '.join(words)}"
        raise Refusal(f"neither {' nor '.join(words)}", cure, value=value)
    return value


Where = Annotated[
    Mapping[str, object] | None,
    BeforeValidator(_where),
    PlainSerializer(_dump_where),
    WithJsonSchema({"type": "object", "minProperties": 1, "propertyNames": {"minLength": 1}}),
]
When = Annotated[Literal["before", "after"], BeforeValidator(when)]
Scope = Annotated[Literal["process", "context"], BeforeValidator(scope)]
