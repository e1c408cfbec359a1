"""`disable` is carried out whatever the request holds; a reason in it is kept and shown."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, MutableMapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from nodes import Node, Nodes

from chaospoint._registry.registry import Registry
from chaospoint.arming import arm
from chaospoint.control import asgi, wsgi
from chaospoint.control.http import MAX_BODY, Request
from chaospoint.control.reason import MAX_REASON, reason_of
from chaospoint.control.service import Service
from chaospoint.sources.settings import Settings

JSON, FORM, TEXT = "application/json", "application/x-www-form-urlencoded", "text/plain"
WHY = "checkout is down"
ALERTMANAGER = {
    "version": "4",
    "status": "firing",
    "receiver": "chaos",
    "groupLabels": {"alertname": "ErrorRate"},
    "commonLabels": {"alertname": "ErrorRate", "severity": "page"},
    "commonAnnotations": {"summary": WHY},
    "alerts": [{"status": "firing", "labels": {"alertname": "Other"}, "annotations": {}}],
}
WITH_REASON: dict[str, tuple[str, str, str, str]] = {
    "JSON": (json.dumps({"reason": WHY}), JSON, "", WHY),
    "JSON of another type": (json.dumps({"reason": WHY}), "", "", WHY),
    "JSON text": (json.dumps(WHY), JSON, "", WHY),
    "Alertmanager": (json.dumps(ALERTMANAGER), JSON, "", f"ErrorRate: {WHY}"),
    "Alertmanager, nothing in common": (
        json.dumps({"alerts": [{"labels": {"alertname": "A"}, "annotations": {"summary": "b"}}]}),
        JSON,
        "",
        "A: b",
    ),
    "Grafana": (json.dumps({"title": WHY, "state": "alerting"}), JSON, "", WHY),
    "form": (f"who=me&reason={WHY.replace(' ', '+')}", FORM, "", WHY),
    "form, another case": ("Reason=a+b", FORM, "", "a b"),
    "form without a key": (WHY, FORM, "", WHY),  # as `curl -d TEXT` sends it
    "form without a key, encoded": (WHY.replace(" ", "%20"), FORM, "", WHY),
    "form without a key, and a sign": (
        "checkout is down: p99=3s",
        FORM,
        "",
        "checkout is down: p99=3s",
    ),
    "form that is a number": ("503", FORM, "", "503"),
    "form that is JSON": (json.dumps({"reason": WHY}), FORM, "", WHY),
    "form of parts": (
        f'--X\r\nContent-Disposition: form-data; name="who"\r\n\r\nme\r\n'
        f'--X\r\nContent-Disposition: form-data; name="Reason"\r\n\r\n{WHY}\r\n--X--\r\n',
        "multipart/form-data; boundary=X",
        "",
        WHY,
    ),
    "form of parts, a file": (
        '--a b\r\nContent-Disposition: form-data; filename="name=x"; name="reason"\r\n'
        "Content-Type: text/plain\r\n\r\na\r\nb\r\n--a b--\r\n",
        'Multipart/Form-Data; Boundary="a b"',
        "",
        "a b",
    ),
    "text": (f"{WHY}\r\n", TEXT, "", WHY),
    "text of another kind": (WHY, "text/markdown", "", WHY),
    "text as JSON": (WHY, JSON, "", WHY),
    "text of no type": (WHY, "", "", WHY),
    "number": (json.dumps({"reason": 5}), JSON, "", "5"),
    "number alone": ("5", JSON, "", "5"),
    "key in another case": (json.dumps({"Reason": WHY}), JSON, "", WHY),
    "keys in two cases": (json.dumps({"Reason": "b", "REASON": "c"}), JSON, "", "b"),
    "query": ("", "", f"reason={WHY.replace(' ', '%20')}&by=me", WHY),
    "query before body": (json.dumps({"reason": "other"}), JSON, "reason=a", "a"),
    "control characters": (json.dumps({"reason": "a\n\x1b[31mb\u202e"}), JSON, "", "a [31mb"),
    "long": ("x" * 5_000, TEXT, "", f"{'x' * (MAX_REASON - 1)}…"),
}
WITHOUT: dict[str, tuple[str, str, str]] = {
    "nothing": ("", "", ""),
    "other keys": (json.dumps({"who": "me"}), JSON, ""),
    "empty object": ("{}", JSON, ""),
    "no text": (json.dumps({"reason": {"a": 1}}), JSON, ""),
    "list": ("[1, 2]", JSON, ""),
    "odd alerts": (json.dumps({"alerts": [7], "commonLabels": [], "annotations": 1}), JSON, ""),
    "form of other keys": ("who=me&what=it", FORM, ""),
    "parts without a boundary": ("--X", "multipart/form-data", ""),
    "half a part": (
        "--X\r\nContent-Disposition: form-data; name=",
        "multipart/form-data; boundary=X",
        "",
    ),
    "truth": (json.dumps({"reason": True}), JSON, ""),
    "null": ("null", JSON, ""),
    "half JSON": ('{"reason": ', JSON, ""),
    "deep JSON": ("[" * 20_000, JSON, ""),
    "garbage": ("\udcff\udc80%%", "application/octet-stream", "%%%=&&&;=%zz"),
    "many fields": ("&".join(f"a{n}=1" for n in range(500)), FORM, ""),
}


def request(body: str, media: str, query: str = "") -> Request:
    raw = body.encode("utf-8", "surrogateescape")
    headers = {"host": "127.0.0.1:8475", "content-length": str(len(raw)), "content-type": media}
    return Request("POST", "/v1/disable", headers, raw, "127.0.0.1", query)


@pytest.mark.parametrize("kind", WITH_REASON)
def test_a_reason_is_found_wherever_it_stands(kind: str) -> None:
    body, media, query, reason = WITH_REASON[kind]
    assert reason_of(request(body, media, query)) == reason


@pytest.mark.parametrize("kind", WITHOUT)
def test_whatever_has_no_reason_disables_all_the_same(
    kind: str, service: Service, registry: Registry, charge: Callable[[], str]
) -> None:
    arm("payment.charge", exception=TimeoutError, registry=registry)
    response = service.answer(request(*WITHOUT[kind]))
    assert response.status == 200
    document = json.loads(response.body)
    assert (document["enabled"], document["reason"]) == (False, "")
    assert charge() == "charged"


def test_a_body_that_is_too_long_or_has_no_length_disables_all_the_same(
    service: Service, registry: Registry
) -> None:
    head = {"host": "127.0.0.1:8475"}
    for headers, body in (
        ({"content-length": str(10**12)}, b""),
        ({"content-length": "-1"}, b"{}"),
        ({"content-length": "7"}, b"{"),
        ({"transfer-encoding": "chunked"}, b""),
        ({"content-type": TEXT}, b"x" * (MAX_BODY + 1)),
    ):
        registry.enable()
        sent = Request("POST", "/v1/disable", {**head, **headers}, body, "127.0.0.1")
        assert service.answer(sent).status == 200
        assert not registry.enabled


def test_who_may_not_disable_does_not_by_any_body(registry: Registry) -> None:
    service = Service.of(Settings(enabled=True, admin_token="s3cret"), registry)
    assert service.answer(request('{"reason": "x"}', JSON)).status == 401
    assert not service.stop_first(request("", ""))
    assert registry.enabled


def test_a_reason_is_shown_in_every_worker_until_it_is_enabled_again(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chaospoint")
    first: Node = nodes()
    second: Node = nodes()
    first.done("POST", "/v1/disable", {"reason": WHY})
    for node in (first, second):
        node.follow()
        assert node.done("GET", "/v1/status")["reason"] == WHY
        assert WHY in node.done("GET", "/v1/status")["why"]
        assert not node.registry.enabled
    lines = [one.getMessage() for one in caplog.records if WHY in one.getMessage()]
    assert len(lines) == 2, "each process says it once"
    first.done("POST", "/v1/enable")
    for node in (first, second):
        node.follow()
        assert node.done("GET", "/v1/status")["reason"] == ""


def test_a_reason_is_in_the_audit_log(
    registry: Registry, tmp_path: Path, charge: Callable[[], str]
) -> None:
    log = tmp_path / "audit.jsonl"
    service = Service.of(Settings(enabled=True, audit_log=log), registry)
    service.answer(request(json.dumps({"reason": WHY}), JSON))
    (line,) = map(json.loads, log.read_text().splitlines())
    assert (line["what"], line["reason"]) == ("POST /v1/disable", WHY)


# The body that does not come


def test_an_asgi_app_stops_before_the_body_is_there(
    service: Service, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "STOP_SECONDS", 0.01)
    sent: list[MutableMapping[str, Any]] = []

    async def main() -> None:
        async def receive() -> MutableMapping[str, Any]:
            assert not registry.enabled, "it stops first"
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/disable",
            "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"100")],
            "client": ("127.0.0.1", 1),
        }
        await asyncio.wait_for(asgi.app(service)(scope, receive, send), 10)

    asyncio.run(main())
    assert sent[0]["status"] == 200


def test_a_wsgi_app_stops_before_the_body_is_read(service: Service, registry: Registry) -> None:
    class Lost(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert not registry.enabled, "it stops first"
            raise OSError("the client has gone")

    said: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/v1/disable",
        "HTTP_HOST": "127.0.0.1",
        "CONTENT_LENGTH": "100",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": Lost(),
    }
    list(wsgi.app(service)(environ, lambda status, *_: said.append(status)))  # type: ignore[arg-type, return-value]
    assert said == ["200 OK"]
