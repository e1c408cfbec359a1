"""The WSGI app: under a real wsgiref server, mounted in Flask, and by hand."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import httpx
import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import chaospoint
from chaospoint import Registry
from chaospoint._kernel.context import in_chaospoint
from chaospoint.control import wsgi
from chaospoint.control.http import MAX_BODY
from chaospoint.control.service import Service
from chaospoint.errors import NotPermitted
from chaospoint.stores.reconciler import forget, reconciler_of

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(params=["alone", "flask"])
def url(request: pytest.FixtureRequest, service: Service) -> Iterator[str]:
    app: Any = validator(wsgi.app(service))
    prefix = ""
    if request.param == "flask":
        flask = Flask(__name__)
        flask.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
            flask.wsgi_app, {"/ops/chaos": wsgi.app(service)}
        )
        app, prefix = flask, "/ops/chaos"
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
        server.shutdown()
        thread.join(10)


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
        assert client.post(f"{url}/v1/disable").json()["enabled"] is False
        unknown = client.get(f"{url}/v1/points/payment.charg")
        assert unknown.headers["content-type"] == "application/problem+json"
        assert unknown.json()["nearest"] == ["payment.charge"]
        assert client.get(f"{url}/v1/nothing").status_code == 404


def test_bad_bodies_are_refused(url: str) -> None:
    point = f"{url}/v1/points/db.query"
    headers = {"content-type": "application/json"}
    with httpx.Client(timeout=10) as client:
        assert client.put(point, content=b"{", headers=headers).status_code == 400
        assert client.put(point, data={"latency": "1"}).status_code == 415
        forwarded = client.get(f"{url}/v1/status", headers={"x-real-ip": "127.0.0.1"})
        assert forwarded.json()["through"] == ["x-real-ip"]


# By hand


def run(app: WSGIApplication, environ: dict[str, Any]) -> tuple[int, Any]:
    """Run the app once; return the status and the JSON of the answer."""
    statuses: list[str] = []

    def start_response(status: str, headers: object, exc_info: object = None) -> Any:
        statuses.append(status)

    body = b"".join(app(environ, start_response))
    return int(statuses[0].split()[0]), json.loads(body)


def call(service: Service, **environ: Any) -> tuple[int, Any]:
    whole: dict[str, Any] = {"REMOTE_ADDR": "127.0.0.1", "PATH_INFO": "/v1/points/db.query"}
    setup_testing_defaults(whole)
    whole["SERVER_PROTOCOL"] = "HTTP/1.1"
    return run(wsgi.app(service), whole | environ)


def put(body: bytes, **environ: Any) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "PUT",
        "CONTENT_TYPE": "application/json",
        "wsgi.input": io.BytesIO(body),
        **environ,
    }


def test_a_body_without_a_length_is_read_where_the_server_marks_its_end(service: Service) -> None:
    body = b'{"latency": 1}'
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked"}
    assert call(service, **put(body, **chunked))[0] == 411
    assert call(service, **put(body, **chunked, **{"wsgi.input_terminated": True}))[0] == 200
    long = b" " * (MAX_BODY * 2)
    assert call(service, **put(long, **{"wsgi.input_terminated": True}))[0] == 413
    assert call(service, **put(body))[0] == 400, "no length, no body, no rule"
    assert call(service, **put(body, CONTENT_LENGTH=""))[0] == 400


def test_no_more_is_read_than_was_announced(service: Service) -> None:
    environ = put(b'{"latency": 1}GET / HTTP/1.1', CONTENT_LENGTH="14")
    assert call(service, **environ)[0] == 200
    assert environ["wsgi.input"].read() == b"GET / HTTP/1.1"


@pytest.mark.parametrize("client", ["", "192.0.2.1", "unix:"])
def test_a_client_of_another_place_is_kept_out(client: str, service: Service) -> None:
    status, document = call(service, REMOTE_ADDR=client)
    assert status == 403
    assert document["type"] == "urn:chaospoint:problem:not-this-machine"
    assert document["client"] == client


def test_a_path_that_is_no_utf_8_is_no_point(service: Service) -> None:
    assert call(service, PATH_INFO="/v1/points/\xff")[0] == 404


def test_law_9_every_point_is_transparent_in_the_app(service: Service) -> None:
    seen: list[bool] = []

    class Body(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            seen.append(in_chaospoint.get())
            return super().read(size)

    call(service, **put(b"", CONTENT_LENGTH="2") | {"wsgi.input": Body(b"{}")})
    assert seen == [True]
    assert in_chaospoint.get() is False


def test_the_app_of_the_environment_arms_nothing_until_chaos_is_enabled() -> None:
    """It can be looked at, and everything that code armed can be stopped."""
    environ: dict[str, Any] = {"REMOTE_ADDR": "127.0.0.1"}
    setup_testing_defaults(environ)
    environ["SERVER_PROTOCOL"] = "HTTP/1.1"
    app, answers = wsgi.app(), [("GET", "status", 200), ("POST", "disable", 200)]
    try:
        for method, name, status in (*answers, ("POST", "enable", 403)):
            request = environ | {"REQUEST_METHOD": method, "PATH_INFO": f"/v1/{name}"}
            assert run(app, request)[0] == status
        with pytest.raises(
            NotPermitted, match=r"disabled \(by http 127\.0\.0\.1.*\)\. .* chaospoint\.enable\(\)"
        ):
            chaospoint.arm("a.b", latency=1)
    finally:
        chaospoint.enable()
        forget(Registry.default(), reconciler_of(Registry.default()))
