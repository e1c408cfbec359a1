"""The operations of the admin endpoint, in one table.

`Service` builds its routes from this table, and `describe` the OpenAPI document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from chaospoint._kernel.names import MAX_NAME
from chaospoint.control.access import DISABLE
from chaospoint.control.openapi.request_schemas import ANYTHING, PLAN, RENEWAL, RULE
from chaospoint.control.openapi.response_schemas import (
    DryRun,
    Injections,
    MatchedPoints,
    Points,
    PutAtMatchedPoints,
    PutAtPoint,
    ReachedPoint,
    Status,
    Switched,
    Workers,
    WrittenDisarm,
    WrittenPlan,
    WrittenRelease,
    WrittenRenewal,
)
from chaospoint.control.pages import MARK_OF_BOTH, MARK_OF_NAMES, MARK_OF_RULES, USUAL
from chaospoint.models.point_pattern import PATTERN
from chaospoint.observers.journal import LONGEST

__all__ = ["HEADERS", "LINK", "OPERATIONS", "PARAMETERS", "REFUSALS", "TAG", "Object", "Operation"]

Object = dict[str, Any]

_NAME: Final = "name"
_PAGED: Final = ("limit", "after")
TAG = {"type": "string", "pattern": '^"[0-9]{1,18}"$'}
PARAMETERS: Final[dict[str, Object]] = {
    _NAME: {
        "in": "path",
        "required": True,
        "description": "the name of a point, or a glob in which * matches any characters",
        "schema": {"type": "string", "pattern": f"^{PATTERN}$", "maxLength": MAX_NAME},
    },
    "dry_run": {
        "in": "query",
        "description": "return what the request would do, and change nothing",
        "schema": {"type": "boolean", "default": False},
    },
    "point": {
        "in": "query",
        "description": "a name or a glob",
        "schema": {"type": "string", "default": "*", "maxLength": MAX_NAME},
    },
    "limit": {
        "in": "query",
        "description": "the most items to return",
        "schema": {"type": "integer", "minimum": 1, "maximum": LONGEST, "default": USUAL},
    },
    "after": {
        "in": "query",
        "description": "the mark after which the page begins: `next` of the previous page",
    },
    "reason": {
        "in": "query",
        "description": "the reason; the body may have it, too, under `reason`",
        "schema": {"type": "string"},
    },
    "If-Match": {
        "in": "header",
        "description": "the ETag of the plan that the change is meant for, or *",
        "schema": {"anyOf": [TAG, {"const": "*"}]},
    },
    "If-None-Match": {
        "in": "header",
        "description": "the ETag of the plan that the client has",
        "schema": {"type": "string"},
    },
}
REFUSALS: Final[dict[int, str]] = {
    400: "The request is malformed.",
    401: "The token is missing or wrong.",
    403: "This client has no access to this operation.",
    404: "No point has this name.",
    409: "chaospoint is disabled, so nothing can be armed.",
    411: "The body has no Content-Length.",
    412: "The plan is not at the generation in If-Match.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The body is invalid, cannot be applied here, or exceeds a limit.",
    503: "The store cannot be used now.",
}
HEADERS: Final[dict[int, Object]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    412: {"ETag": {"required": True, "schema": TAG}},
    415: {"Accept": {"required": True, "schema": {"const": "application/json"}}},
    503: {"Retry-After": {"description": "in seconds", "schema": {"type": "integer"}}},
}
LINK: Final[Object] = {
    "description": "leads to the next page; left out on the last one",
    "schema": {"type": "string"},
}
_BODY = (411, 413, 415, 422)  # operations with a body, or that refuse one


@dataclass(frozen=True, slots=True)
class Operation:
    """One method at one path.

    ``handler``: the method of `Service` that answers it, without its underscore. ``answers``: the
    models of a successful response, empty if no model describes it. ``parameters``: names in
    `PARAMETERS`. ``lenient``: unknown query parameters are ignored. ``refusals``: error statuses
    beyond those of every operation. ``tag``: whether a successful response always (True),
    sometimes (False) or never (None) has the ETag of the plan. ``marks``: the page marks, as a
    regular expression.
    """

    id: str
    handler: str
    summary: str
    answers: tuple[type[BaseModel], ...] = ()
    parameters: tuple[str, ...] = ()
    refusals: tuple[int, ...] = ()
    body: str = ""
    tag: bool | None = None
    reads: bool = False
    marks: str = ""
    lenient: bool = False

    @property
    def query(self) -> frozenset[str]:
        """The names of the query parameters."""
        return frozenset(name for name in self.parameters if PARAMETERS[name]["in"] == "query")


OPERATIONS: Final[dict[str, dict[str, Operation]]] = {
    "/v1/status": {
        "get": Operation(
            "status",
            "status",
            "The state of this process.",
            (Status,),
            _PAGED,
            reads=True,
            marks=MARK_OF_RULES,
        )
    },
    "/v1/workers": {
        "get": Operation(
            "workers",
            "workers",
            "The processes of the store.",
            (Workers,),
            refusals=(503,),
            reads=True,
        )
    },
    "/v1/plan": {
        "get": Operation(
            "plan",
            "plan",
            "The rules in the store.",
            parameters=("If-None-Match",),
            refusals=(503,),
            tag=True,
            reads=True,
        ),
        "put": Operation(
            "putPlan",
            "put_plan",
            "Replace all rules in the store.",
            (WrittenPlan, DryRun),
            ("dry_run", "If-Match"),
            (409, 412, *_BODY, 503),
            PLAN,
            tag=False,
        ),
    },
    "/v1/points": {
        "get": Operation(
            "points",
            "points",
            "The points of this process.",
            (Points,),
            _PAGED,
            reads=True,
            marks=MARK_OF_NAMES,
        ),
        "delete": Operation(
            "disarmAll",
            "disarm",
            "Disarm everything, of every source.",
            (WrittenDisarm,),
            ("If-Match",),
            (412, *_BODY, 503),
        ),
    },
    "/v1/points/{name}": {
        "get": Operation(
            "point",
            "point",
            "One point with its rules, or the points and rules of a glob.",
            (ReachedPoint, MatchedPoints),
            (_NAME, *_PAGED),
            (404, 503),
            reads=True,
            marks=MARK_OF_BOTH,
        ),
        "put": Operation(
            "putRule",
            "put",
            "Replace the rules on exactly this name.",
            (PutAtPoint, PutAtMatchedPoints, DryRun),
            (_NAME, "dry_run", "If-Match"),
            (404, 409, 412, *_BODY, 503),
            RULE,
        ),
        "delete": Operation(
            "disarm",
            "disarm",
            "Disarm the rules that the name or glob matches, of every source.",
            (WrittenDisarm,),
            (_NAME, "If-Match"),
            (404, 412, *_BODY, 503),
        ),
    },
    "/v1/points/{name}/release": {
        "post": Operation(
            "release",
            "release",
            "Release the paused calls at the matching points.",
            (WrittenRelease,),
            (_NAME,),
            (404, *_BODY, 503),
        )
    },
    "/v1/points/{name}/renew": {
        "post": Operation(
            "renew",
            "renew",
            "Move the deadlines of rules that came over HTTP or a store; their counts stay.",
            (WrittenRenewal,),
            (_NAME, "If-Match"),
            (404, 412, *_BODY, 503),
            RENEWAL,
        )
    },
    "/v1/enable": {
        "post": Operation(
            "enable", "enable", "Turn the master switch on.", (Switched,), refusals=(*_BODY, 503)
        )
    },
    DISABLE: {
        "post": Operation(
            "disable",
            "disable",
            "Turn the master switch off, and disarm everything.",
            (Switched,),
            ("reason",),
            (503,),
            ANYTHING,
            lenient=True,
        )
    },
    "/v1/injections": {
        "get": Operation(
            "injections",
            "injections",
            "The latest injections in this process.",
            (Injections,),
            ("point", "limit"),
            reads=True,
        )
    },
    "/v1/openapi.json": {"get": Operation("openapi", "openapi", "This document.", reads=True)},
    "/metrics": {"get": Operation("metrics", "metrics", "The Prometheus metrics.", reads=True)},
}
