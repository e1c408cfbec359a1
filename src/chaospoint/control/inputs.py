"""What a request may bring: parameters that the route knows, and one small JSON object."""

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
    """Return the parameters of the request; raise the `Problem` of one that means nothing."""
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
            "what stands behind the question mark means nothing",
            cure="write up to 20 times name=value, with & between them",
        ) from None
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise Problem(400, "bad-query", f"{twice!r} is given twice", field=twice)
    for name in found:
        if name not in known:
            raise Problem(
                400,
                "unknown-parameter",
                f"{request.method} {request.path} has no parameter {name!r}",
                field=name,
                cure=f"there are: {', '.join(sorted(known))}" if known else "leave it out",
            )
    return found


def shown(request: Request) -> str:
    """Return what stands behind the question mark, as logs show it: without values that no route
    asks for."""
    pairs = (one.partition("=") for one in request.query.split("&"))
    return "&".join(
        f"{name}={value}" if name in _SHOWN else f"{name}=(not shown)" if equals else "(not shown)"
        for name, equals, value in pairs
    )


def flag(found: dict[str, str], name: str) -> bool:
    """Return a parameter that is ``true`` or ``false``; false if it is not there."""
    word = found.get(name, "false")
    if word not in ("true", "false"):
        raise Problem(
            400, "bad-query", f"{name} is {word!r}", field=name, value=word, cure="true or false"
        )
    return word == "true"


def number(found: dict[str, str], name: str, default: int, most: int) -> int:
    """Return a parameter that is a whole number from 1 to ``most``."""
    word = found.get(name, str(default))
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
    """Return the keys of the rules to put on ``name``; raise the `Problem` they have."""
    keys = _keys(request)
    if not keys:
        raise Problem(
            400 if not request.body else 422,
            "empty-rule",
            f"what is to happen at {name!r} is missing",
            cure=_CURE,
        )
    there = keys.pop("point", name)
    if there != name:
        raise Problem(
            422,
            "other-point",
            f"the path says {name!r} and the body {there!r}",
            field="point",
            value=there,
            cure="leave `point` out of the body",
        )
    return keys


def plan_keys(request: Request) -> dict[str, object]:
    """Return the keys of a plan; raise the `Problem` they have."""
    keys = _keys(request)
    if not request.body:
        raise Problem(400, "empty-plan", "the plan is missing", cure='send {"rules": [...]}')
    return keys


def lifetime(request: Request) -> float | None:
    """Return the seconds under ``expires_after``; None without them. Raise the `Problem` or
    `InvalidPlan` of the body."""
    keys: dict[str, Any] = _keys(request)
    return Renewal(**keys).expires_after


def no_keys(request: Request) -> None:
    """Raise the `Problem` of a request that brings keys where none mean anything."""
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
    """Return the object in the body, which may be absent; raise the `Problem` it has."""
    headers = request.headers
    if "transfer-encoding" in headers:  # an adapter that has undone it takes the header out
        raise Problem(411, "length-needed", "the body has no Content-Length", cure="send one")
    length = headers.get("content-length", str(len(request.body)))
    if not (length.isascii() and length.isdigit()):
        raise Problem(400, "bad-length", f"Content-Length {length!r} is no number", value=length)
    if len(length) > 9 or max(int(length), len(request.body)) > MAX_BODY:
        raise Problem(
            413, "too-large", f"a body has {MAX_BODY} bytes at most", value=length, limit=MAX_BODY
        )
    if int(length) != len(request.body):
        raise Problem(
            400, "cut-short", f"{length} bytes were announced, and {len(request.body)} came"
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
        raise Problem(400, "malformed", f"the body is no JSON: {error}", cure=_CURE) from None
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
