"""The socket of the background server: one request a connection, and a deadline for its client.

Each request has a daemon thread of its own.  The listener cuts off slow clients, and turns clients
away where there are too many.  Before a fork and before its end it lets the replies under way out.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import re
import selectors
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from threading import Semaphore, Thread, current_thread
from time import monotonic, sleep
from typing import Any

try:
    import resource
except ImportError:  # not POSIX
    resource = None  # type: ignore[assignment]

from chaospoint._kernel.context import transparently
from chaospoint._kernel.lock import Lock
from chaospoint._kernel.threads import OwnThread, start
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
from chaospoint.control.server.in_flight import Replies
from chaospoint.control.server.spares import Spares
from chaospoint.control.service import Service, Steps

__all__ = ["Listener"]

_log = logging.getLogger("chaospoint")
_MAX_SILENT = 256  # connections whose head is not here yet
_SHARE = 8  # so many times the descriptors of these the process has to have
_MAX_SERVED = 64  # requests of clients that are let in
_MAX_DISABLING = 64  # beyond these, for requests that disable
_MAX_STRANGERS = 32  # requests of clients that are not let in
_MAX_HELD_BACK = 16  # of these, refusals that wait; those beyond get no answer
_MAX_HEAD = 64 * 1024
_AT_ONCE = 16  # connections accepted before the others are looked at again
_REST_SECONDS = 0.05  # before a descriptor is looked for again
_FAILED_SECONDS = 1.0  # before the accepting thread begins again
_QUIET_SECONDS = 60.0  # before it is said again that there are none
_DRAIN_BYTES = 1 << 20
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_FIRST_LINE = re.compile(rb"([A-Z]+) (\S+) (HTTP/1\.[01])\r?\n")
_SIGNALS = (
    signal.valid_signals()
    - {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
    if hasattr(signal, "pthread_sigmask")
    else frozenset()
)
"""What is sent to a process; an error of a thread has to end it."""
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nserver: chaospoint\r\nretry-after: 1\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class Listener(TCPServer):
    """The socket, the thread that accepts, and a watch over the open connections.

    That thread reads the head of each request and waits for none of them. A request has a thread of
    its own from then on. Clients that the door does not know take no place from the others, and get
    no thread while more clients wait to be accepted.
    """

    allow_reuse_address = os.name == "posix"
    request_queue_size = 2048  # a client beyond these tries again after a second

    def __init__(
        self, service: Service, family: int, address: tuple[str, int], timeout: float
    ) -> None:
        self.service = service
        self.address_family = family
        self.timeout_seconds = timeout
        self.replies = Replies()  # what a fork waits for: nobody is in the middle of anything
        self.answers = Replies()  # what an end waits for: nobody is left without an answer
        self._open: dict[socket.socket, float] = {}  # the oldest first, and until when
        self._silent: dict[socket.socket, tuple[bytearray, Any]] = {}  # without a whole head
        self._served: dict[socket.socket, bool] = {}  # and whether the body is still to come
        self._strangers: set[socket.socket] = set()
        self._held_back = Semaphore(_MAX_HELD_BACK)
        self._guard = Lock()
        self._thread: Thread | None = None
        self._signals: set[Any] = set()  # which its threads do not take
        self._behind = False  # more clients wait than were accepted last
        self._rests_until = 0.0
        self._most_silent = _most_silent()
        self._quiet_until = 0.0
        super().__init__(address, BaseHTTPRequestHandler)  # see `_answer`
        self.socket.setblocking(False)
        self._waker, self._woken = socket.socketpair()
        self._files = (self.socket, self._waker, self._woken)
        self._found = [os.fstat(one.fileno()) for one in self._files if os.name == "posix"]
        self._spares = Spares(self._waker.fileno())

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
        for lost in (*self._files, *self._silent):
            lost.detach()
        self._silent.clear()

    def run(self) -> None:
        """Start the accepting thread, unless it runs."""
        with self._guard:
            if self._thread is None:
                self.replies.open()
                thread = OwnThread("chaospoint-admin", self._accept)
                start(thread)
                self._thread = thread

    def halt(self) -> None:
        """End the accepting thread; bounded in time."""
        with self._guard:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._waker.send(b"x")
            if thread is not current_thread():
                thread.join(5.0)

    def halt_if_idle(self, *, patient: bool) -> bool:
        """End the accepting thread if nobody is connected, nor waits to be; say whether.

        Without ``patient`` a client that has said nothing does not count.
        """
        if self._is_busy(patient):
            return False
        self.halt()
        try:
            if not self._is_busy(patient):
                self._admit(*self.socket.accept())
        except BlockingIOError:
            return True
        except OSError as error:
            _log.debug("the admin endpoint cannot see who waits: %r", error)
        self.run()
        return False

    def _is_busy(self, patient: bool) -> bool:
        wordless = [one for one, (head, _) in tuple(self._silent.items()) if not head]
        return len(self._open) > (0 if patient else len(wordless))

    def server_close(self) -> None:
        """Close the socket, also for a forked child that has not closed its own copy yet."""
        _shutdown(self.socket)
        super().server_close()

    def drop(self) -> None:
        """Close what is left of a server that is not to run again."""
        self.replies.close()
        self.answers.close()
        for connection in tuple(self._silent):
            self.shutdown_request(connection)
        for connection in tuple(self._open):
            _shutdown(connection)
        self._spares.drop()
        self._waker.close()
        self._woken.close()

    def disown(self) -> None:
        """Close every file of this object, and only the files: the parent still uses them."""
        self._spares.disown()
        for inherited in (*self._files, *self._open):
            with contextlib.suppress(OSError):  # a thread of the parent was closing it
                os.close(inherited.detach())
        self._open.clear()
        self._silent.clear()

    def at_work(self) -> contextlib.AbstractContextManager[None]:
        """Give up the descriptors that are kept for answering, if there are no others."""
        return self._spares.at_work()

    # -- the accepting thread ---------------------------------------------------------------

    def _accept(self) -> None:
        if _SIGNALS:
            # A thread that starts threads may be given a signal of the process just then. Its
            # handler waits for the main thread, and nothing wakes that up.
            self._signals = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        goes_on = True
        while goes_on:
            with contextlib.suppress(BaseException):  # a handler of the log may raise anything
                goes_on = self._fails()

    def _fails(self) -> bool:
        """Serve until `halt`; say whether that failed and is to begin again."""
        try:
            self._serve()
        except BaseException:
            if not self.is_open:
                # The process is becoming a daemon; the server is opened again.
                with contextlib.suppress(BaseException):
                    _log.debug("the files of the admin endpoint were closed", exc_info=True)
                return False
            try:
                _log.exception("the admin endpoint failed, and goes on")
            finally:
                sleep(_FAILED_SECONDS)
            return True
        return False

    def _serve(self) -> None:
        with contextlib.ExitStack() as ended:
            with self.at_work():
                selector = ended.enter_context(selectors.DefaultSelector())
            selector.register(self._woken, selectors.EVENT_READ)
            for connection in self._silent:
                selector.register(connection, selectors.EVENT_READ)
            accepting = False
            while True:
                resting = self._spares.lent or monotonic() < self._rests_until
                if accepting and resting:
                    selector.unregister(self.socket)
                elif not accepting and not resting:
                    selector.register(self.socket, selectors.EVENT_READ)
                accepting = not resting
                ready = {key.fileobj for key, _ in selector.select(self._patience(resting))}
                if self._woken in ready:
                    self._woken.recv(1)
                    return
                # First of all those who are here: none of them makes room with its head unread.
                for connection in tuple(self._silent):
                    if connection in ready:
                        selector.unregister(connection)
                        self._hear(connection, selector)
                self._behind = self.socket in ready and self._let_come(selector)
                self._cut_the_slow(selector)
                if self._spares.short:
                    self._spares.fill()

    def _patience(self, resting: bool) -> float | None:
        if resting:
            return _REST_SECONDS
        return self.timeout_seconds / 4 if self._open or self._spares.short else None

    def _let_come(self, selector: selectors.BaseSelector) -> bool:
        """Accept those who wait; if there are too many, the oldest that is still silent goes.

        Say whether more of them may wait.
        """
        # Without a descriptor to spare, Linux refuses to accept also where nobody waits.
        for _ in range(1 if self._spares.short else _AT_ONCE):
            try:
                connection, address = self._accepted(selector)
            except OSError:
                return False  # nobody waits any more, or this one has hung up
            self._admit(connection, address)
            self._hear(connection, selector)
            if len(self._silent) > self._most_silent:
                self._end(next(iter(self._silent)), selector)
        return True

    def _admit(self, connection: socket.socket, address: Any) -> None:
        connection.setblocking(False)
        self._open[connection] = monotonic() + self.timeout_seconds
        self._silent[connection] = bytearray(), address

    def _accepted(self, selector: selectors.BaseSelector) -> tuple[socket.socket, Any]:
        try:
            return self.socket.accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            self._say_exhausted(error)
            # Nobody else can take the descriptor that is given up here, unless at this instant.
            if not self._spares.give():
                if not self._silent:
                    self._rests_until = monotonic() + _REST_SECONDS
                    raise
                self._end(next(iter(self._silent)), selector)
            return self.socket.accept()

    def _say_exhausted(self, error: OSError) -> None:
        if monotonic() < self._quiet_until:
            return
        self._quiet_until = monotonic() + _QUIET_SECONDS
        _log.warning(
            "the admin endpoint has run out of file descriptors (%s) and answers few clients at a "
            "time: raise the limit (ulimit -n), or find what keeps files open",
            error.strerror,
        )

    def _hear(self, connection: socket.socket, selector: selectors.BaseSelector) -> None:
        """Read what a silent connection says; have its request served if the whole head is here."""
        head, address = self._silent[connection]
        try:
            said = connection.recv(_MAX_HEAD + 1)
        except BlockingIOError:
            said = None
        except OSError:
            said = b""
            head.clear()
        begin = max(0, len(head) - 3)
        head += said or b""
        if head.startswith(b"\r\n"):  # of a request before this one, as RFC 9112 2.2 has it
            del head[:2]
        if said is None or (said and not _is_whole(head, begin)):
            selector.register(connection, selectors.EVENT_READ)
            return
        del self._silent[connection]
        if not head:
            self.shutdown_request(connection)
            return
        try:
            self._hand_over(connection, address, bytes(head))
        except BaseException:  # whatever it is, it is over with this connection
            self._turn_away(connection)
            _log.exception("the admin endpoint failed for its client %s", address)

    def _hand_over(self, connection: socket.socket, address: Any, head: bytes) -> None:
        """Have a thread serve a request, if there is room among those of its kind."""
        asked = _glance(head, str(address[0]))
        if asked is None or not self.service.knows(asked):
            # Their threads would slow down the one that has to find the others.
            room = len(self._strangers) < _MAX_STRANGERS
            if self._behind or self._spares.short or not room:
                self._turn_away(connection)
                return
            self._strangers.add(connection)
        else:
            stops = is_order_to_disable(asked)
            most = _MAX_SERVED + _MAX_DISABLING * stops
            if len(self._served) >= most:
                late = (one for one, waits in tuple(self._served.items()) if waits)
                if (oldest := next(late, None)) is None:
                    self._turn_away(connection)
                    return
                # Its thread ends at once.
                self._served.pop(oldest, None)
                _shutdown(oldest)
            self._served[connection] = True
        try:
            answer = partial(transparently, self._answer, connection, address, head)
            Thread(target=answer, daemon=True).start()
        except RuntimeError:  # no thread can be started
            _log.warning("the admin endpoint cannot answer: no thread can be started")
            self._turn_away(connection)

    def _turn_away(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.send(_TOO_MANY)
        self.shutdown_request(connection)

    def _end(self, silent: socket.socket, selector: selectors.BaseSelector) -> None:
        selector.unregister(silent)
        del self._silent[silent]
        self.shutdown_request(silent)

    def _cut_the_slow(self, selector: selectors.BaseSelector) -> None:
        now = monotonic()
        for connection, until in tuple(self._open.items()):
            if now <= until:
                return
            if connection in self._silent:
                self._end(connection, selector)
            elif self._served.get(connection, True):
                _shutdown(connection)

    # -- the threads of requests ------------------------------------------------------------

    def _answer(self, connection: socket.socket, address: Any, head: bytes) -> None:
        """Serve one connection, on its own thread, where no point acts."""
        if _SIGNALS:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._signals)
        try:
            _Handler(connection, address, self, head)
        except OSError:
            _log.debug("the admin endpoint lost its client %s", address, exc_info=True)
        except Exception:
            _log.exception("the admin endpoint failed for its client %s", address)
        finally:
            self.shutdown_request(connection)

    def heard(self, connection: socket.socket, whole: bool = True) -> None:
        """Note whether the whole request of a connection is here; if not, it may be cut off."""
        if connection in self._served:
            self._served[connection] = not whole

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
        self._served.pop(request, None)
        self._strangers.discard(request)
        super().shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    """Carries one request to the service and its answer back."""

    # Only a `Listener` makes handlers, and it passes itself.
    server: Listener  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def __init__(
        self, connection: socket.socket, address: Any, server: Listener, head: bytes
    ) -> None:
        self._head = head  # what was read of the connection already
        super().__init__(connection, address, server)

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.timeout_seconds)
        self.rfile.close()
        self.rfile = io.BufferedReader(_Continued(self._head, self.connection))

    def handle(self) -> None:
        self.close_connection = True
        self.handle_one_request()

    def do_GET(self) -> None:
        headers = fold(self.headers.items())
        size = bytes_to_read(headers)
        client = str(self.client_address[0])
        request = request_of(self.command, self.path, self.request_version, headers, client)
        if not self.server.service.knows(request):
            size = 0  # it is refused unread
        if not is_order_to_disable(request):
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
        self.server.heard(self.connection, whole=False)
        _shutdown(self.connection, socket.SHUT_WR)
        left = _DRAIN_BYTES
        while left > 0 and (chunk := self.rfile.read1(MAX_BODY)):
            left -= len(chunk)


class _Continued(io.RawIOBase):
    """What was read of a connection already, and then what is still to come."""

    def __init__(self, head: bytes, connection: socket.socket) -> None:
        self._head = memoryview(head)
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._head:
            return self._connection.recv_into(buffer)
        size = min(len(buffer), len(self._head))
        buffer[:size], self._head = self._head[:size], self._head[size:]
        return size


def _most_silent() -> int:
    if resource is None:
        return _MAX_SILENT
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_SILENT if soft < 0 else max(1, min(_MAX_SILENT, soft // _SHARE))


def _is_whole(head: bytearray, begin: int) -> bool:
    """Say whether a head is complete, or will never be one.

    What stands before ``begin`` was looked at: a client that sends byte by byte costs no more.
    """
    if len(head) > _MAX_HEAD or _END_OF_HEAD.search(head, begin):
        return True
    return head.find(b"\n") >= begin and _FIRST_LINE.match(head) is None


def _glance(head: bytes, client: str) -> Request | None:
    """Return the request of a head as far as it says whom to serve first.

    Nothing else is decided by it: the request is parsed and judged again where it is served.
    """
    end, first = _END_OF_HEAD.search(head), _FIRST_LINE.match(head)
    if end is None or first is None:
        return None
    method, target, version = (part.decode("latin-1") for part in first.groups())
    lines = head[first.end() : end.start()].decode("latin-1").split("\n")
    pairs = (line.partition(":") for line in lines)
    headers = fold((name.strip(), value.strip()) for name, _, value in pairs)
    return request_of(method, target, version, headers, client)


def _shutdown(connection: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with contextlib.suppress(OSError):  # it is gone already
        connection.shutdown(how)
