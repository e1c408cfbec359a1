"""The pattern of a rule: the name of a point, or a glob in which ``*`` also matches dots."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

from chaospoint._kernel.names import MAX_NAME
from chaospoint.models.refusal import Refusal

__all__ = ["PATTERN", "PointPattern", "point_pattern"]

PATTERN: Final = r"[a-z0-9_*-]+(\.[a-z0-9_*-]+)*"
"""A regular expression for the whole pattern, in the syntax that all languages share."""

_PATTERN = re.compile(PATTERN)
_CURE = "write lower-case words joined by dots, such as payment.charge, or a glob: payment.*"


def point_pattern(value: object) -> str:
    """Return the pattern unchanged; `Refusal` with the reason if it is not one."""
    if not isinstance(value, str):
        raise Refusal("not the name of a point", _CURE, value=value)
    if len(value) > MAX_NAME:
        problem = f"longer than {MAX_NAME} characters"
        raise Refusal(problem, "write a shorter name, or a glob", value=value)
    if _PATTERN.fullmatch(value):
        return str(value)
    if not value:
        raise Refusal("empty", _CURE, value=value)
    if _PATTERN.fullmatch(value.lower()):
        problem = "uppercase letters are not allowed"
        raise Refusal(problem, f"write {value.lower()!r}", value=value)
    invalid = re.search(r"[^a-z0-9_*.-]", value)
    if invalid is None:
        raise Refusal("a dot has nothing before or after it", _CURE, value=value)
    raise Refusal(f"{invalid.group()!r} is not allowed in a name", _CURE, value=value)


PointPattern = Annotated[
    str,
    BeforeValidator(point_pattern),
    WithJsonSchema({"type": "string", "pattern": f"^{PATTERN}$", "maxLength": MAX_NAME}),
]
