"""The background server of the admin endpoint, for programs without a web server to mount it in.

Without a token, other machines cannot reach it.  It imports nothing while it runs, because the
program that starts it may be in the middle of an import.
"""

from __future__ import annotations

import errno
import logging
import socket
from time import monotonic

from chaospoint._kernel.lock import Lock
from chaospoint.control.access import is_loopback
from chaospoint.control.server.listener import Listener
from chaospoint.control.service import Service
from chaospoint.stores.acknowledging import ACK_TIMEOUT_SECONDS

__all__ = ["AdminServer"]

_log = logging.getLogger("chaospoint")


class AdminServer:
    """Serves one `Service` at ``host:port`` in the background; port 0 means any free port.

    `open` binds the port and starts serving; `close` ends it, and `open` may be called again.
    `pause` and `resume` are for forks: the socket stays open, and clients wait.  ``shared``: the
    process that holds the port answers for this one, too.  Safe from any thread.
    """

    def __init__(
        self,
        service: Service,
        host: str,
        port: int,
        *,
        token: bool,
        shared: bool = False,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._service = service
        self._wanted = (host, port)
        self._resolved: tuple[int, str] | None = None
        self._token = token
        self._shared = shared
        self._timeout = timeout_seconds
        self._guard = Lock()
        self._listener: Listener | None = None
        self._patient_until: float | None = None  # set by `leave`

    @property
    def url(self) -> str | None:
        """The URL of the server, or None if it is not serving."""
        listener = self._current()
        if listener is None:
            return None
        host, port = map(str, listener.server_address[:2])
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def open(self, *, taken: int | None = logging.WARNING) -> bool:
        """Bind the port and serve; if that fails, log the reason and return False.

        ``taken`` is the log level for a port that another process holds; None logs no failure.
        Raises nothing.
        """
        with self._guard:
            self._patient_until = None
            if self._current() is None:
                self._listener = self._bind(taken)
            if self._listener is None:
                return False
            self._listener.run()
            return True

    def close(self) -> None:
        """End the server; wait some seconds at most for the answers in flight."""
        with self._guard:
            listener, self._listener = self._current(), None
        if listener is not None:
            _end(listener)

    def leave(self) -> None:
        """Release the port if no client is connected, so that no request is lost; call it again.

        A silent client delays this for ``timeout_seconds`` at most.
        """
        with self._guard:
            if (listener := self._current()) is None:
                return
            if self._patient_until is None:
                self._patient_until = monotonic() + self._timeout
            if not listener.halt_if_idle(patient=monotonic() < self._patient_until):
                return
            self._listener = None
        _end(listener)

    def pause(self) -> None:
        """End the thread after the replies in flight; new clients wait."""
        if (listener := self._current()) is not None:
            listener.halt()
            listener.replies.shut(1.0)

    def resume(self) -> None:
        """Continue after `pause`."""
        with self._guard:
            if (listener := self._current()) is not None:
                listener.run()

    def renew(self) -> None:
        """Close the inherited files, in a forked child, before anything else."""
        self._guard = Lock()
        listener, self._listener = self._current(), None
        if listener is not None:
            listener.disown()

    def _current(self) -> Listener | None:
        """Return the listener, unless the program has closed its files."""
        with self._guard:
            if self._listener is not None and not self._listener.is_open:
                self._listener.forget()
                self._listener = None
            return self._listener

    def _bind(self, taken: int | None) -> Listener | None:
        host, port = self._wanted
        try:
            # Only once: in a forked child the resolver's locks may be held for ever.
            self._resolved = self._resolved or _resolve(host, port)
            family, address = self._resolved
            if not self._token and not is_loopback(address):
                if taken is None:
                    return None
                _log.warning(
                    "the admin endpoint is not served: other machines can reach %s, which "
                    "requires a token: set CHAOSPOINT_ADMIN_TOKEN, or CHAOSPOINT_ADMIN="
                    "127.0.0.1:%s",
                    host,
                    port,
                )
                return None
            return Listener(self._service, family, (address, port), self._timeout)
        except (OSError, UnicodeError) as error:
            if taken is None:
                return None
            if getattr(error, "errno", None) != errno.EADDRINUSE:
                _log.warning(
                    "the admin endpoint is not served: %s port %s cannot be bound (%s); set "
                    "CHAOSPOINT_ADMIN to another address, such as 127.0.0.1:8475",
                    host,
                    port,
                    error,
                )
            elif self._shared:
                _log.info(
                    "the admin endpoint is served by another process of the same store, or %s port "
                    "%s is in use by another program; this process takes it when it is free",
                    host,
                    port,
                )
            else:
                _log.log(
                    taken,
                    "the admin endpoint is not served: %s port %s is in use by another process, "
                    "so this one follows only environment and file until it is free; with a "
                    "CHAOSPOINT_STORE one endpoint reaches all processes; CHAOSPOINT_ADMIN=%s:0 "
                    "gives each process a port of its own",
                    host,
                    port,
                    f"[{host}]" if ":" in host else host,
                )
            return None


def _end(listener: Listener) -> None:
    """End a listener for good; new clients are refused, or reach the next one at this port."""
    listener.halt()
    listener.server_close()
    listener.answers.wait(ACK_TIMEOUT_SECONDS + 1.0)
    listener.drop()


def _resolve(host: str, port: int) -> tuple[int, str]:
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # People expect localhost to mean its IPv4 address.
    family, _, _, _, address = min(addresses, key=lambda info: info[0] != socket.AF_INET)
    return family, str(address[0])
