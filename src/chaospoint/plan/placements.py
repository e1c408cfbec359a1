"""The key ``placements``: ``module:qualname`` of functions, and the points to place on them.

Only the form of the names is checked here; `chaospoint.placements` looks the functions up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BeforeValidator

from chaospoint.models.point_pattern import point_pattern
from chaospoint.models.refusal import Refusal, show

__all__ = ["MAX_PLACEMENTS", "Placements"]

MAX_PLACEMENTS: Final = 1000
"""The most placements that a plan may have."""

_EXAMPLE = "'shop.stock:Stock.check'"
_ONE_NAME = "write one name in lower-case words joined by dots, such as payment.charge"
_CURE = f"write the module, a colon, and the name of the function in it, such as {_EXAMPLE}"


def _placements(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        cure = f"write functions with their points: {{{_EXAMPLE}: inventory.check}}"
        raise Refusal("not a mapping", cure, value=value)
    if len(value) > MAX_PLACEMENTS:
        problem = f"{len(value)} placements, and a plan may have at most {MAX_PLACEMENTS}"
        raise Refusal(problem, "place fewer points, or decorate the functions")
    placements: dict[str, str] = {}
    for target, point in value.items():
        try:
            placements[_target(target)] = _point(point)
        except Refusal as refusal:
            raise refusal.within(f"[{show(target)}]") from None
    return placements


def _target(text: object) -> str:
    if not isinstance(text, str):
        raise Refusal("not the name of a function", _CURE)
    module, colon, qualname = text.partition(":")
    if not colon:
        raise Refusal("no colon between the module and the name in it", _with_colon(text))
    if "<locals>" in qualname:
        cure = "decorate it, or place the point on the outer function"
        raise Refusal("a function defined inside another cannot be found by name", cure)
    if not (_is_path(module) and _is_path(qualname)):
        raise Refusal("not the name of a function", _CURE)
    if module.partition(".")[0] == "chaospoint":
        raise Refusal(
            "points cannot be placed in chaospoint itself", "name a function of the program"
        )
    return str(text)


def _with_colon(text: str) -> str:
    """Return how to write a dotted name; a part with a capital letter is usually a class."""
    before, dot, last = text.rpartition(".")
    if not dot or not _is_path(text):
        return _CURE
    cure, parts = f"write '{before}:{last}'", text.split(".")
    for at, part in enumerate(parts[:-1]):
        if at and not part.islower():
            by_class = f"'{'.'.join(parts[:at])}:{'.'.join(parts[at:])}'"
            return (
                f"write {by_class} if {part!r} is a class, or '{before}:{last}' if it is a module"
            )
    return cure


def _is_path(text: str) -> bool:
    return all(map(str.isidentifier, text.split(".")))


def _point(value: object) -> str:
    if not isinstance(value, str):
        raise Refusal("not the name of a point", _ONE_NAME, value=value)
    try:
        name = point_pattern(value)
    except Refusal as refusal:
        if "glob" in refusal.cure:
            refusal.cure = _ONE_NAME
        raise
    if "*" in name:
        raise Refusal("a glob is not the name of a point", _ONE_NAME, value=value)
    return name


Placements = Annotated[Mapping[str, str], BeforeValidator(_placements)]
