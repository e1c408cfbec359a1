"""How a command ends: five exit codes, and a problem document for what went wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from chaospoint.control.problem import problem_of
from chaospoint.errors import ChaosError

__all__ = [
    "ExitCode",
    "Failure",
    "answered",
    "by_store",
    "foreign",
    "no_endpoint",
    "refused",
    "unreachable",
]

_HINTS = {
    401: "set CHAOSPOINT_ADMIN_TOKEN here to the token of the service",
    412: "look at it again with `chaospoint plan diff`, or apply with --force",
}


class ExitCode(IntEnum):
    """What the command reports to the shell."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NOBODY = 3
    UNACKNOWLEDGED = 4


class Failure(Exception):
    """The end of a command: ``code``, the problem document, and the cure on the command line.

    ``hint``: said instead of the cure in the document, which speaks of HTTP.
    """

    def __init__(self, code: ExitCode, document: Mapping[str, Any], hint: str = "") -> None:
        super().__init__(str(document.get("detail", "")))
        self.code = code
        self.document = dict(document)
        self._hint = hint

    @property
    def message(self) -> str:
        """What happened, and the cure."""
        problem = self.document
        detail = str(problem.get("detail") or problem.get("title") or "refused without a reason")
        cure = self._hint or str(problem.get("cure") or "")
        return detail if not cure or cure in detail else f"{detail}; {cure}"


def refused(error: ChaosError, hint: str = "") -> Failure:
    """Return the failure that says what ``error`` says, as the admin endpoint would."""
    document = json.loads(problem_of(error).response().body)
    return Failure(ExitCode.REFUSED, {**document, "detail": str(error)}, hint)


def unreachable(detail: str, cure: str) -> Failure:
    """Return the failure to reach anybody."""
    document = {
        "type": "urn:chaospoint:problem:nobody-there",
        "title": "Nobody there",
        "detail": detail,
        "cure": cure,
    }
    return Failure(ExitCode.NOBODY, document)


def answered(status: int, document: Mapping[str, Any]) -> Failure:
    """Return the failure that a service answered with."""
    return Failure(ExitCode.REFUSED, document, _HINTS.get(status, ""))


def no_endpoint(where: str, reason: str) -> Failure:
    """Return the failure to reach a service."""
    return unreachable(
        f"no chaospoint admin endpoint at {where} ({reason})",
        "is the service running with CHAOSPOINT_ENABLED=true and CHAOSPOINT_ADMIN=true? "
        f"give its --url, or {by_store()}",
    )


def foreign(where: str, answer: str) -> Failure:
    """Return the failure that another program answers."""
    return unreachable(
        f"what answers at {where} is not a chaospoint admin endpoint: it said {answer}",
        "correct --url; where an application mounts the endpoint, give its path, too",
    )


def by_store() -> str:
    """Return the way that needs no server, ready to be typed."""
    store = os.environ.get("CHAOSPOINT_STORE", "").strip()
    return f"use --store {store}" if store else "use --store with that of the service"
