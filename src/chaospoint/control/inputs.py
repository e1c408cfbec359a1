"""The inputs of a request: the query parameters of its route, and one small JSON object."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from chaospoint.control.http import MAX_BODY, Request
from chaospoint.control.openapi.operations import OPERATIONS
from chaospoint.control.openapi.request_schemas import Renewal
from chaospoint.control.problem import Problem
from chaospoint.models import strict_json

__all__ = ["flag", "lifetime", "no_keys", "number", "parameters", "plan_keys", "rule_keys", "shown"]


_SHOWN = frozenset(
    name
    for operations in OPERATIONS.values()
    for operation in operations.values()
    for name in operation.query
)
"""The query parameters of all routes; the value of any other parameter may be a secret."""


def parameters(request: Request, known: frozenset[str]) -> dict[str, str]:
    """Return the query parameters; raise a `Problem` if they are malformed or unknown."""
    try:
        pairs = parse_qsl(
            request.query,
            keep_blank_values=True,
            strict_parsing=bool(request.query),
            max_num_fields=20,
        )
    except ValueError:
        raise Problem(
            400,
            "bad-query",
            "the query is malformed",
            cure="write at most 20 parameters as name=value, separated by &",
        ) from None
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise Problem(400, "bad-query", f"{twice!r} is given twice", field=twice)
    for name in values:
        if name not in known:
            raise Problem(
                400,
                "unknown-parameter",
                f"{request.method} {request.path} has no parameter {name!r}",
                field=name,
                cure=f"there are: {', '.join(sorted(known))}" if known else "leave it out",
            )
    return values


def shown(request: Request) -> str:
    """Return the query as logs show it: without the values of unknown parameters."""
    pairs = (pair.partition("=") for pair in request.query.split("&"))
    return "&".join(
        f"{name}={value}" if name in _SHOWN else f"{name}=(not shown)" if equals else "(not shown)"
        for name, equals, value in pairs
    )


def flag(values: dict[str, str], name: str) -> bool:
    """Return a parameter that is ``true`` or ``false``; false if it is missing."""
    word = values.get(name, "false")
    if word not in ("true", "false"):
        raise Problem(
            400, "bad-query", f"{name} is {word!r}", field=name, value=word, cure="true or false"
        )
    return word == "true"


def number(values: dict[str, str], name: str, default: int, most: int) -> int:
    """Return a parameter that is a whole number from 1 to ``most``."""
    word = values.get(name, str(default))
    if not (word.isascii() and word.isdigit() and len(word) <= 9 and 1 <= int(word) <= most):
        raise Problem(
            400,
            "bad-query",
            f"{name} is {word!r}",
            field=name,
            value=word,
            cure=f"write a whole number from 1 to {most}",
        )
    return int(word)


_CURE = 'send the keys of a rule, such as {"latency": "200ms"}, or {"rule": "latency(200ms)"}'


def rule_keys(name: str, request: Request) -> dict[str, object]:
    """Return the keys of the rules to put on ``name``; raise a `Problem` if they are invalid."""
    keys = _keys(request)
    if not keys:
        raise Problem(
            400 if not request.body else 422,
            "empty-rule",
            f"the body holds no rule for {name!r}",
            cure=_CURE,
        )
    point = keys.pop("point", name)
    if point != name:
        raise Problem(
            422,
            "other-point",
            f"the path names {name!r}, and the body names {point!r}",
            field="point",
            value=point,
            cure="leave `point` out of the body",
        )
    return keys


def plan_keys(request: Request) -> dict[str, object]:
    """Return the keys of a plan; raise a `Problem` if they are invalid."""
    keys = _keys(request)
    if not request.body:
        raise Problem(400, "empty-plan", "the plan is missing", cure='send {"rules": [...]}')
    return keys


def lifetime(request: Request) -> float | None:
    """Return the seconds under ``expires_after``, or None without them.

    Raise a `Problem` or `InvalidPlan` if the body is invalid.
    """
    keys: dict[str, Any] = _keys(request)
    return Renewal(**keys).expires_after


def no_keys(request: Request) -> None:
    """Raise a `Problem` if the body has keys; the route takes none."""
    keys = _keys(request)
    if keys:
        raise Problem(
            422,
            "unknown-key",
            f"{request.method} {request.path} takes no keys, and got {sorted(keys)[0]!r}",
            field=sorted(keys)[0],
            cure="send no body",
        )


def _keys(request: Request) -> dict[str, object]:
    """Return the object in the body, empty without a body; raise a `Problem` if it is invalid."""
    headers = request.headers
    if "transfer-encoding" in headers:  # an adapter that decodes it removes the header
        raise Problem(411, "length-needed", "the body has no Content-Length", cure="send one")
    length = headers.get("content-length", str(len(request.body)))
    if not (length.isascii() and length.isdigit()):
        raise Problem(400, "bad-length", f"Content-Length {length!r} is not a number", value=length)
    if len(length) > 9 or max(int(length), len(request.body)) > MAX_BODY:
        raise Problem(
            413,
            "too-large",
            f"a body may have at most {MAX_BODY} bytes",
            value=length,
            limit=MAX_BODY,
        )
    if int(length) != len(request.body):
        raise Problem(
            400, "cut-short", f"Content-Length is {length}, but {len(request.body)} bytes arrived"
        )
    if not request.body:
        return {}
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Problem(
            415,
            "not-json",
            f"the body is {media or 'of no type'}",
            headers={"accept": "application/json"},
            value=media,
            cure="send Content-Type: application/json",
        )
    try:
        data = strict_json.loads(request.body)
    except ValueError as error:
        raise Problem(400, "malformed", f"the body is not JSON: {error}", cure=_CURE) from None
    if not isinstance(data, dict):
        raise Problem(
            422,
            "not-an-object",
            f"the body is {_JSON_NAMES[type(data)]}, not an object of keys",
            cure=_CURE,
        )
    return data


_JSON_NAMES = {
    str: "a string in JSON",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
    list: "a list",
}
