"""What is refused of a `where` is shown neither in the audit log nor in any other."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chaospoint import Registry
from chaospoint.cli.app import app
from chaospoint.control.http import Request
from chaospoint.control.service import Service
from chaospoint.errors import InvalidPlan, StoreError
from chaospoint.plan import parse_plan
from chaospoint.sources.reading import Sources
from chaospoint.sources.settings import Settings
from chaospoint.stores.desired import Desired

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


TEXTS = [
    f"a.b=off [user={SECRET}",
    f"a.b=off [user={SECRET}] oops",
    f"a.b=off [user={SECRET},]",
    f"a.b=latency(x) [user={SECRET}]",
    f"a.b=latency(20 [user={SECRET}]",
    f'a.b=off [user="{SECRET}]',
    f"a.b=off [user={SECRET}, user={SECRET}]",
    f"a.b=latency(2) [user={SECRET}, every=0]",
]
FILES = {
    "keys.json": json.dumps([{"point": "a.b", "rule": TEXTS[0].partition("=")[2]}]),
    "list.json": json.dumps([TEXTS[1]]),
    "text.json": json.dumps({"rules": TEXTS[1]}),
    "apart.yaml": f"- a.b=off [user: {SECRET}]\n",
    "alias.yaml": f"- a.b=off [user=*{SECRET}]: 1\n- *{SECRET}\n",
    "flow.yaml": f"- {{point: a.b, rule: off [user={SECRET}, every=2]}}\n",
    "keys.toml": f"[[rules]]\npoint = 'a.b'\nrule = 'off [user={SECRET}'\n",
}


def check_refused(sources: Sources, registry: Registry, log: str, *words: str) -> None:
    (report,) = sources.reports()
    assert report["ok"] is False
    service = Service.of(Settings(enabled=True), registry)
    headers = {"host": "127.0.0.1"}
    status = service.answer(Request("GET", "/v1/status", headers=headers, client="127.0.0.1"))
    assert json.loads(status.body)["sources"] == [report]
    for told in (log, str(report["reason"])):
        assert SECRET not in told
        assert [word for word in words if word not in told] == []


@pytest.mark.parametrize("text", TEXTS)
def test_the_environment_that_is_refused_is_not_quoted(
    registry: Registry, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    caplog.set_level(logging.DEBUG)
    sources = Sources(Settings(enabled=True, points=text), registry)
    assert sources.read_env() == "env: refused"
    check_refused(sources, registry, caplog.text, "column ")
    sources.clear()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_refused_is_quoted_to_its_owner_only(
    registry: Registry, caplog: pytest.LogCaptureFixture, tmp_path: Path, name: str
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / name
    path.write_text(FILES[name])
    sources = Sources(Settings(enabled=True, config=path), registry)
    sources.read_env()
    assert sources.read_file() == f"file {path}: refused"
    check_refused(sources, registry, caplog.text, str(path))
    sources.clear()


@pytest.mark.parametrize("text", TEXTS)
def test_the_one_who_validates_sees_where(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps([text]))
    done = CliRunner().invoke(app, ["validate", str(path)])
    assert done.exit_code == 1
    assert f"    {text}\n" in done.output
    assert done.output.splitlines()[-1].strip() == "^"


ENTRY = {"id": "a" * 16, "armed_at": 1.0, "expires_after": 1.0, "by": "x", "seed": 1}


@pytest.mark.parametrize(
    "entries",
    [TEXTS[0], [TEXTS[0]], [[TEXTS[0]]], {"rule": TEXTS[0]}]
    + [[{**ENTRY, "rule": rule}] for rule in (TEXTS[0], {"point": "a.b", "rule": TEXTS[0]})],
)
def test_no_document_of_a_store_is_quoted(entries: object) -> None:
    data = {"version": 1, "generation": 1, "entries": entries}
    with pytest.raises(StoreError, match="entries") as caught:
        Desired.parse(json.dumps(data))
    assert SECRET not in str(caught.value)
