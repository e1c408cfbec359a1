"""Strangers hold every connection of the admin endpoint; a client with the token is served."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from statistics import median
from threading import Event, Semaphore
from time import monotonic
from urllib.parse import urlsplit

import httpx
import pytest
from promptness import at_best, most_seconds, seconds

from chaospoint._registry import Registry
from chaospoint.control import listener
from chaospoint.control.messages import Request
from chaospoint.control.server import AdminServer
from chaospoint.control.service import Service, Steps
from chaospoint.settings import Settings

TOKEN = {"authorization": "Bearer secret"}
HALF = b"POST /v1/disable HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n"
WRONG = HALF.replace(b"Host: x", b"Host: x\r\nAuthorization: Bearer guess")
HELD_HALF = (
    b"PUT /v1/points/a.b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 50\r\n\r\n{"
)

FLOOD = """
import socket, sys, time
host, port, sent = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode("latin-1")
pause = 1 / float(sys.argv[4])
held, due, tries = [], time.monotonic(), 0
while True:
    tries += 1
    if tries == 300:
        print(flush=True)
    if (early := due - time.monotonic()) > 0:
        time.sleep(early)
    due = max(due, time.monotonic() - 1) + pause
    try:
        one = socket.create_connection((host, port), timeout=5)
        one.sendall(sent)
    except OSError:
        continue
    held.append(one)
    if len(held) > 400:
        held.pop(0).close()
"""


@pytest.fixture
def open_server() -> Iterator[Callable[..., AdminServer]]:
    with ExitStack() as ended:

        def opened(**settings: str) -> AdminServer:
            registry = Registry()
            registry.point("a.b")
            made = Service.of(Settings(enabled=True, **settings), registry)
            server = AdminServer(made, "127.0.0.1", 0, token=True, timeout_seconds=60)
            assert server.open()
            ended.callback(server.close)
            return server

        yield opened


def connect(server: AdminServer) -> socket.socket:
    where = urlsplit(server.url or "")
    return socket.create_connection((where.hostname, where.port), timeout=10)


def disable(server: AdminServer, headers: dict[str, str]) -> None:
    began = monotonic()
    # A client that is slow to speak in a flood may be cut off, and asks again.
    with httpx.Client(transport=httpx.HTTPTransport(retries=3), timeout=30) as client:
        while True:
            try:
                answer = client.post(f"{server.url}/v1/disable", headers=headers)
                break
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                assert monotonic() - began < 30
    assert answer.status_code == 200, answer.text
    assert answer.json()["enabled"] is False


@pytest.mark.parametrize("sent", [b"", b"POST /v1/dis", HALF, WRONG], ids=repr)
def test_connections_of_strangers_keep_no_client_with_the_token_waiting(
    sent: bytes, open_server: Callable[..., AdminServer]
) -> None:
    server = open_server(admin_token="secret")
    most = most_seconds(lambda: disable(server, TOKEN))
    with ExitStack() as strangers:
        for _ in range(300):
            one = strangers.enter_context(connect(server))
            with suppress(OSError):  # it was turned away
                one.sendall(sent)
        assert at_best(lambda: disable(server, TOKEN)) < most


def test_half_bodies_of_local_clients_keep_no_other_waiting(
    open_server: Callable[..., AdminServer],
) -> None:
    server = open_server()
    most = most_seconds(lambda: disable(server, {}))
    with ExitStack() as strangers:
        for _ in range(300):
            one = strangers.enter_context(connect(server))
            with suppress(OSError):
                one.sendall(HELD_HALF)
        assert at_best(lambda: disable(server, {})) < most


@pytest.mark.parametrize("sent", [b"GET / HT", HALF, WRONG], ids=repr)
@pytest.mark.parametrize(
    "a_second", [500, pytest.param(1e6, marks=[pytest.mark.ci, pytest.mark.alone])]
)
def test_a_flood_of_strangers_keeps_no_client_with_the_token_waiting(
    a_second: float, sent: bytes, open_server: Callable[..., AdminServer]
) -> None:
    server = open_server(admin_token="secret")
    most = most_seconds(lambda: disable(server, TOKEN))
    where = urlsplit(server.url or "")
    arguments = [str(where.hostname), str(where.port), sent.decode(), str(a_second)]
    with subprocess.Popen(
        [sys.executable, "-c", FLOOD, *arguments], stdout=subprocess.PIPE
    ) as flood:
        try:
            assert flood.stdout
            flood.stdout.readline()
            took = [seconds(lambda: disable(server, TOKEN)) for _ in range(15)]
        finally:
            flood.kill()
    assert median(took) < most, took


def test_requests_of_strangers_take_no_place_from_a_client_with_the_token(
    open_server: Callable[..., AdminServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MAX_SERVED", 1)
    monkeypatch.setattr(listener, "_MAX_STRANGERS", 2)
    server = open_server(admin_token="secret")
    under_way, go = Semaphore(0), Event()
    steps = server._service.steps

    def slow(request: Request) -> Steps:
        if "authorization" not in request.headers:
            under_way.release()
            assert go.wait(30)
        return steps(request)

    monkeypatch.setattr(server._service, "steps", slow)
    ask = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(server) as one, connect(server) as two, connect(server) as three:
        for stranger in (one, two):
            stranger.sendall(ask)
            assert under_way.acquire(timeout=30)
        three.sendall(ask)
        assert three.recv(12) == b"HTTP/1.1 503"
        answer = httpx.get(f"{server.url}/v1/status", headers=TOKEN, timeout=30)
        assert answer.status_code == 200
        go.set()
        for stranger in (one, two):
            assert stranger.recv(12) == b"HTTP/1.1 401"
