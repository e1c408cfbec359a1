"""Build the OpenAPI 3.1 document of the admin endpoint from its models and its operations.

The document is built at the first request, without imports, and then kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

import pydantic.root_model  # noqa: F401 - before 2.13 pydantic imports it with the first schema
from pydantic import BaseModel

from chaospoint._version import __version__
from chaospoint.control.openapi.operations import (
    HEADERS,
    LINK,
    OPERATIONS,
    PARAMETERS,
    REFUSALS,
    TAG,
    Object,
    Operation,
)
from chaospoint.control.openapi.request_schemas import PLAN, RULE, body_schemas, ref, schemas_of
from chaospoint.control.openapi.response_schemas import ANSWERS, ProblemDocument

__all__ = ["document"]

# The schemas that no model describes.
_PLAIN: Final[dict[str, Object]] = {
    "plan": {
        "type": "object",
        "properties": {"rules": {"type": "array", "items": ref("Rule")}},
        "required": ["rules"],
        "additionalProperties": False,
    },
    "openapi": {"type": "object", "required": ["openapi", "info", "paths"]},
    "metrics": {"type": "string"},
}


@cache
def document(*, control: bool, read: bool) -> Object:
    """Return the document; all callers share it, so do not change it.

    ``control`` and ``read`` say which tokens are set.  Safe from any thread.
    """
    tokens = [name for name, there in (("control", control), ("read", read)) if there]
    result: Object = {
        "openapi": "3.1.0",
        "info": {
            "title": "chaospoint",
            "version": __version__,
            "description": "The faults in the running processes of a service. The response to "
            "a write arrives after all processes have applied it, or names those that have not.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "..", "description": "where the endpoint is mounted"}],
        "paths": {
            path: {
                method: _operation(operation, tokens) for method, operation in operations.items()
            }
            for path, operations in OPERATIONS.items()
        },
        "components": {
            "schemas": {**schemas_of(ANSWERS, "validation"), **body_schemas()},
            "responses": {f"Refused{status}": _refusal(status) for status in REFUSALS},
        },
    }
    if tokens:
        result["components"]["securitySchemes"] = {
            name: {"type": "http", "scheme": "bearer", "description": f"the {name} token"}
            for name in tokens
        }
    return result


def _operation(operation: Operation, tokens: list[str]) -> Object:
    result: Object = {"operationId": operation.id, "summary": operation.summary}
    if tokens:
        # The read token allows only reads; if no other is set, every write is refused.
        result["security"] = [{name: []} for name in (tokens if operation.reads else tokens[:1])]
    if operation.parameters:
        result["parameters"] = [_parameter(name, operation) for name in operation.parameters]
    if operation.body:
        content = {"application/json": {"schema": ref(operation.body)}}
        result["requestBody"] = {"required": operation.body in (PLAN, RULE), "content": content}
    refusals = {400, 403, *operation.refusals, *((401,) if tokens else ())}
    result["responses"] = {
        "200": _answer(operation),
        **({"304": _unchanged()} if "If-None-Match" in operation.parameters else {}),
        **{str(s): {"$ref": f"#/components/responses/Refused{s}"} for s in sorted(refusals)},
    }
    return result


def _parameter(name: str, operation: Operation) -> Object:
    result: Object = {"name": name, **PARAMETERS[name]}
    if name == "after":
        result["schema"] = {"type": "string", "pattern": f"^({operation.marks})?$"}
    return result


def _answer(operation: Operation) -> Object:
    media = "text/plain" if operation.id == "metrics" else "application/json"
    result: Object = {
        "description": operation.summary,
        "content": {media: {"schema": _PLAIN.get(operation.id) or _one_of(operation.answers)}},
    }
    if operation.tag is not None:
        result["headers"] = {"ETag": {"required": operation.tag, "schema": TAG}}
    if "after" in operation.parameters:
        result["headers"] = {"Link": LINK}
    return result


def _one_of(models: Iterable[type[BaseModel]]) -> Object:
    schemas = [ref(model.__name__) for model in models]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _unchanged() -> Object:
    return {
        "description": "The plan is what If-None-Match says.",
        "headers": {"ETag": {"required": True, "schema": TAG}},
    }


def _refusal(status: int) -> Object:
    result: Object = {
        "description": REFUSALS[status],
        "content": {"application/problem+json": {"schema": ref(ProblemDocument.__name__)}},
    }
    if status in HEADERS:
        result["headers"] = HEADERS[status]
    return result
