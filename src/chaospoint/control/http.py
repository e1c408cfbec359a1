"""What goes in and out of the admin endpoint: plain values, whatever carries them."""

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
"""The longest body that is looked at, in bytes."""

OPERATOR = "x-chaospoint-operator"
"""The header in which a client names its user. It is shown, and gives no rights."""

_ABSOLUTE = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)

STOP_SECONDS = 0.5
"""How long the body of a request that disables is waited for: only its reason is in there."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    ``path`` is percent-decoded and begins where the app is mounted; ``headers`` are lower case
    (see `fold`); ``body`` is what was read, never much more than `MAX_BODY`; ``client`` is the
    address of the peer of the connection, or empty if it has none; ``query`` is what stands
    behind the question mark, as it was sent; ``version`` is that of HTTP, such as ``HTTP/1.1``, or
    empty if it is not known.
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
    """One answer; ``body`` is empty for HEAD, while the headers tell of what GET would give.

    ``delay_seconds``: for how long it is held back from who guesses.
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
    """Make a response of bytes as they are, or of anything else as JSON."""
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
    """Make one mapping of header lines; a header sent twice becomes one value with a comma."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value.strip()
    return headers


def request_of(
    method: str, target: str, version: str, headers: Mapping[str, str], client: str
) -> Request:
    """Make a request, without its body, of a request line and headers.

    The target may be in absolute form. Its authority then stands for the Host header, which has
    to be the same.
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
    """Return how much body an adapter should read: 0 if it is to be refused unread."""
    length = headers.get("content-length", "")
    if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
        return 0
    return 0 if len(length) > 9 or int(length) > MAX_BODY else int(length)
