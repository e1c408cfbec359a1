"""The admin endpoint as a WSGI app, for mounting in Flask, Django or another framework.

Behind a proxy, set a token: the address of a proxy may be loopback, and forwarded headers are not
trusted.  A wrong token is refused without a delay, which would occupy a thread of the program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from chaospoint._kernel.context import transparently
from chaospoint.config import start
from chaospoint.control.http import MAX_BODY, Request, Response, bytes_to_read, fold
from chaospoint.control.service import Service
from chaospoint.sources.settings import read_settings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["app"]


def app(service: Service | None = None) -> WSGIApplication:
    """Return an app for ``service``, by default for the default registry and the environment.

    Without ``service`` this also starts chaospoint, where that is allowed, as the first point does.
    """
    if service is None:
        start()
        service = Service.of(read_settings())
    home = service

    def admin(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = transparently(_answered, home, environ)
        phrase = HTTPStatus(response.status).phrase
        # In the context of the caller, where middleware sets its variables.
        start_response(f"{response.status} {phrase}", list(response.headers.items()))
        return [response.body]

    return admin


def _answered(service: Service, environ: WSGIEnvironment) -> Response:
    request, size = _request(environ)
    stops = service.stop_first(request)
    try:
        body = environ["wsgi.input"].read(size) if size else b""
    except OSError:
        if not stops:
            raise
        body = b""
    return service.answer(replace(request, body=body))


def _request(environ: WSGIEnvironment) -> tuple[Request, int]:
    """Return the request without its body, and the number of bytes to read."""
    headers = fold(_headers(environ))
    size = bytes_to_read(headers)
    if "content-length" not in headers and environ.get("wsgi.input_terminated"):
        # The server has decoded the transfer encoding, and ends the input after the body.
        headers.pop("transfer-encoding", None)
        size = MAX_BODY + 1
    request = Request(
        environ["REQUEST_METHOD"],
        environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace"),
        headers,
        b"",
        environ.get("REMOTE_ADDR", ""),
        environ.get("QUERY_STRING", ""),
        environ.get("SERVER_PROTOCOL", ""),
    )
    return request, size


def _headers(environ: WSGIEnvironment) -> Iterator[tuple[str, str]]:
    for key, value in environ.items():
        name = key.removeprefix("HTTP_")
        if name != key or (key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value):
            yield name.replace("_", "-"), value
