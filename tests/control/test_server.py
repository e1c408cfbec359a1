"""The background server over real sockets: slow, greedy, silent and nonsensical clients."""

from __future__ import annotations

import json
import logging
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from chaospoint._kernel.context import in_chaospoint
from chaospoint._registry.registry import Registry
from chaospoint.control.http import MAX_BODY, Request
from chaospoint.control.server import handler, listener
from chaospoint.control.server.admin import AdminServer
from chaospoint.control.server.listener import Listener
from chaospoint.control.service import Service, Steps
from chaospoint.sources.settings import Settings
from chaospoint.stores.reconciler import reconciler_of
from chaospoint.stores.store import Worker


@pytest.fixture
def server(service: Service) -> Iterator[AdminServer]:
    yield from opened(service, 30)


@pytest.fixture
def hasty(service: Service) -> Iterator[AdminServer]:
    """A server that soon cuts off a client that does not say what it wants."""
    yield from opened(service, 1)


def opened(service: Service, timeout_seconds: float) -> Iterator[AdminServer]:
    server = AdminServer(service, "127.0.0.1", 0, token=False, timeout_seconds=timeout_seconds)
    assert server.open()
    yield server
    server.close()
    assert not ours()


@pytest.fixture
def client(server: AdminServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url or "", timeout=30) as client:
        yield client


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "chaospoint-admin"]


def connect(server: AdminServer) -> socket.socket:
    where = urlsplit(server.url or "")
    return socket.create_connection((where.hostname, where.port), timeout=10)


def wait_for(seen: Callable[[], object]) -> None:
    until = time.monotonic() + 30
    while not seen():
        assert time.monotonic() < until
        time.sleep(0.001)


def talk(server: AdminServer, sent: bytes) -> tuple[int, dict[str, str], Any]:
    """Send raw bytes; return status, headers and the JSON of the answer."""
    with connect(server) as connection:
        connection.sendall(sent)
        with connection.makefile("rb") as answer:
            raw = answer.read()
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, json.loads(body)


def test_a_fault_is_toggled_over_the_wire(client: httpx.Client, charge: Callable[[], str]) -> None:
    put = client.put("/v1/points/payment.charge", json={"exception": "TimeoutError", "times": 2})
    assert put.status_code == 200
    assert put.headers["connection"] == "close"
    assert put.headers["server"] == "chaospoint"
    for _ in range(2):
        with pytest.raises(TimeoutError):
            charge()
    assert charge() == "charged"
    [rule] = client.get("/v1/points/payment.charge").json()["rules"]
    assert (rule["state"], rule["injections"]) == ("spent", 2)
    assert client.delete("/v1/points").json()["disarmed"] == 1
    assert client.post("/v1/disable").json()["enabled"] is False
    assert client.put("/v1/points/payment.charge", json={"latency": 1}).status_code == 409
    assert client.post("/v1/enable").json()["enabled"] is True
    assert "chaospoint_injections_total" in client.get("/metrics").text
    head = client.head("/v1/status")
    assert head.content == b""
    assert int(head.headers["content-length"]) > 0


def test_a_glob_may_be_percent_encoded(client: httpx.Client) -> None:
    for path in ("/v1/points/db.%2A", "/v1/points/db.*", "/v1/points/%64b.*?dry_run=false"):
        assert client.put(path, json={"latency": 1}).json()["name"] == "db.*"


def test_a_request_that_names_another_host_is_refused(client: httpx.Client) -> None:
    response = client.get("/v1/status", headers={"host": "evil.example"})
    assert response.status_code == 403
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "urn:chaospoint:problem:unknown-host"
    assert response.json()["host"] == "evil.example"


def test_two_host_headers_are_refused(server: AdminServer) -> None:
    sent = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    status, _, document = talk(server, sent)
    assert status == document["status"] == 403


def test_a_body_that_never_comes_keeps_nobody_from_disabling(
    service: Service, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "STOP_SECONDS", 0.05)
    server = AdminServer(service, "127.0.0.1", 0, token=False, timeout_seconds=60)
    assert server.open()
    with closing(server):
        head = b"POST /v1/disable HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
        status, _, document = talk(server, head)
    assert (status, document["enabled"], document["generation"]) == (200, False, 1)
    assert not registry.enabled


def test_a_slow_client_is_cut_off(hasty: AdminServer) -> None:
    """It sends a byte now and then, so that no single read times out; the whole has a deadline."""
    ended = threading.Event()
    with connect(hasty) as connection:

        def drip() -> None:
            try:
                connection.sendall(b"GET /v1/status HTTP/1.1\r\n")
                while not ended.wait(0.02):
                    connection.sendall(b"x: y\r\n")
            except OSError:
                ended.set()

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert connection.recv(100) == b""
        except ConnectionResetError:
            pass
        finally:
            ended.set()
            dripping.join(10)


def test_a_silent_client_is_cut_off(hasty: AdminServer) -> None:
    with connect(hasty) as silent:
        assert silent.recv(100) == b""


def test_a_client_is_not_cut_off_once_all_of_its_request_is_there(
    service: Service, server: AdminServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time it has is over while the answer is made."""
    accepting, looked = server._listener, threading.Event()
    assert accepting
    steps, cut_the_slow = service.steps, accepting._disconnect_slow

    def late(request: Request) -> Steps:
        accepting._open.update(dict.fromkeys(accepting._open, 0.0))
        with connect(server):  # has the accepting thread look at all clients
            assert looked.wait(30)
        return steps(request)

    def look(selector: selectors.BaseSelector) -> None:
        late_ones = 0.0 in accepting._open.values()
        cut_the_slow(selector)
        if late_ones:
            looked.set()

    monkeypatch.setattr(service, "steps", late)
    monkeypatch.setattr(accepting, "_disconnect_slow", look)
    put = (
        b"PUT /v1/points/db.query HTTP/1.1\r\nHost: localhost\r\n"
        b'Content-Type: application/json\r\nContent-Length: 14\r\n\r\n{"latency": 1}'
    )
    status, _, document = talk(server, put)
    assert (status, document["name"]) == (200, "db.query")


def test_a_client_that_sends_half_a_body_gets_no_further(
    hasty: AdminServer, registry: Registry
) -> None:
    with connect(hasty) as connection:
        connection.sendall(
            b"PUT /v1/points/db.query HTTP/1.1\r\nHost: localhost\r\n"
            b'Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"latency": 1}'
        )
        assert connection.recv(100) == b""
    assert registry.rules() == ()


def test_a_body_cut_short_is_400(server: AdminServer, registry: Registry) -> None:
    with connect(server) as connection:
        connection.sendall(
            b"PUT /v1/points/db.query HTTP/1.1\r\nHost: localhost\r\n"
            b'Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"latency": 1}'
        )
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            assert answer.readline().split()[1] == b"400"
            assert b"problem:cut-short" in answer.read()
    assert registry.rules() == ()


def test_a_huge_body_is_413_and_the_client_gets_to_send_and_to_read(service: Service) -> None:
    server = AdminServer(service, "127.0.0.1", 0, token=False)
    server.open()
    sent = (
        b"PUT /v1/points/db.query HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 900000\r\n\r\n" + b" " * 900_000
    )
    where = urlsplit(server.url or "")
    with closing(server), socket.socket() as connection:
        connection.settimeout(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that sending blocks
        connection.connect((where.hostname, where.port))
        connection.sendall(sent)
        with connection.makefile("rb") as answer:
            assert answer.readline().split()[1] == b"413"
            assert f'"limit": {MAX_BODY}'.encode() in answer.read()


def test_a_chunked_body_is_411_and_the_client_gets_to_read_it(client: httpx.Client) -> None:
    chunks = (b'{"latency"', b": 1}")
    headers = {"content-type": "application/json"}
    response = client.put("/v1/points/db.query", content=iter(chunks), headers=headers)
    assert response.status_code == 411
    assert response.json()["type"] == "urn:chaospoint:problem:length-needed"


NONSENSE = [
    (b"\r\n\r\n", None),
    (b"nonsense\r\n\r\n", 400),
    (b"GET / HTTP/9.9\r\n\r\n", 505),
    (b"BREW /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\na: " + b"b" * 70_000 + b"\r\n\r\n", 431),
]


@pytest.mark.parametrize(("sent", "status"), NONSENSE, ids=lambda value: repr(value)[:30])
def test_what_is_no_http_gets_a_problem_too(
    sent: bytes, status: int | None, server: AdminServer, client: httpx.Client
) -> None:
    if status is None:
        with connect(server) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(100)
    else:
        got, headers, document = talk(server, sent)
        assert got == document["status"] == status
        assert headers["content-type"] == "application/problem+json"
        assert document["type"] == "urn:chaospoint:problem:bad-request"
    assert client.get("/v1/status").status_code == 200


def test_a_client_that_hangs_up_is_no_error(
    server: AdminServer, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        connection = connect(server)
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    assert client.get("/v1/status").status_code == 200
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


ASK = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_idle_strangers_keep_nobody_from_the_panic_button(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MAX_SILENT", 64)
    server = AdminServer(service, "127.0.0.1", 0, token=False, timeout_seconds=60)
    server.open()
    with closing(server), ExitStack() as idle:
        strangers = [idle.enter_context(connect(server)) for _ in range(64)]
        strangers[1].sendall(b"GET /v1/sta")
        for _ in range(2):
            assert httpx.post(f"{server.url}/v1/disable", timeout=10).status_code == 200
        idle.enter_context(connect(server))  # it takes the place of the oldest
        assert strangers[0].recv(1) == b""
        strangers[-1].sendall(ASK)
        assert strangers[-1].recv(12) == b"HTTP/1.1 200"


def test_the_oldest_silent_connection_makes_room_and_a_request_under_way_does_not(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MAX_SILENT", 1)
    monkeypatch.setattr(listener, "_MAX_SERVED", 2)
    under_way, go = threading.Barrier(2), threading.Event()
    steps = service.steps

    def slow(request: Request) -> Steps:
        under_way.wait(10)
        assert go.wait(10)
        return (yield from steps(request))

    monkeypatch.setattr(service, "steps", slow)
    server = AdminServer(service, "127.0.0.1", 0, token=False)
    server.open()
    with closing(server), connect(server) as one:
        one.sendall(ASK)
        under_way.wait(10)
        with connect(server) as two, connect(server) as three:
            assert two.recv(1) == b"", "the oldest that says nothing makes room"
            three.sendall(ASK)
            under_way.wait(10)
            with connect(server) as four:
                four.sendall(ASK)
                assert four.recv(12) == b"HTTP/1.1 503", "all others have a request under way"
            go.set()
            assert three.recv(12) == b"HTTP/1.1 200"
        assert one.recv(12) == b"HTTP/1.1 200"


def test_a_taken_port_is_one_warning_with_the_cure_and_the_program_goes_on(
    server: AdminServer, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    port = urlsplit(server.url or "").port or 0
    other = AdminServer(service, "127.0.0.1", port, token=False)
    assert not other.open()
    assert other.url is None
    other.close()
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert f"127.0.0.1 port {port} is in use" in said
    assert "this one follows only environment and file" in said
    assert "CHAOSPOINT_ADMIN=127.0.0.1:0 gives each process a port of its own" in said


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_without_a_token_nothing_is_bound_that_others_reach(
    host: str, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    server = AdminServer(service, host, 8475, token=False)
    assert not server.open()
    [record] = caplog.records
    assert "set CHAOSPOINT_ADMIN_TOKEN" in record.getMessage()
    assert not ours()


def test_with_a_token_any_address_is_bound(registry: Registry) -> None:
    settings = Settings(enabled=True, admin_token="secret")  # type: ignore[arg-type]
    server = AdminServer(Service.of(settings, registry), "0.0.0.0", 0, token=True)
    assert server.open()
    try:
        url = f"http://127.0.0.1:{urlsplit(server.url or '').port}/v1/status"
        refused = httpx.get(url)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert httpx.get(url, headers={"authorization": "Bearer secret"}).status_code == 200
    finally:
        server.close()


@pytest.mark.parametrize("host", ["a" * 70, "192.0.2.1"])
def test_an_address_that_is_not_ours_is_one_warning(
    host: str, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    assert not AdminServer(service, host, 8475, token=True).open()
    [record] = caplog.records
    assert "cannot be bound" in record.getMessage()


def test_a_name_that_cannot_be_resolved_is_one_warning(
    service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert not AdminServer(service, "shop.example", 8475, token=True).open()
    [record] = caplog.records
    assert "Name or service not known" in record.getMessage()


def test_localhost_is_served_where_people_look_for_it(service: Service) -> None:
    server = AdminServer(service, "localhost", 0, token=False)
    server.open()
    try:
        assert (server.url or "").startswith("http://127.0.0.1:")
    finally:
        server.close()


def test_opening_and_closing_again_and_again(service: Service) -> None:
    server = AdminServer(service, "127.0.0.1", 0, token=False)
    for _ in range(3):
        server.open()
        server.open()
        assert len(ours()) == 1
        assert httpx.get(f"{server.url}/v1/status").status_code == 200
        server.close()
        server.close()
        assert not ours()
        assert server.url is None


def test_a_paused_server_keeps_who_calls_waiting(server: AdminServer) -> None:
    server.pause()
    assert not ours()
    with connect(server) as connection:
        connection.sendall(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.resume()
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_closing_cuts_off_who_says_nothing(service: Service) -> None:
    server = AdminServer(service, "127.0.0.1", 0, token=False)
    server.open()
    with connect(server) as silent:
        silent.sendall(b"GET")
        assert httpx.get(f"{server.url}/v1/status").status_code == 200  # so it was accepted
        server.close()
        assert silent.recv(1) == b""


def test_a_server_leaves_its_port_only_when_it_loses_no_request(service: Service) -> None:
    server = AdminServer(service, "127.0.0.1", 0, token=False, timeout_seconds=60)
    server.open()
    with closing(server):
        with connect(server) as client:
            assert server._listener
            wait_for(lambda: server._listener and server._listener._open)
            server.leave()
            client.sendall(ASK)
            assert client.recv(12) == b"HTTP/1.1 200"
        wait_for(lambda: server._listener and not server._listener._open)
        server._listener.halt()
        with connect(server) as waiting:  # nobody has accepted it so far
            waiting.sendall(ASK)
            server.leave()
            assert waiting.recv(12) == b"HTTP/1.1 200"
        wait_for(lambda: server._listener and not server._listener._open)
        server.leave()
        assert server.url is None


def test_a_client_that_says_nothing_keeps_no_port_for_ever(service: Service) -> None:
    server = AdminServer(service, "127.0.0.1", 0, token=False, timeout_seconds=60)
    server.open()
    with closing(server), connect(server) as silent:
        server.leave()
        assert server.url is not None
        server._patient_until = time.monotonic()
        server.leave()
        assert server.url is None
        assert silent.recv(1) == b""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the copy goes on listening")
def test_a_copy_of_the_socket_in_a_forked_child_keeps_no_client_waiting(service: Service) -> None:
    server = AdminServer(service, "127.0.0.1", 0, token=False)
    server.open()
    assert server._listener
    copy = server._listener.socket.dup()  # as a child has one until its own hooks run
    where = server._listener.server_address
    with copy:
        server.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(where, timeout=10)


def test_law_9_every_point_is_transparent_in_the_server_s_threads(
    server: AdminServer, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []
    for owner, name in (
        (Listener, "_hand_over"),
        (Listener, "shutdown_request"),
        (handler.Handler, "handle"),
    ):
        original = getattr(owner, name)

        def look(*args: Any, name: str = name, original: Any = original) -> Any:
            seen.append((name, in_chaospoint.get()))
            return original(*args)

        monkeypatch.setattr(owner, name, look)
    assert client.get("/v1/status").status_code == 200
    server.close()
    assert {name for name, _ in seen} >= {"_hand_over", "handle"}
    assert all(transparent for _, transparent in seen)


def test_a_port_is_free_again_at_once(service: Service) -> None:
    first = AdminServer(service, "127.0.0.1", 0, token=False)
    first.open()
    port = urlsplit(first.url or "").port or 0
    assert httpx.get(f"{first.url}/v1/status").status_code == 200
    first.close()
    second = AdminServer(service, "127.0.0.1", port, token=False)
    assert second.open()
    with closing(second):
        assert httpx.get(f"{second.url}/v1/status").status_code == 200


def test_the_end_of_the_server_lets_out_answers_that_wait_for_other_workers(
    registry: Registry, service: Service
) -> None:
    reconciler_of(registry).store.report(Worker("busy", 1))
    server = AdminServer(service, "127.0.0.1", 0, token=False)
    server.open()
    with httpx.Client(base_url=server.url or "", timeout=30) as client:
        answers: list[httpx.Response] = []
        body = {"latency": 0}
        put = threading.Thread(
            target=lambda: answers.append(client.put("/v1/points/db.query", json=body))
        )
        put.start()
        assert server._listener
        while not server._listener.answers.count:
            assert put.is_alive()
        server.close()
        put.join(10)
    assert answers[0].json()["missing"][0]["id"] == "busy"
