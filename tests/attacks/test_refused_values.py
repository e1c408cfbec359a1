"""What is refused of a `where` is shown neither in the audit log nor in any other."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from chaospoint import Registry
from chaospoint.control.messages import Request
from chaospoint.control.service import Service
from chaospoint.errors import InvalidPlan
from chaospoint.plan import parse_plan
from chaospoint.settings import Settings

SECRET = "hunter2"
BODIES: list[Any] = [
    {"latency": 1, "where": {"": SECRET}},
    {"latency": 1, "where": SECRET},
    {"latency": 1, "where": [SECRET]},
    {"latency": 1, "where": {"user": SECRET + "*a" * 200}},
    {"latency": 1, "where": {"user": SECRET}, "whree": {"user": SECRET}},
    {"rule": f"off [user={SECRET}", "when": "before"},
    {"rule": f"off [user={SECRET}] oops"},
    {"latency": 1, "where": {"password": SECRET}},
]


@pytest.mark.parametrize("body", BODIES, ids=map(str, range(len(BODIES))))
def test_no_log_has_the_value(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture, body: object
) -> None:
    caplog.set_level(logging.DEBUG)
    registry.point("a.b")
    audit = tmp_path / "audit"
    service = Service.of(Settings(enabled=True, audit_log=audit), registry)
    headers = {"host": "127.0.0.1", "content-type": "application/json"}
    sent = json.dumps(body).encode()
    answer = service.answer(
        Request("PUT", "/v1/points/a.b", headers=headers, body=sent, client="127.0.0.1")
    )
    assert answer.status == 422
    (entry,) = map(json.loads, audit.read_text().splitlines())
    assert entry["detail"]
    assert SECRET not in audit.read_text()
    assert SECRET not in caplog.text


@pytest.mark.parametrize("where", [SECRET, {"": SECRET}, [SECRET], {"user": SECRET + "*a" * 200}])
def test_no_message_has_the_value_of_a_where(where: object) -> None:
    with pytest.raises(InvalidPlan, match="where") as caught:
        parse_plan([{"point": "a", "latency": 1, "where": where}])
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.value)
