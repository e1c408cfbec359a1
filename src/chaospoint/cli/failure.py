"""How a command ends: five exit codes, and a problem document for what went wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from chaospoint.control.problem import problem_of
from chaospoint.errors import ChaosError

__all__ = ["ExitCode", "Failure", "nobody", "refused"]


class ExitCode(IntEnum):
    """What the shell is told."""

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
    return Failure(ExitCode.REFUSED, json.loads(problem_of(error).response().body), hint)


def nobody(detail: str, cure: str) -> Failure:
    """Return the failure to reach anybody."""
    document = {
        "type": "urn:chaospoint:problem:nobody-there",
        "title": "Nobody there",
        "detail": detail,
        "cure": cure,
    }
    return Failure(ExitCode.NOBODY, document)
