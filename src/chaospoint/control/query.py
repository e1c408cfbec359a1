"""What may stand behind the question mark: parameters that the route knows, each once."""

from __future__ import annotations

from urllib.parse import parse_qsl

from chaospoint.control.messages import Request
from chaospoint.control.problem import Problem

__all__ = ["flag", "number", "parameters", "shown"]

_SHOWN = frozenset({"after", "dry_run", "limit", "point", "reason"})
"""The parameters of all routes; what stands under another name may be a secret."""


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
