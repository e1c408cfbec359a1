"""Handles one request of the background server on a thread of its own."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from time import sleep
from typing import Any, Protocol

from chaospoint.control.access import is_order_to_disable
from chaospoint.control.http import (
    MAX_BODY,
    STOP_SECONDS,
    Request,
    Response,
    bytes_to_read,
    fold,
    request_of,
)
from chaospoint.control.problem import Problem
from chaospoint.control.server.head import Continued
from chaospoint.control.server.in_flight import InFlight
from chaospoint.control.service import Service, Steps

__all__ = ["Handler", "shut_down"]

_log = logging.getLogger("chaospoint")
_DRAIN_BYTES = 1 << 20


class Server(Protocol):
    """The listener, as far as a handler uses it."""

    service: Service
    timeout_seconds: float
    replies: InFlight
    answers: InFlight

    def at_work(self) -> AbstractContextManager[None]:
        """Release the spare descriptors for the time of an answer, if there are no others."""
        ...

    def note_body(self, connection: socket.socket, complete: bool = True) -> None:
        """Note whether the body of a request has arrived completely."""

    def hold_back(self, seconds: float) -> bool:
        """Delay a refusal; return False if too many wait."""
        ...


class Handler(BaseHTTPRequestHandler):
    """Passes one request to the service, and sends its response."""

    # Only a listener creates handlers, and it passes itself.
    server: Server  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, address: Any, server: Any, head: bytes) -> None:
        self._head = head  # the bytes that were read already
        super().__init__(connection, address, server)

    def setup(self) -> None:
        """Open the streams; the input begins with the bytes that were read already."""
        super().setup()
        self.connection.settimeout(self.server.timeout_seconds)
        self.rfile.close()
        self.rfile = io.BufferedReader(Continued(self._head, self.connection))

    def handle(self) -> None:
        """Handle one request, and close the connection after it."""
        self.close_connection = True
        self.handle_one_request()

    def do_GET(self) -> None:
        """Answer a request of any method."""
        headers = fold(self.headers.items())
        size = bytes_to_read(headers)
        client = str(self.client_address[0])
        request = request_of(self.command, self.path, self.request_version, headers, client)
        if not self.server.service.knows(request):
            size = 0  # it is refused, so its body is not read
        if not is_order_to_disable(request):
            request = replace(request, body=self.rfile.read(size) if size else b"")
            self.server.note_body(self.connection)
            self._answer(lambda: request)
            self._drain(headers.get("content-length", ""), len(request.body))
            return
        body: bytes | None = b""

        def stopped() -> Request:
            nonlocal body
            stops = self.server.service.stop_first(request)
            body = self._read(size, stops) if size else b""
            self.server.note_body(self.connection)
            return replace(request, body=body or b"")

        self._answer(stopped)
        if body is not None:
            self._drain(headers.get("content-length", ""), len(body))

    def _read(self, size: int, stops: bool) -> bytes | None:
        """Return the body; None if the body of a request to disable is late."""
        if not stops:
            return self.rfile.read(size)
        self.connection.settimeout(STOP_SECONDS)
        try:
            return self.rfile.read(size)
        except OSError:
            return None
        finally:
            self.connection.settimeout(self.server.timeout_seconds)

    do_HEAD = do_PUT = do_DELETE = do_POST = do_GET  # noqa: N815
    # The service refuses these methods.
    do_PATCH = do_OPTIONS = do_TRACE = do_QUERY = do_GET  # noqa: N815

    def _answer(self, prepare: Callable[[], Request]) -> None:
        """Answer the request that ``prepare`` returns.

        The end of the process waits for the answer.  A fork waits only for the steps that run
        inside ``replies``, and not for other workers or delayed refusals.
        """
        steps: Steps | None = None
        with self.server.answers, contextlib.ExitStack() as begun:
            while True:
                with self.server.replies, self.server.at_work():
                    if steps is None:
                        steps = self.server.service.steps(prepare())
                        begun.enter_context(contextlib.closing(steps))
                    try:
                        seconds = next(steps)
                    except StopIteration as end:
                        response: Response = end.value
                        if not response.delay_seconds:
                            self._reply(response)
                            return
                        break
                sleep(seconds)
        if self.server.hold_back(response.delay_seconds):
            with self.server.replies:
                self._reply(response)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer input that is not an HTTP request."""
        self.command = self.command or ""
        self.request_version = self.protocol_version
        status = HTTPStatus(code)
        problem = Problem(code, "bad-request", message or explain or status.phrase)
        self._reply(problem.response())

    def log_message(self, format: str, *args: Any) -> None:
        """Log a message of the base class at DEBUG."""
        _log.debug("admin endpoint, %s: %r", self.client_address[0], format % args)

    def version_string(self) -> str:
        """Return the value of the header ``server``."""
        return "chaospoint"

    def _reply(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(response.body)
        self.close_connection = True

    def _drain(self, announced: str, read: int) -> None:
        """Read and drop the rest of a refused body, because closing now could lose the answer."""
        if "transfer-encoding" not in self.headers and announced == str(read or ""):
            return
        self.server.note_body(self.connection, complete=False)
        shut_down(self.connection, socket.SHUT_WR)
        left = _DRAIN_BYTES
        while left > 0 and (chunk := self.rfile.read1(MAX_BODY)):
            left -= len(chunk)


def shut_down(connection: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """Shut a connection down; one that is gone already is ignored."""
    with contextlib.suppress(OSError):
        connection.shutdown(how)
