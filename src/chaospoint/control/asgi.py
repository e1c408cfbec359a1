"""The admin endpoint as an ASGI app, for mounting in FastAPI, Starlette or another framework.

It answers on a thread of its own, so that a full thread pool cannot prevent disarming.  Requests to
disable are answered on the loop itself.  Behind a proxy, set a token: the address of a proxy may be
loopback, and forwarded headers are not trusted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any

from chaospoint._kernel.context import in_chaospoint, set_safely
from chaospoint.config import start
from chaospoint.control.http import MAX_BODY, STOP_SECONDS, Request, fold
from chaospoint.control.off_loop import answered, answered_on_loop
from chaospoint.control.service import Service
from chaospoint.sources.settings import read_settings

__all__ = ["app"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def app(service: Service | None = None) -> App:
    """Return an app for ``service``, by default for the default registry and the environment.

    Without ``service`` this also starts chaospoint, where that is allowed, as the first point does.
    """
    if service is None:
        start()
        service = Service.of(read_settings())
    home = service

    async def admin(scope: Message, receive: Receive, send: Send) -> None:
        # In the context of the caller, because middleware around `send` sets variables for later.
        before = in_chaospoint.get()
        set_safely(in_chaospoint, True)
        try:
            await _served(home, scope, receive, send)
        finally:
            set_safely(in_chaospoint, before)

    return admin


async def _served(service: Service, scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await _http(service, scope, receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})


async def _http(service: Service, scope: Message, receive: Receive, send: Send) -> None:
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    if root and path.startswith(root + "/"):  # a mounted app sees the whole path
        path = path[len(root) :]
    headers = fold(
        (key.decode("latin-1"), value.decode("latin-1")) for key, value in scope["headers"]
    )
    headers.pop("transfer-encoding", None)  # the server has decoded it
    client = scope.get("client") or ("", 0)
    query = scope.get("query_string", b"").decode("latin-1")
    version = f"HTTP/{scope.get('http_version', '')}"
    request = Request(scope["method"], path, headers, b"", str(client[0]), query, version)
    stops = service.stop_first(request)
    if stops and asyncio._get_running_loop() is not None:
        try:
            body = await asyncio.wait_for(_body(receive), STOP_SECONDS)
        except TimeoutError:
            body = None
    elif (body := await _body(receive)) is None:
        return
    steps = service.steps(replace(request, body=body or b""))
    response = await (answered_on_loop(steps) if stops else answered(steps))
    if response.delay_seconds:
        await asyncio.sleep(response.delay_seconds)
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [(k.encode(), v.encode("latin-1")) for k, v in response.headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": response.body})


async def _body(receive: Receive) -> bytes | None:
    """Return the body, or slightly more than its limit; None if the client disconnected."""
    body, more = b"", True
    while more and len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
