"""The socket of the background server: one request per connection, and a deadline per client.

Each request is handled on a daemon thread of its own.  The listener disconnects slow clients, and
refuses clients when there are too many.  A fork and the end of the server wait for the replies in
flight.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import signal
import socket
from functools import partial
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
from chaospoint.control.server.handler import Handler, shut_down
from chaospoint.control.server.head import MAX_HEAD, glance, is_complete
from chaospoint.control.server.in_flight import InFlight
from chaospoint.control.server.spares import Spares
from chaospoint.control.service import Service

__all__ = ["Listener"]

_log = logging.getLogger("chaospoint")
_MAX_SILENT = 256  # connections whose head has not arrived completely
_SHARE = 8  # silent connections use at most this fraction of the process's descriptors
_MAX_SERVED = 64  # requests of clients that have access
_MAX_DISABLING = 64  # additional requests, if they disable
_MAX_STRANGERS = 32  # requests of clients that have no access
_MAX_HELD_BACK = 16  # delayed refusals; the others get no answer
_AT_ONCE = 16  # connections that are accepted before the open ones are served again
_REST_SECONDS = 0.05  # pause after the process has run out of descriptors
_FAILED_SECONDS = 1.0  # pause before the accepting thread starts over
_QUIET_SECONDS = 60.0  # between two warnings about descriptors
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SIGNALS = (
    signal.valid_signals()
    - {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
    if hasattr(signal, "pthread_sigmask")
    else frozenset()
)
"""Signals that are sent to the process; those for errors of a thread stay unblocked."""
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nserver: chaospoint\r\nretry-after: 1\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class Listener(TCPServer):
    """The socket, the accepting thread, and the deadlines of the open connections.

    The accepting thread reads the head of each request and never blocks on a client.  After that,
    each request has a thread of its own.  Clients without access have a limit of their own, and
    get no thread while more clients wait to be accepted.
    """

    allow_reuse_address = os.name == "posix"
    request_queue_size = 2048  # further clients retry after a second

    def __init__(
        self, service: Service, family: int, address: tuple[str, int], timeout: float
    ) -> None:
        self.service = service
        self.address_family = family
        self.timeout_seconds = timeout
        self.replies = InFlight()  # a fork waits for these
        self.answers = InFlight()  # the end of the server waits for these
        self._open: dict[socket.socket, float] = {}  # with deadlines, the oldest first
        self._silent: dict[socket.socket, tuple[bytearray, Any]] = {}  # without a complete head
        self._served: dict[socket.socket, bool] = {}  # whether the body is incomplete
        self._strangers: set[socket.socket] = set()
        self._held_back = Semaphore(_MAX_HELD_BACK)
        self._guard = Lock()
        self._thread: Thread | None = None
        self._signals: set[Any] = set()  # the mask to restore in its threads
        self._behind = False  # more clients may wait to be accepted
        self._rests_until = 0.0
        self._most_silent = _most_silent()
        self._quiet_until = 0.0
        super().__init__(address, BaseHTTPRequestHandler)  # see `_answer`
        self.socket.setblocking(False)
        self._waker, self._woken = socket.socketpair()
        self._files = (self.socket, self._waker, self._woken)
        self._states = [os.fstat(file.fileno()) for file in self._files if os.name == "posix"]
        self._spares = Spares(self._waker.fileno())

    @property
    def is_open(self) -> bool:
        """Whether its files are still open: a program that daemonizes closes all descriptors."""
        try:
            states = [os.fstat(file.fileno()) for file in self._files if self._states]
        except OSError:
            return False
        return all(map(os.path.samestat, states, self._states))

    def forget(self) -> None:
        """Forget the files without closing them: other files may have their numbers now."""
        for file in (*self._files, *self._silent):
            file.detach()
        self._silent.clear()

    def run(self) -> None:
        """Start the accepting thread, unless it is running."""
        with self._guard:
            if self._thread is None:
                self.replies.open()
                thread = OwnThread("chaospoint-admin", self._accept)
                start(thread)
                self._thread = thread

    def halt(self) -> None:
        """End the accepting thread; wait for at most five seconds."""
        with self._guard:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._waker.send(b"x")
            if thread is not current_thread():
                thread.join(5.0)

    def halt_if_idle(self, *, patient: bool) -> bool:
        """End the accepting thread if no client is connected or waits; return whether it ended.

        Unless ``patient``, clients that have sent nothing do not count.
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
            _log.debug("the admin endpoint cannot check for waiting clients: %r", error)
        self.run()
        return False

    def _is_busy(self, patient: bool) -> bool:
        wordless = sum(not head for head, _ in tuple(self._silent.values()))
        return len(self._open) > (0 if patient else wordless)

    def server_close(self) -> None:
        """Close the socket, even if a forked child has not closed its copy yet."""
        shut_down(self.socket)
        super().server_close()

    def drop(self) -> None:
        """Close all connections and files of a server that will not run again."""
        self.replies.close()
        self.answers.close()
        for connection in tuple(self._silent):
            self.shutdown_request(connection)
        for connection in tuple(self._open):
            shut_down(connection)
        self._spares.drop()
        self._waker.close()
        self._woken.close()

    def disown(self) -> None:
        """Close the inherited descriptors without a shutdown: the parent still uses them."""
        self._spares.disown()
        for inherited in (*self._files, *self._open):
            with contextlib.suppress(OSError):  # a thread of the parent was closing it
                os.close(inherited.detach())
        self._open.clear()
        self._silent.clear()

    def at_work(self) -> contextlib.AbstractContextManager[None]:
        """Release the spare descriptors during an answer, if the process has no others."""
        return self._spares.at_work()

    # -- the accepting thread ---------------------------------------------------------------

    def _accept(self) -> None:
        if _SIGNALS:
            # If the kernel delivers a signal to this thread, its Python handler has to wait for the
            # main thread, and nothing wakes that up.
            self._signals = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        goes_on = True
        while goes_on:
            with contextlib.suppress(BaseException):  # a log handler may raise anything
                goes_on = self._fails()

    def _fails(self) -> bool:
        """Serve until `halt`; return whether it failed and must start over."""
        try:
            self._serve()
        except BaseException:
            if not self.is_open:
                # The program daemonizes; the server is opened again afterwards.
                with contextlib.suppress(BaseException):
                    _log.debug("the files of the admin endpoint were closed", exc_info=True)
                return False
            try:
                _log.exception("the admin endpoint failed, and continues")
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
                # First the open connections, so that none is dropped with its head unread.
                for connection in tuple(self._silent):
                    if connection in ready:
                        selector.unregister(connection)
                        self._receive(connection, selector)
                self._behind = self.socket in ready and self._accept_waiting(selector)
                self._disconnect_slow(selector)
                if self._spares.short:
                    self._spares.fill()

    def _patience(self, resting: bool) -> float | None:
        if resting:
            return _REST_SECONDS
        return self.timeout_seconds / 4 if self._open or self._spares.short else None

    def _accept_waiting(self, selector: selectors.BaseSelector) -> bool:
        """Accept waiting clients; disconnect the oldest silent one where there are too many.

        Return whether more clients may wait.
        """
        # Without a free descriptor, Linux refuses to accept even if no client waits.
        for _ in range(1 if self._spares.short else _AT_ONCE):
            try:
                connection, address = self._accepted(selector)
            except OSError:
                return False  # no more clients, or this one has disconnected
            self._admit(connection, address)
            self._receive(connection, selector)
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
            self._warn_exhausted(error)
            # Another thread can take the released descriptor only in this instant.
            if not self._spares.give():
                if not self._silent:
                    self._rests_until = monotonic() + _REST_SECONDS
                    raise
                self._end(next(iter(self._silent)), selector)
            return self.socket.accept()

    def _warn_exhausted(self, error: OSError) -> None:
        if monotonic() < self._quiet_until:
            return
        self._quiet_until = monotonic() + _QUIET_SECONDS
        _log.warning(
            "the process has run out of file descriptors (%s), so the admin endpoint answers few "
            "clients at a time: raise the limit (ulimit -n), or find the files that stay open",
            error.strerror,
        )

    def _receive(self, connection: socket.socket, selector: selectors.BaseSelector) -> None:
        """Read from a silent connection, and serve its request if the head is complete."""
        head, address = self._silent[connection]
        try:
            data = connection.recv(MAX_HEAD + 1)
        except BlockingIOError:
            data = None
        except OSError:
            data = b""
            head.clear()
        begin = max(0, len(head) - 3)
        head += data or b""
        if head.startswith(b"\r\n"):  # left over from the request before, see RFC 9112 section 2.2
            del head[:2]
        if data is None or (data and not is_complete(head, begin)):
            selector.register(connection, selectors.EVENT_READ)
            return
        del self._silent[connection]
        if not head:
            self.shutdown_request(connection)
            return
        try:
            self._hand_over(connection, address, bytes(head))
        except BaseException:  # an exception ends this connection, and not the thread
            self._refuse(connection)
            _log.exception("the admin endpoint failed for its client %s", address)

    def _hand_over(self, connection: socket.socket, address: Any, head: bytes) -> None:
        """Serve a request on a new thread, if there is room among those of its kind."""
        request = glance(head, str(address[0]))
        if request is None or not self.service.knows(request):
            # Their threads would slow down this one, which has to find the other clients.
            room = len(self._strangers) < _MAX_STRANGERS
            if self._behind or self._spares.short or not room:
                self._refuse(connection)
                return
            self._strangers.add(connection)
        else:
            stops = is_order_to_disable(request)
            most = _MAX_SERVED + _MAX_DISABLING * stops
            if len(self._served) >= most:
                late = (other for other, waits in tuple(self._served.items()) if waits)
                if (oldest := next(late, None)) is None:
                    self._refuse(connection)
                    return
                # The thread of that request then ends at once.
                self._served.pop(oldest, None)
                shut_down(oldest)
            self._served[connection] = True
        try:
            answer = partial(transparently, self._answer, connection, address, head)
            Thread(target=answer, daemon=True).start()
        except RuntimeError:  # no thread can be started
            _log.warning("the admin endpoint cannot answer: no thread can be started")
            self._refuse(connection)

    def _refuse(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.send(_TOO_MANY)
        self.shutdown_request(connection)

    def _end(self, silent: socket.socket, selector: selectors.BaseSelector) -> None:
        selector.unregister(silent)
        del self._silent[silent]
        self.shutdown_request(silent)

    def _disconnect_slow(self, selector: selectors.BaseSelector) -> None:
        now = monotonic()
        for connection, until in tuple(self._open.items()):
            if now <= until:
                return
            if connection in self._silent:
                self._end(connection, selector)
            elif self._served.get(connection, True):
                shut_down(connection)

    # -- the threads of requests ------------------------------------------------------------

    def _answer(self, connection: socket.socket, address: Any, head: bytes) -> None:
        """Serve one connection, on its own thread, with every point transparent."""
        if _SIGNALS:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._signals)
        try:
            Handler(connection, address, self, head)
        except OSError:
            _log.debug("the admin endpoint lost its client %s", address, exc_info=True)
        except Exception:
            _log.exception("the admin endpoint failed for its client %s", address)
        finally:
            self.shutdown_request(connection)

    def note_body(self, connection: socket.socket, complete: bool = True) -> None:
        """Note whether a request has arrived completely; if not, its client may be too slow."""
        if connection in self._served:
            self._served[connection] = not complete

    def hold_back(self, seconds: float) -> bool:
        """Delay a refusal; return False if too many are delayed already."""
        if not self._held_back.acquire(blocking=False):
            return False
        try:
            sleep(seconds)
        finally:
            self._held_back.release()
        return True

    def shutdown_request(self, request: Any) -> None:
        """Close one connection."""
        self._open.pop(request, None)
        self._served.pop(request, None)
        self._strangers.discard(request)
        super().shutdown_request(request)


def _most_silent() -> int:
    if resource is None:
        return _MAX_SILENT
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_SILENT if soft < 0 else max(1, min(_MAX_SILENT, soft // _SHARE))
