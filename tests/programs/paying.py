"""A service with one point, for WSGI, ASGI and Celery workers; each answer has the pid."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import chaospoint


@chaospoint.point("payment.charge")
def charge() -> str:
    return "paid"


def answer() -> bytes:
    try:
        said = charge()
    except TimeoutError:
        said = "timed out"
    return json.dumps({"pid": os.getpid(), "said": said}).encode()


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("content-type", "application/json")])
    return [answer()]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer()})
