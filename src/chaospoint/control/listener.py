"""The socket of the background server: one request a connection, and a deadline for all of it.

Each request has a daemon thread of its own.  What is slow is cut off, what is too much is turned
away, and a fork or an end lets the replies under way out first.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from threading import Semaphore, Thread, current_thread
from time import monotonic, sleep
from typing import Any
from urllib.parse import unquote

from chaospoint._inside import transparent
from chaospoint._lock import Lock
from chaospoint._start import start
from chaospoint.control.door import DISABLE
from chaospoint.control.messages import (
    MAX_BODY,
    STOP_SECONDS,
    Request,
    Response,
    bytes_to_read,
    fold,
)
from chaospoint.control.problem import Problem
from chaospoint.control.replies import Replies
from chaospoint.control.service import Service, Steps

__all__ = ["Listener"]

_log = logging.getLogger("chaospoint")
_MAX_CONNECTIONS = 64
_MAX_HELD_BACK = 16  # of these, refusals that wait; those beyond get no answer
_DRAIN_BYTES = 1 << 20


class Listener(ThreadingMixIn, TCPServer):
    """The socket, the thread that accepts, and a watch over what is open."""

    daemon_threads = True
    allow_reuse_address = os.name == "posix"
    request_queue_size = 64

    def __init__(
        self, service: Service, family: int, address: tuple[str, int], timeout: float
    ) -> None:
        self.service = service
        self.address_family = family
        self.timeout_seconds = timeout
        self.replies = Replies()  # what a fork waits for: nobody is in the middle of anything
        self.answers = Replies()  # what an end waits for: nobody is left without an answer
        self._open: dict[socket.socket, float] = {}  # the oldest first, and until when
        self._heard: set[socket.socket] = set()  # those whose whole request is here
        self._cut: set[socket.socket] = set()  # those that are only left to end
        self._held_back = Semaphore(_MAX_HELD_BACK)
        self._guard = Lock()
        self._thread: Thread | None = None
        super().__init__(address, _Handler)
        self.socket.setblocking(False)
        self._waker, self._woken = socket.socketpair()
        self._files = (self.socket, self._waker, self._woken)
        self._found = [os.fstat(one.fileno()) for one in self._files if os.name == "posix"]

    @property
    def is_open(self) -> bool:
        """Whether its files are still its own: who becomes a daemon closes all of the process."""
        try:
            now = [os.fstat(one.fileno()) for one in self._files if self._found]
        except OSError:
            return False
        return all(map(os.path.samestat, now, self._found))

    def forget(self) -> None:
        """Close nothing of what is not its own any more: others may have the numbers now."""
        for lost in self._files:
            lost.detach()

    def run(self) -> None:
        """Start the accepting thread, unless it runs."""
        with self._guard:
            if self._thread is None:
                self.replies.open()
                self.answers.open()
                thread = Thread(target=self._accept, name="chaospoint-admin", daemon=True)
                start(thread)
                self._thread = thread

    def halt(self) -> None:
        """End the accepting thread, with the replies under way out; bounded in time."""
        with self._guard:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._waker.send(b"x")
            if thread is not current_thread():
                thread.join(5.0)
            self.replies.shut(1.0)

    def drop(self) -> None:
        """Close what is left of a server that is not to run again."""
        self.replies.close()
        self.answers.close()
        for connection in tuple(self._open):
            _shutdown(connection)
        self._waker.close()
        self._woken.close()

    def disown(self) -> None:
        """Close every file of this object, and only the files: the parent still uses them."""
        for inherited in (*self._files, *self._open):
            with contextlib.suppress(OSError):  # a thread of the parent was closing it
                os.close(inherited.detach())
        self._open.clear()

    def _accept(self) -> None:
        try:
            self._serve()
        except OSError:
            if self.is_open:
                raise
            # The process is becoming a daemon; the server is opened again.
            _log.debug("the files of the admin endpoint were closed", exc_info=True)

    def _serve(self) -> None:
        with transparent(), selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = selector.select(self.timeout_seconds / 4 if self._open else None)
                if any(key.fileobj is self._woken for key, _ in ready):
                    self._woken.recv(1)
                    return
                if ready:
                    self._handle_request_noblock()  # type: ignore[attr-defined]
                self._cut_the_slow()

    def _cut_the_slow(self) -> None:
        now = monotonic()
        for connection, until in tuple(self._open.items()):
            if now > until:
                _shutdown(connection)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Note the deadline; if there are too many, the oldest that is still silent has to go.

        So strangers who say nothing keep nobody out; what is too much is turned away only while
        all others have a request under way.
        """
        if len(self._open) - len(self._cut) >= _MAX_CONNECTIONS:
            done = self._heard | self._cut
            silent = next((one for one in tuple(self._open) if one not in done), None)
            if silent is None:
                return False
            self._cut.add(silent)
            _shutdown(silent)
        self._open[request] = monotonic() + self.timeout_seconds
        return True

    def heard(self, connection: socket.socket) -> None:
        """Note that the whole request of a connection is here."""
        self._heard.add(connection)

    def hold_back(self, seconds: float) -> bool:
        """Wait; False if too many wait, who must not keep others from coming in."""
        if not self._held_back.acquire(blocking=False):
            return False
        try:
            sleep(seconds)
        finally:
            self._held_back.release()
        return True

    def shutdown_request(self, request: Any) -> None:
        """End one connection."""
        self._open.pop(request, None)
        self._heard.discard(request)
        self._cut.discard(request)
        super().shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, on its own thread, where no point acts."""
        with transparent():
            super().process_request_thread(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log what ended a connection early."""
        if isinstance(sys.exception(), OSError):
            _log.debug("the admin endpoint lost its client %s", client_address, exc_info=True)
        else:
            _log.exception("the admin endpoint failed for its client %s", client_address)


class _Handler(BaseHTTPRequestHandler):
    """Carries one request to the service and its answer back."""

    server: Listener
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.timeout_seconds)

    def handle(self) -> None:
        self.close_connection = True
        self.handle_one_request()

    def do_GET(self) -> None:
        headers = fold(self.headers.items())
        size = bytes_to_read(headers)
        path, _, query = self.path.partition("?")
        client = str(self.client_address[0])
        request = Request(self.command, unquote(path), headers, b"", client, query)
        if (request.method, request.path) != DISABLE:
            request = replace(request, body=self.rfile.read(size) if size else b"")
            self.server.heard(self.connection)
            self._answer(lambda: request)
            self._drain(headers.get("content-length", ""), len(request.body))
            return
        body: bytes | None = b""

        def stopped() -> Request:
            nonlocal body
            stops = self.server.service.stop_first(request)
            body = self._read(size, stops) if size else b""
            self.server.heard(self.connection)
            return replace(request, body=body or b"")

        self._answer(stopped)
        if body is not None:
            self._drain(headers.get("content-length", ""), len(body))

    def _read(self, size: int, stops: bool) -> bytes | None:
        """Return the body; None if it does not come in time with a request that stops all."""
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
    # These mean nothing anywhere here, which the service is to say.
    do_PATCH = do_OPTIONS = do_TRACE = do_QUERY = do_GET  # noqa: N815

    def _answer(self, prepare: Callable[[], Request]) -> None:
        """Answer what ``prepare`` returns, which is waited for at the end of the process, too.

        A fork need not wait for other workers, nor for clients that guess.
        """
        steps: Steps | None = None
        with self.server.answers, contextlib.ExitStack() as begun:
            while True:
                with self.server.replies:
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
        """Answer what is no HTTP request at all."""
        self.command = self.command or ""
        self.request_version = self.protocol_version
        status = HTTPStatus(code)
        problem = Problem(code, "bad-request", message or explain or status.phrase)
        self._reply(problem.response())

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug("admin endpoint, %s: %r", self.client_address[0], format % args)

    def version_string(self) -> str:
        return "chaospoint"

    def _reply(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(response.body)
        self.close_connection = True

    def _drain(self, announced: str, had: int) -> None:
        """Read what was refused unread: closing now would take the answer from the client."""
        if "transfer-encoding" not in self.headers and announced == str(had or ""):
            return
        _shutdown(self.connection, socket.SHUT_WR)
        left = _DRAIN_BYTES
        while left > 0 and (chunk := self.rfile.read1(MAX_BODY)):
            left -= len(chunk)


def _shutdown(connection: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with contextlib.suppress(OSError):  # it is gone already
        connection.shutdown(how)
