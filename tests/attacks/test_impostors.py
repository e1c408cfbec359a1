"""Without a token nothing that came through a proxy is local, and an empty token lets nobody in."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from chaospoint._registry.registry import Registry
from chaospoint.control.server.admin import AdminServer
from chaospoint.control.service import Service
from chaospoint.sources.settings import Settings

ADDED_BY_PROXIES = [
    "CF-Connecting-IP",
    "CF-Ray",
    "Client-IP",
    "DO-Connecting-IP",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "Forwarded",
    "L5d-Dst-Canonical",
    "Max-Forwards",
    "Proxy-Connection",
    "True-Client-IP",
    "Via",
    "X-Amzn-Trace-Id",
    "X-Client-IP",
    "X-Cloud-Trace-Context",
    "X-Cluster-Client-IP",
    "X-Envoy-External-Address",
    "X-Nginx-Proxy",
    "X-Forwarded-For",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Original-URL",
    "X-Real-IP",
]


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.point("a.b")
    return registry


def served(registry: Registry, settings: Settings) -> Iterator[AdminServer]:
    server = AdminServer(
        Service.of(settings, registry), "127.0.0.1", 0, token=False, timeout_seconds=10
    )
    assert server.open()
    yield server
    server.close()


@pytest.fixture
def server(registry: Registry) -> Iterator[AdminServer]:
    yield from served(registry, Settings(enabled=True))


def ask(server: AdminServer, first: str, *headers: str) -> tuple[int, str]:
    """Send a request as it stands; return the status and the kind of the problem."""
    where = urlsplit(server.url or "")
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall("\r\n".join([first, *headers, "", ""]).encode())
        with connection.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    kind = json.loads(body).get("type", "").rpartition(":")[2]
    return int(head.split()[1]), kind


@pytest.mark.parametrize("header", ADDED_BY_PROXIES)
def test_a_header_of_a_proxy_is_not_local(header: str, server: AdminServer) -> None:
    request = "DELETE /v1/points HTTP/1.1", "Host: localhost"
    assert ask(server, *request, f"{header}: 127.0.0.1") == (403, "forwarded")


def test_http_1_0_is_not_local(server: AdminServer) -> None:
    assert ask(server, "DELETE /v1/points HTTP/1.0", "Host: localhost") == (403, "forwarded")


def test_what_programs_send_is_local(server: AdminServer) -> None:
    headers = (
        "Host: localhost",
        "User-Agent: curl/8",
        "Accept: */*",
        "Accept-Encoding: gzip",
        "Connection: close",
        "Cache-Control: no-cache",
        "X-Request-Id: 1",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "X-Chaospoint-Operator: ann",
    )
    assert ask(server, "GET /v1/status HTTP/1.1", *headers)[0] == 200


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        ("http://127.0.0.1/v1/status", "127.0.0.1", (200, "")),
        ("HTTP://LocalHost/v1/status?", "localhost", (200, "")),
        ("http://evil.example/v1/status", "127.0.0.1", (403, "unknown-host")),
        ("http://127.0.0.1/v1/status", "evil.example", (403, "unknown-host")),
        ("http://127.0.0.1", "127.0.0.1", (404, "unknown-route")),
        ("http://127.0.0.1?a=/v1/status", "127.0.0.1", (404, "unknown-route")),
        ("ftp://127.0.0.1/v1/status", "127.0.0.1", (404, "unknown-route")),
    ],
)
def test_a_target_in_absolute_form_is_served(
    target: str, host: str, expected: tuple[int, str], server: AdminServer
) -> None:
    assert ask(server, f"GET {target} HTTP/1.1", f"Host: {host}") == expected


def test_disable_in_absolute_form_stops_all(server: AdminServer, registry: Registry) -> None:
    assert ask(server, "POST http://localhost/v1/disable HTTP/1.1", "Host: localhost")[0] == 200
    assert not registry.enabled


@pytest.mark.parametrize("value", ["", "  "])
@pytest.mark.parametrize("name", ["ADMIN_TOKEN", "ADMIN_READ_TOKEN"])
def test_an_empty_token_lets_nobody_in(
    name: str, value: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"CHAOSPOINT_{name}", value)
    for server in served(registry, Settings(enabled=True)):
        for first in ("GET /v1/status HTTP/1.1", "DELETE /v1/points HTTP/1.1"):
            assert ask(server, first, "Host: localhost") == (403, "bad-token")
            empty = "Authorization: Bearer "
            assert ask(server, first, "Host: localhost", empty) == (403, "bad-token")


def test_an_empty_token_beside_another_changes_nothing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSPOINT_ADMIN_READ_TOKEN", "")
    monkeypatch.setenv("CHAOSPOINT_ADMIN_TOKEN", "secret")
    for server in served(registry, Settings(enabled=True)):
        first = "GET /v1/status HTTP/1.1"
        assert ask(server, first, "Host: x", "Authorization: Bearer secret")[0] == 200
        assert ask(server, first, "Host: x") == (401, "token-needed")
