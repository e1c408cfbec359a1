"""Check that responses of the API match its OpenAPI document."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema_rs

from chaospoint.control.http import Request, Response
from chaospoint.control.openapi.describe import document

__all__ = ["check", "find_operation", "validator", "validator_of"]


@cache
def validator(pointer: str) -> Any:
    """Return a validator for the schema at a JSON pointer in the document."""
    return validator_of({"$ref": f"#{pointer}"})


def validator_of(schema: dict[str, Any]) -> Any:
    """Return a validator for a schema that may refer to other parts of the document."""
    parts = document(control=False, read=False)
    whole = {**schema, "components": parts["components"], "paths": parts["paths"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def find_operation(method: str, path: str) -> tuple[str, str] | None:
    """Return the documented path and method of a request, or None."""
    paths = document(control=False, read=False)["paths"]
    if method == "POST" and path == "/v1/disable/":
        path = path.rstrip("/")  # this route accepts a trailing slash
    before, _, rest = path.partition("/v1/points/")
    if not before and rest:
        name, _, action = rest.partition("/")
        path = "/v1/points/{name}" + (f"/{action}" if action else "") if name else path
    method = "get" if method == "HEAD" else method.lower()
    return (path, method) if method in paths.get(path, ()) else None


def check(request: Request, response: Response) -> None:
    """Fail unless the document allows this response to this request."""
    status = str(response.status)
    media = response.headers["content-type"].partition(";")[0]
    if response.status >= 400:
        assert media == "application/problem+json"
    operation = find_operation(request.method, request.path)
    if operation is None or response.status in (401, 500):
        assert status in ("400", "401", "403", "404", "405", "500")
        if request.method != "HEAD":
            _validate("/components/schemas/ProblemDocument", response)
        return
    path, method = operation
    answers = document(control=False, read=False)["paths"][path][method]["responses"]
    assert status in answers, (
        f"{method} {path} answered {status}, and the document has {sorted(answers)}"
    )
    answer, place = answers[status], f"/paths/{_escaped(path)}/{method}/responses/{status}"
    if "$ref" in answer:
        place = answer["$ref"][1:]
        answer = document(control=False, read=False)["components"]["responses"][f"Refused{status}"]
    for name, header in answer.get("headers", {}).items():
        assert name.lower() in response.headers or not header.get("required"), name
    if "content" in answer:
        assert media in answer["content"]
        if media != "text/plain" and request.method != "HEAD":
            _validate(f"{place}/content/{_escaped(media)}/schema", response)


def _validate(pointer: str, response: Response) -> None:
    validator(pointer).validate(json.loads(response.body))


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
