"""What an answer to a write says of the workers. It needs the standard library alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

__all__ = ["in_force", "is_acknowledgement", "unfollowed"]


def is_acknowledgement(answer: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether this is how chaospoint answers, and not another program."""
    if not isinstance(answer, dict):
        return False
    missing = answer.get("missing", [])
    return (
        all(type(answer.get(key)) is int for key in ("acknowledged", "workers", "generation"))
        and isinstance(missing, list)
        and all(isinstance(one, dict) for one in missing)
    )


def in_force(answer: Mapping[str, Any]) -> str:
    """Return where the change is in force."""
    if answer.get("reached"):
        return "in force in the answering process only"
    return f"in force in {answer['acknowledged']} of {answer['workers']} workers"


def unfollowed(answer: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield a remark if no worker follows ``where``, and one for each that does not run it."""
    if answer.get("workers") == 0:
        yield f"nobody is there: no worker follows {where}; those that start will"
    for one in answer.get("missing") or ():
        who = f"pid {one['pid']} has not applied it" if one.get("pid") else "written"
        yield f"{who}: {one.get('why')}"
