"""The ASGI app: under a real uvicorn, mounted in FastAPI and Starlette, and by hand."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from chaospoint._kernel.context import in_chaospoint
from chaospoint._registry.registry import Registry
from chaospoint.config import stop
from chaospoint.control import asgi
from chaospoint.control.http import MAX_BODY
from chaospoint.control.service import Service
from chaospoint.sources.settings import Settings


class Server(uvicorn.Server):
    """Runs on a thread, on a socket that is bound already, and says when it serves."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(uvicorn.Config(app, loop="asyncio", log_level="warning", **options))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.serving = threading.Event()
        self.thread = threading.Thread(target=self.run, args=([self.listener],))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()

    def __enter__(self) -> Server:
        self.thread.start()
        assert self.serving.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self.should_exit = True
        self.thread.join(10)
        self.listener.close()


@pytest.fixture(params=["alone", "fastapi", "starlette", "--root-path"])
def url(request: pytest.FixtureRequest, service: Service) -> Iterator[str]:
    admin = asgi.app(service)
    options: dict[str, Any] = {"lifespan": "on"}
    app: Any = admin
    prefix = ""
    if request.param == "fastapi":
        app, prefix = FastAPI(), "/ops/chaos"
        app.mount("/ops/chaos", admin)
    elif request.param == "starlette":
        app, prefix = Starlette(routes=[Mount("/chaos", app=admin)]), "/chaos"
    elif request.param == "--root-path":  # what a proxy has cut off
        options["root_path"] = "/behind"
    with Server(app, **options) as server:
        yield server.url + prefix


def test_a_fault_is_toggled_through_the_app(url: str, charge: Callable[[], str]) -> None:
    with httpx.Client(timeout=10) as client:
        point = f"{url}/v1/points/payment.charge"
        assert client.put(point, json={"exception": "TimeoutError"}).status_code == 200
        with pytest.raises(TimeoutError):
            charge()
        assert client.get(point).json()["rules"][0]["injections"] == 1
        assert client.put(f"{url}/v1/points/db.%2A", json={"latency": 1}).json()["name"] == "db.*"
        assert client.delete(f"{url}/v1/points").json()["disarmed"] == 2
        assert client.head(f"{url}/v1/status").content == b""
        assert "chaospoint_injections_total" in client.get(f"{url}/metrics").text
        unknown = client.get(f"{url}/v1/points/payment.charg")
        assert unknown.headers["content-type"] == "application/problem+json"
        assert unknown.json()["nearest"] == ["payment.charge"]
        assert client.get(f"{url}/v1/nothing").status_code == 404


def test_a_chunked_body_is_read_within_bounds(url: str) -> None:
    headers = {"content-type": "application/json"}
    with httpx.Client(timeout=10) as client:
        point = f"{url}/v1/points/db.query"
        chunks = iter((b'{"latency"', b": 1}"))
        assert client.put(point, content=chunks, headers=headers).status_code == 200
        many = iter([b" " * MAX_BODY] * 3)
        assert client.put(point, content=many, headers=headers).status_code == 413
        assert client.post(f"{url}/v1/enable", content=iter(())).status_code == 200


def test_forwarded_headers_are_not_believed(url: str) -> None:
    response = httpx.get(f"{url}/v1/status", headers={"x-forwarded-for": "127.0.0.1"})
    assert response.status_code == 403
    assert response.json()["through"] == ["x-forwarded-for"]


# By hand


def call(app: asgi.App, scope: MutableMapping[str, Any], *received: Any) -> list[Any]:
    """Run the app once on these messages; return what it sent."""
    sent: list[Any] = []
    messages = iter(received)

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def http(**changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/v1/status",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1234),
        **changes,
    }


END = {"type": "http.request"}


def test_a_client_that_is_gone_is_not_answered(service: Service) -> None:
    assert call(asgi.app(service), http(), {"type": "http.disconnect"}) == []


@pytest.mark.parametrize("client", [None, ("", 0), ("/run/app.sock", None)])
def test_a_client_without_an_address_is_not_of_this_machine(client: Any, service: Service) -> None:
    start, body = call(asgi.app(service), http(client=client), END)
    assert start["status"] == 403
    assert json.loads(body["body"])["type"] == "urn:chaospoint:problem:not-this-machine"


@pytest.mark.parametrize(
    ("path", "root", "status"),
    [
        ("/v1/status", "", 200),
        ("/chaos/v1/status", "/chaos", 200),
        ("/chaos/v1/status", "/chaos/", 200),
        ("/v1/status", "/chaos", 200),
        ("/chaosv1/status", "/chaos", 404),
        ("/v1/status", "/v", 200),
        ("/chaos", "/chaos", 404),
        ("/v1/points/\u20ac", "", 404),
    ],
)
def test_the_path_begins_where_the_app_is_mounted(
    path: str, root: str, status: int, service: Service
) -> None:
    start, _ = call(asgi.app(service), http(path=path, root_path=root), END)
    assert start["status"] == status


def test_the_lifespan_is_answered_politely(service: Service) -> None:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = call(asgi.app(service), {"type": "lifespan"}, *messages)
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


def test_a_websocket_is_closed(service: Service) -> None:
    sent = call(asgi.app(service), {"type": "websocket"}, {"type": "websocket.connect"})
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_law_9_every_point_is_transparent_in_the_app(service: Service) -> None:
    seen: list[bool] = []

    async def receive() -> Any:
        seen.append(in_chaospoint.get())
        return END

    async def send(message: Any) -> None:
        seen.append(in_chaospoint.get())

    async def main() -> None:
        await asgi.app(service)(http(), receive, send)
        seen.append(in_chaospoint.get())

    asyncio.run(main())
    assert seen == [True, True, True, False]


def test_the_app_of_the_environment_only_reads_until_chaos_is_enabled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, body = call(asgi.app(), http(), END)
    assert start["status"] == 200
    assert json.loads(body["body"])["allowed"] is False
    start, _ = call(asgi.app(), http(method="POST", path="/v1/enable"), END)
    assert start["status"] == 403
    monkeypatch.setenv("CHAOSPOINT_ENABLED", "true")
    try:
        start, _ = call(asgi.app(), http(method="POST", path="/v1/enable"), END)
    finally:
        stop()  # where chaos is allowed the app starts it
    assert start["status"] == 200


def test_with_a_token_the_proxy_may_be_anywhere() -> None:
    settings = Settings(enabled=True, admin_token="s\u00e9cret")  # type: ignore[arg-type]
    headers = [
        (b"host", b"shop.example"),
        (b"x-forwarded-for", b"192.0.2.1"),
        (b"authorization", "Bearer s\u00e9cret".encode()),
    ]
    app = asgi.app(Service.of(settings, Registry()))
    start, _ = call(app, http(headers=headers, client=("10.0.0.1", 1)), END)
    assert start["status"] == 200
