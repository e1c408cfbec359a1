"""Refusals as RFC 9457 problem documents: what happened, the value, and the cure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from chaospoint.control.http import Response, reply
from chaospoint.errors import (
    ChaosError,
    InvalidPlan,
    LimitExceeded,
    NotPermitted,
    StoreBusy,
    StoreError,
    UnknownPoint,
    UnsupportedFault,
)
from chaospoint.models.refusal import show

__all__ = ["Problem", "problem_document", "problem_of"]


def problem_document(
    kind: str, detail: str, *, status: int | None = None, **members: object
) -> dict[str, object]:
    """Return a problem document; ``status`` and ``members`` that are None are left out.

    ``kind`` is the stable last word of its ``type``.
    """
    document: dict[str, object] = {
        "type": f"urn:chaospoint:problem:{kind}",
        "title": kind.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
        **{key: _plain(value) for key, value in members.items()},
    }
    return {key: value for key, value in document.items() if value is not None}


class Problem(Exception):
    """A refusal, which `response` turns into a problem document.

    ``kind`` is the stable last word of its ``type``.  ``members`` are added to those of the RFC;
    None values are left out.  ``delay_seconds`` is how long the adapter delays the response; it is
    not part of the document.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        delay_seconds: float = 0.0,
        **members: object,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.delay_seconds = delay_seconds
        self.members = {key: value for key, value in members.items() if value is not None}

    def document(self) -> dict[str, object]:
        """Return the problem document."""
        return problem_document(self.kind, self.detail, status=self.status, **self.members)

    def response(self) -> Response:
        """Return the problem document as a response."""
        answer = reply(
            self.status, self.document(), media="application/problem+json", headers=self.headers
        )
        return replace(answer, delay_seconds=self.delay_seconds)


def problem_of(error: ChaosError) -> Problem:
    """Return the problem for an error of chaospoint."""
    match error:
        case InvalidPlan():
            return Problem(
                422,
                "invalid-plan",
                error.unquoted,
                rule=error.rule,
                field=error.field,
                value=error.value,
                cure=error.cure,
            )
        case UnknownPoint():
            return Problem(404, "unknown-point", str(error), name=error.name, nearest=error.close)
        case UnsupportedFault():
            return Problem(422, "unsupported-fault", str(error))
        case NotPermitted():
            return Problem(
                409, "not-permitted", str(error), cure="`chaospoint enable` or POST /v1/enable"
            )
        case LimitExceeded():
            return Problem(422, "limit-exceeded", str(error))
        case StoreBusy():
            return Problem(503, "store-busy", str(error), headers={"retry-after": "1"})
        case StoreError():
            return Problem(503, "store-unusable", str(error))
        case _:
            return Problem(422, "refused", str(error))


def _plain(value: object) -> object:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return show(value)
    return value
