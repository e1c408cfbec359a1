"""Strangers hold every connection of the admin endpoint; a client with the token is served."""

from __future__ import annotations

import logging
import re
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median
from textwrap import dedent
from threading import Event, Semaphore, Thread
from time import monotonic
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promptness import at_best, most_seconds, seconds

from chaospoint._registry.registry import Registry
from chaospoint.control.http import Request
from chaospoint.control.server import listener
from chaospoint.control.server.admin import AdminServer
from chaospoint.control.service import Service, Steps
from chaospoint.sources.settings import Settings

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


@pytest.mark.alone
@pytest.mark.parametrize(
    "sent",
    [HALF, *(pytest.param(one, marks=pytest.mark.ci) for one in (b"", b"POST /v1/dis", WRONG))],
    ids=repr,
)
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


@pytest.mark.alone
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


@pytest.mark.parametrize(
    "sent",
    [WRONG, *(pytest.param(one, marks=pytest.mark.ci) for one in (b"GET / HT", HALF))],
    ids=repr,
)
@pytest.mark.parametrize("a_second", [500, pytest.param(1e6, marks=pytest.mark.ci)])
@pytest.mark.alone
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


# -- heads that nobody would write ------------------------------------------------------------

PIECES = [
    *("GET", "POST", "get", " ", "/x", "/v1/status", "http://[::1", "http://a@b:c/", "%ff"),
    *("HTTP/1.1", "HTTP/1.0", "HTTP/9.9", "A:", ":", "Host: x", "Transfer-Encoding: chunked"),
    *("Authorization: Bearer secret", "Authorization: Bearer guess", "Content-Length: 3"),
    *("\r", "\n", "\r\n", "\r\n\r\n", "\0", "\t", "\v", "\f", "\x1c", "\x85", "\xa0", "\xff"),
]
HEADS = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=12).map(
        lambda pieces: "".join(pieces).encode("latin-1") + b"\r\n\r\n"
    ),
    st.lists(st.sampled_from(PIECES), max_size=12).map(
        lambda pieces: b"GET /x HTTP/1.1\r\n" + "".join(pieces).encode("latin-1") + b"\r\n\r\n"
    ),
)


@given(HEADS)
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_served_or_refused(sent: bytes) -> None:
    with pytest.MonkeyPatch.context() as patched, ExitStack() as ended:
        patched.setattr(listener.Listener, "hold_back", lambda *_: True)
        said: list[str] = []
        patched.setattr(listener._log, "exception", lambda *one, **_: said.append(str(one)))
        service = Service.of(Settings(enabled=True, admin_token="secret"), Registry())
        made = listener.Listener(service, socket.AF_INET, ("127.0.0.1", 0), 60)
        ended.callback(made.drop)
        ended.callback(made.server_close)
        client, connection = map(ended.enter_context, socket.socketpair())
        selector = ended.enter_context(selectors.DefaultSelector())
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        made._admit(connection, ("192.0.2.1", 1))
        made._receive(connection, selector)
        if connection in made._silent:
            made._end(connection, selector)
        with suppress(ConnectionResetError):
            client.settimeout(30)
            while client.recv(65536):
                pass
        assert not said
        assert not made._silent


@pytest.mark.parametrize(
    "sent",
    [b"GET /x\r\nA: HTTP/1.1\r\n\r\n", b"GET \r\n HTTP/1.1\r\n\r\n", b"GET /x\n HTTP/1.0\r\n\r\n"],
)
def test_a_first_line_of_two_lines_is_refused(
    sent: bytes, open_server: Callable[..., AdminServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = open_server(admin_token="secret")
    with connect(server) as stranger:
        stranger.sendall(sent)
        with stranger.makefile("rb") as answer:
            assert re.search(rb"problem:(bad-request|token-needed)", answer.read())
    disable(server, TOKEN)
    assert not caplog.records


def test_a_request_that_comes_byte_by_byte_behind_an_empty_line_is_answered(
    open_server: Callable[..., AdminServer],
) -> None:
    server = open_server(admin_token="secret")
    with connect(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = (
            b"\r\nPOST /v1/disable HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n"
        )
        for byte in request:
            client.sendall(bytes([byte]))
        with client.makefile("rb") as answer:
            assert answer.read().startswith(b"HTTP/1.1 200 ")


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="there are no such signals here")
def test_the_thread_that_starts_others_takes_no_signal_and_those_take_all(
    open_server: Callable[..., AdminServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = open_server(admin_token="secret")
    blocked: list[set[signal.Signals]] = []

    def note(*_: object) -> bool:
        blocked.append({*signal.pthread_sigmask(signal.SIG_BLOCK, ())})  # type: ignore[arg-type]
        return False

    monkeypatch.setattr(server._service, "knows", note)  # asked on the one, then on the other
    answer = httpx.post(f"{server.url}/v1/disable", headers=TOKEN)
    assert answer.status_code == 200
    accepting, *answering = blocked
    assert signal.SIGTERM in accepting
    assert answering
    assert not any(signal.SIGTERM in others for others in answering)


SLEEPING = """
    import signal, sys, time
    import chaospoint
    from chaospoint.config import Settings

    port, store = sys.argv[1:]
    chaospoint.start(
        Settings(enabled=True, admin=f"127.0.0.1:{port}", admin_token="secret", store=store)
    )
    for number in range(500):
        chaospoint.point(f"p.n{number}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.ci
@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="there are no such signals here")
def test_a_signal_to_the_process_is_not_lost_while_requests_come_in(tmp_path: Path) -> None:
    for number in range(20):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-c", dedent(SLEEPING), str(port)]
        service = subprocess.Popen(
            [*command, f"file://{tmp_path}/{number}"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert service.stdout is not None
            assert service.stdout.readline() == "up\n"
            for path in ("GET /v1/points?limit=1000", "PUT /v1/points/p.*", "POST /v1/disable"):
                Thread(target=_ask, args=(port, path), daemon=True).start()
            Event().wait(number % 5 / 500)  # any moment will do
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0
        finally:
            service.kill()
            service.wait()
            assert service.stdout is not None
            service.stdout.close()


def _ask(port: int, line: str) -> None:
    method, path = line.split()
    with suppress(httpx.HTTPError):
        httpx.request(method, f"http://127.0.0.1:{port}{path}", headers=TOKEN, content="off")


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_client_that_fails_in_the_accepting_thread_fails_alone(
    error: type[BaseException],
    open_server: Callable[..., AdminServer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(listener, "_FAILED_SECONDS", 1e6)  # nobody waits for it
    server = open_server(admin_token="secret")
    knows = server._service.knows

    def fails(request: Request) -> bool:
        if request.path == "/fails":
            raise error
        return knows(request)

    monkeypatch.setattr(server._service, "knows", fails)
    for _ in range(3):
        with connect(server) as stranger:
            stranger.sendall(b"GET /fails HTTP/1.1\r\n\r\n")
            with stranger.makefile("rb") as answer:
                assert answer.read().startswith(b"HTTP/1.1 503 ")
    disable(server, TOKEN)
    assert [one.levelno for one in caplog.records] == [logging.ERROR] * 3


def test_nothing_ends_the_accepting_thread(
    open_server: Callable[..., AdminServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what is thrown into it, nor what a handler of the log raises when that is said."""
    monkeypatch.setattr(listener, "_FAILED_SECONDS", 0.0)
    thrown = iter((SystemExit, KeyboardInterrupt, ValueError))

    def exits(*_: object, **__: object) -> None:
        raise SystemExit

    def cut(self: listener.Listener, selector: selectors.BaseSelector) -> None:
        for error in thrown:
            raise error
        cut_the_slow(self, selector)

    cut_the_slow = listener.Listener._disconnect_slow
    monkeypatch.setattr(listener._log, "exception", exits)
    monkeypatch.setattr(listener.Listener, "_disconnect_slow", cut)
    server = open_server(admin_token="secret")
    for _ in range(4):
        disable(server, TOKEN)
    assert next(thrown, None) is None
