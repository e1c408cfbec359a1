"""What the body of a write may be: nothing, or one small JSON object that says its length."""

from __future__ import annotations

from typing import Any

from chaospoint.control.bodies import Renewal
from chaospoint.control.messages import MAX_BODY, Request
from chaospoint.control.problem import Problem
from chaospoint.models import strict_json

__all__ = ["lifetime", "no_keys", "plan_keys", "rule_keys"]

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
