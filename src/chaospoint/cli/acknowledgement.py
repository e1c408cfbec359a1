"""Read which workers run a change, from the answer to a write.  Standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

__all__ = ["in_force", "is_acknowledgement", "warnings_of"]


def is_acknowledgement(answer: object) -> TypeGuard[dict[str, Any]]:
    """Return whether chaospoint sent this answer, rather than another program."""
    if not isinstance(answer, dict):
        return False
    missing = answer.get("missing", [])
    return (
        all(type(answer.get(key)) is int for key in ("acknowledged", "workers", "generation"))
        and isinstance(missing, list)
        and all(isinstance(worker, dict) for worker in missing)
    )


def in_force(answer: Mapping[str, Any]) -> str:
    """Return where the change is in force, as text."""
    if answer.get("reached"):
        return "in force in the answering process only"
    return f"in force in {answer['acknowledged']} of {answer['workers']} workers"


def warnings_of(answer: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield a warning if no worker follows ``where``, and one for each worker that lags behind."""
    if answer.get("workers") == 0:
        yield f"no worker follows {where}; workers that start later will apply the change"
    for worker in answer.get("missing") or ():
        pid = worker.get("pid")
        subject = f"pid {pid} has not applied the change:" if pid else "the change is written, but"
        yield f"{subject} {worker.get('why')}"
