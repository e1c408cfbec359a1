"""Requests and responses of the admin endpoint, as plain values for every kind of server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

__all__ = [
    "MAX_BODY",
    "OPERATOR",
    "STOP_SECONDS",
    "Request",
    "Response",
    "bytes_to_read",
    "fold",
    "reply",
    "request_of",
]

MAX_BODY = 64 * 1024
"""The longest body that is accepted, in bytes."""

OPERATOR = "x-chaospoint-operator"
"""The header in which a client names its user; it is shown, and gives no access."""

_ABSOLUTE = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)

STOP_SECONDS = 0.5
"""How long a request to disable waits for its body, which can only hold a reason."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    ``path`` is percent-decoded and relative to the mount point of the app.  The names in
    ``headers`` are in lower case (see `fold`).  ``body`` is never much longer than `MAX_BODY`.
    ``client`` is the peer address of the connection, or empty if there is none.  ``query`` is the
    raw text after the question mark.  ``version`` is that of HTTP, such as ``HTTP/1.1``, or empty
    if unknown.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    client: str = ""
    query: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """One response; for HEAD, ``body`` is empty and the headers are those of GET.

    ``delay_seconds`` is how long the adapter delays it, because the client may be guessing tokens.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    delay_seconds: float = 0.0


def reply(
    status: int,
    content: object,
    *,
    media: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a response with ``content``: bytes unchanged, everything else as JSON."""
    body = (
        content if isinstance(content, bytes) else (json.dumps(content, indent=2) + "\n").encode()
    )
    return Response(
        status,
        {
            "content-type": media,
            "content-length": str(len(body)),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **(headers or {}),
        },
        body,
    )


def fold(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers as a mapping; values of a repeated header are joined by commas."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value.strip()
    return headers


def request_of(
    method: str, target: str, version: str, headers: Mapping[str, str], client: str
) -> Request:
    """Return a request, without its body, for a request line and headers.

    If the target is in absolute form, its authority replaces the Host header, which must agree.
    """
    if absolute := _ABSOLUTE.match(target):
        authority, target = absolute[1], target[absolute.end() :] or "/"
        target = target if target.startswith("/") else f"/{target}"
        host = headers.get("host", authority)
        both = authority if host.lower() == authority.lower() else f"{host}, {authority}"
        headers = {**headers, "host": both}
    path, _, query = target.partition("?")
    return Request(method, unquote(path), headers, b"", client, query, version)


def bytes_to_read(headers: Mapping[str, str]) -> int:
    """Return how many bytes of body to read; 0 if the request will be refused without them."""
    length = headers.get("content-length", "")
    if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
        return 0
    return 0 if len(length) > 9 or int(length) > MAX_BODY else int(length)
