"""Failures of a command: an exit code and a problem document for each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from chaospoint.control.problem import problem_document, problem_of
from chaospoint.errors import ChaosError

__all__ = [
    "ExitCode",
    "Failure",
    "answered",
    "foreign",
    "no_endpoint",
    "problem",
    "refused",
    "store_hint",
    "unreachable",
]

_HINTS = {
    401: "set CHAOSPOINT_ADMIN_TOKEN in this shell to the token of the service",
    412: "run `chaospoint plan diff` to see the change, or apply with --force",
}


class ExitCode(IntEnum):
    """The exit code of the command."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    UNACKNOWLEDGED = 4


class Failure(Exception):
    """A command ends with exit code ``code`` and the problem document ``document``.

    The message shows ``hint`` instead of the document's cure, which may speak of HTTP.
    """

    def __init__(self, code: ExitCode, document: Mapping[str, Any], hint: str = "") -> None:
        super().__init__(str(document.get("detail", "")))
        self.code = code
        self.document = dict(document)
        self._hint = hint

    @property
    def message(self) -> str:
        """What happened, and the cure."""
        document = self.document
        title = document.get("title") or "the service refused and gave no reason"
        detail = str(document.get("detail") or title)
        cure = self._hint or str(document.get("cure") or "")
        return detail if not cure or cure in detail else f"{detail}; {cure}"


def problem(code: ExitCode, kind: str, detail: str, **members: Any) -> Failure:
    """Return the failure with a problem document of this kind."""
    return Failure(code, problem_document(kind, detail, **members))


def refused(error: ChaosError, hint: str = "") -> Failure:
    """Return the failure for ``error``, with the document that the admin endpoint would send."""
    document = problem_of(error).document()
    return Failure(ExitCode.REFUSED, {**document, "detail": str(error)}, hint)


def unreachable(detail: str, cure: str) -> Failure:
    """Return the failure to reach a service or a store."""
    return problem(ExitCode.UNREACHABLE, "nobody-there", detail, cure=cure)


def answered(status: int, document: Mapping[str, Any]) -> Failure:
    """Return the failure with the problem document that a service sent."""
    return Failure(ExitCode.REFUSED, document, _HINTS.get(status, ""))


def no_endpoint(where: str, reason: str) -> Failure:
    """Return the failure to connect to a service."""
    return unreachable(
        f"no chaospoint admin endpoint at {where} ({reason})",
        "start the service with CHAOSPOINT_ENABLED=true and CHAOSPOINT_ADMIN=true, "
        f"correct --url, or {store_hint()}",
    )


def foreign(where: str, answer: str) -> Failure:
    """Return the failure for an answer that is not from chaospoint."""
    return unreachable(
        f"the server at {where} is not a chaospoint admin endpoint: it answered {answer}",
        "correct --url; if an application mounts the endpoint, include its path",
    )


def store_hint() -> str:
    """Return the option that needs no server, as the user types it."""
    store = os.environ.get("CHAOSPOINT_STORE", "").strip()
    return f"use --store {store}" if store else "use --store with the store of the service"
