"""The whole admin API, mounted in the app of a web framework, as its users would write it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.util import shift_path_info

import django
import httpx
import pytest
import uvicorn
from django.conf import settings as django_settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from fastapi import FastAPI
from flask import Flask
from helpers import PATIENCE, Threads
from nodes import Node, Nodes
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from chaospoint.control import asgi, wsgi
from chaospoint.sources.settings import Settings
from chaospoint.stores.store import Worker

pays: list[Callable[[], str]] = []
"""What the routes call; each test places its own."""


def answer() -> str:
    try:
        return pays[0]()
    except TimeoutError:
        return "timed out"


# The apps, each with `/pay` and the admin endpoint at `/ops/chaos`


def fastapi(node: Node) -> Any:
    app = FastAPI()
    app.get("/pay")(answer)
    app.mount("/ops/chaos", asgi.app(node.service))
    return app


def flask(node: Node) -> Any:
    app = Flask(__name__)
    app.get("/pay")(lambda: json.dumps(answer()))
    app.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, {"/ops/chaos": wsgi.app(node.service)}
    )
    return app


def pay_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(json.dumps(answer()))


urlpatterns = [path("pay", pay_view)]


def _configure() -> None:
    if not django_settings.configured:
        django_settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], DEBUG=False)
        django.setup()


def django_asgi(node: Node) -> Any:
    """What the `asgi.py` of a project has: Django mounts no app."""
    _configure()
    project, chaos = get_asgi_application(), asgi.app(node.service)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/ops/chaos/"):
            await chaos({**scope, "root_path": "/ops/chaos"}, receive, send)
        elif scope["type"] == "http":
            await project(scope, receive, send)

    return application


def django_wsgi(node: Node) -> Any:
    """What the `wsgi.py` of a project has."""
    _configure()
    project, chaos = get_wsgi_application(), wsgi.app(node.service)

    def application(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"].startswith("/ops/chaos/"):
            shift_path_info(environ)
            shift_path_info(environ)
            return chaos(environ, start_response)
        return project(environ, start_response)

    return application


# Real servers


@contextmanager
def served_by_uvicorn(app: Any) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(app, loop="asyncio", log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


@contextmanager
def served_by_wsgiref(app: Any) -> Iterator[str]:
    with make_server("127.0.0.1", 0, app, Threaded, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(PATIENCE)


APPS: dict[str, Any] = {
    "fastapi": (fastapi, served_by_uvicorn),
    "flask": (flask, served_by_wsgiref),
    "django asgi": (django_asgi, served_by_uvicorn),
    "django wsgi": (django_wsgi, served_by_wsgiref),
}


@pytest.fixture
def node(on_disk: Nodes) -> Node:
    """A worker of a store, with tokens."""
    made = on_disk(Settings(enabled=True, admin_token="right", admin_read_token="reader"))  # type: ignore[arg-type]
    pays[:] = [made.place("payment.charge")]
    made.follow()
    return made


@pytest.fixture(params=APPS)
def url(request: pytest.FixtureRequest, node: Node) -> Iterator[str]:
    make, served = APPS[request.param]
    with served(make(node)) as address:
        yield address


def client(url: str, token: str) -> httpx.Client:
    return httpx.Client(
        base_url=url,
        headers={"authorization": f"Bearer {token}"} if token else {},
        timeout=PATIENCE,
        trust_env=False,
    )


CHAOS = "/ops/chaos/v1"
CHARGE = f"{CHAOS}/points/payment.charge"
FAULT = {"exception": "TimeoutError"}


def paid(ops: httpx.Client, count: int = 200) -> set[str]:
    return {ops.get("/pay").json() for _ in range(count)}


def test_what_is_put_is_seen_by_every_request_until_it_is_taken_away(url: str) -> None:
    with client(url, "right") as ops:
        assert paid(ops, 2) == {"done"}
        done = ops.put(CHARGE, json=FAULT)
        assert done.status_code == 200, done.text
        assert done.json()["acknowledged"] == 1
        assert paid(ops) == {"timed out"}

        told = ops.get(f"{CHAOS}/injections", params={"point": "payment.*", "limit": "7"}).json()
        assert [one["ordinal"] for one in told["injections"]] == list(range(200, 193, -1))

        dry = ops.put(f"{CHARGE}?dry_run=true", json={"latency": 1}).json()
        assert dry["replaces"] == ["payment.charge=raise(TimeoutError)"]
        assert ops.delete(f"{CHAOS}/points/payment.%2A").json()["disarmed"] == 1
        assert paid(ops) == {"done"}

        plan = ops.get(f"{CHAOS}/plan")
        assert plan.json() == {"rules": []}
        rules = {"seed": 1, "rules": [{"point": "payment.charge", **FAULT}]}
        match = {"if-match": plan.headers["etag"]}
        assert ops.put(f"{CHAOS}/plan", json=rules, headers=match).status_code == 200
        stale = ops.put(f"{CHAOS}/plan", json={"rules": []}, headers=match)
        assert stale.status_code == 412
        assert stale.headers["content-type"] == "application/problem+json"
        same = {"if-none-match": stale.headers["etag"]}
        assert ops.get(f"{CHAOS}/plan", headers=same).status_code == 304
        assert paid(ops, 2) == {"timed out"}

        off = ops.post(f"{CHAOS}/disable")
        assert (off.status_code, off.json()["enabled"]) == (200, False)
        assert paid(ops, 2) == {"done"}
        assert ops.put(CHARGE, json=FAULT).status_code == 409
        assert ops.post(f"{CHAOS}/enable").json()["enabled"] is True
        assert "chaospoint_injections_total" in ops.get("/ops/chaos/metrics").text
        assert ops.get(f"{CHAOS}/workers").json()["workers"][0]["answering"] is True
        missing = ops.get(f"{CHAOS}/points/payment.chrage")
        assert missing.json()["nearest"] == ["payment.charge"]
        assert ops.head(f"{CHAOS}/status").content == b""


def test_who_has_no_token_is_kept_out_and_who_has_one_to_read_reads(url: str) -> None:
    for token, read, write in (("", 401, 401), ("reader", 200, 403), ("right", 200, 200)):
        with client(url, token) as ops:
            assert ops.get(f"{CHAOS}/status").status_code == read, token
            assert ops.put(CHARGE, json={"latency": 0}).status_code == write, token
            assert ops.get("/pay").json() == "done", "the app itself needs none"
    with client(url, "wrong") as guess:
        assert guess.get(f"{CHAOS}/status").status_code == 401


def test_a_write_that_waits_for_a_worker_keeps_nobody_else_waiting(
    url: str, node: Node, pool: Threads
) -> None:
    """On an event loop, too: the next request is answered before the write is."""
    stranger = Worker("stranger", 1, started_at=1.0)
    node.store.report(stranger)
    with client(url, "right") as writer, client(url, "right") as reader:
        writing = pool.submit(lambda: writer.put(CHARGE, json=FAULT).json())
        done = threading.Event()
        for _ in range(1000):
            if reader.get(f"{CHAOS}/status").json()["generation"] == 1:
                break
            done.wait(0.01)
        assert reader.get("/pay").json() == "timed out"
        assert not writing.done()
        node.store.report(Worker("stranger", 1, generation=1, started_at=1.0))
        assert writing.result(PATIENCE)["acknowledged"] == 2
