"""Run ``chaospoint disable`` with the standard library alone, so that it is fast on a busy machine.

It handles the plain case. For unusual arguments and for errors it returns None, and the full
command runs instead; disabling twice does no harm.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from chaospoint.cli.acknowledgement import in_force, is_acknowledgement, warnings_of

__all__ = ["Answer", "Document", "Options", "disable", "post", "read_options", "say", "show"]

_DEFAULT_URL = "http://127.0.0.1:8475"
_TIMEOUT_SECONDS = 10.0
_UNACKNOWLEDGED = 4

Document = Mapping[str, Any]


class Options(NamedTuple):
    """The options of ``disable``; either ``url`` or ``store`` is not empty."""

    url: str
    store: str
    reason: str
    as_json: bool


class Answer(NamedTuple):
    """An HTTP response; ``document`` is None if the body is not JSON."""

    status: int
    reason: str
    media: str
    document: Any


def disable(arguments: Sequence[str]) -> int | None:
    """Run ``disable``, print the result and return the exit code.

    Return None, and print nothing, for another command, unusual arguments or an error.
    """
    options = read_options(arguments)
    if options is None:
        return None
    try:
        document = _over_http(options) if options.url else _in_store(options)
    except Exception:
        return None  # the full command reports the error
    if document is None:
        return None
    try:
        return show(document, options)
    except OSError:
        return None


def show(document: Document, options: Options) -> int:
    """Print the result and return the exit code."""
    if options.as_json:
        print(json.dumps(document), flush=True)
    else:
        where = in_force(document)
        print(f"disabled, {where}, generation {document['generation']}", flush=True)
    if reached := document.get("reached"):
        say(str(reached))
    for warning in warnings_of(document, options.url or options.store):
        say(warning)
    return _UNACKNOWLEDGED if document.get("missing") else 0


def read_options(arguments: Sequence[str]) -> Options | None:
    """Return the options of a plain ``disable``, and None for any other command line."""
    values = {"--url": "", "--store": "", "--reason": ""}
    commands: list[str] = []
    as_json = False
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        if option in values:
            if option == "--reason" and not commands:
                return None  # an option of the command stands before it
            given = value if equals else next(rest, None)
            if given is None:
                return None
            values[option] = given
        elif argument == "--json":
            as_json = True
        else:
            commands.append(argument)
    url, store = values["--url"], values["--store"]
    if commands != ["disable"] or (url and store):
        return None
    if not url and not store:
        url = os.environ.get("CHAOSPOINT_URL", "").strip()
        store = "" if url else os.environ.get("CHAOSPOINT_STORE", "").strip()
        url = url if url or store else _DEFAULT_URL
    return Options(url, store, values["--reason"], as_json)


def _over_http(options: Options) -> Document | None:
    """Return the answer of the service; None for an error, and for another program's answer."""
    answer = post(options)
    if answer is None or answer.status != 200 or answer.media != "application/json":
        return None
    return answer.document if is_acknowledgement(answer.document) else None


def post(options: Options) -> Answer | None:
    """Send the request and return the answer; None if the URL is not an HTTP address.

    Raises `OSError` and `http.client.HTTPException`.
    """
    from http.client import HTTPConnection, HTTPSConnection

    from chaospoint.cli.user import user

    parts = urlsplit(options.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        return None
    headers = {"accept": "application/json", "x-chaospoint-operator": _ascii(user())}
    token = os.environ.get("CHAOSPOINT_ADMIN_TOKEN", "").strip()
    if token:
        headers["authorization"] = f"Bearer {token}".encode().decode("latin-1")
    body = b""
    if options.reason:
        body = json.dumps({"reason": options.reason}).encode()
        headers["content-type"] = "application/json"
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("POST", f"{parts.path.rstrip('/')}/v1/disable", body, headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    return Answer(response.status, response.reason, response.headers.get_content_type(), document)


def _in_store(options: Options) -> Document | None:
    """Turn the switch of the store off and return which workers have followed.

    Return None where only the full command knows what to do.
    """
    from chaospoint.cli.user import user
    from chaospoint.control.audit import Audit
    from chaospoint.control.reason import one_line
    from chaospoint.stores import directory_of
    from chaospoint.stores.acknowledging import acknowledged, run_blocking
    from chaospoint.stores.switching_off import WorkersOf, switched_off

    path = unquote(urlsplit(options.store).path, errors="surrogateescape")
    unusual = options.as_json or "CHAOSPOINT_AUDIT_LOG" in os.environ
    if unusual or path != directory_of(options.store) or not os.path.isdir(path):
        return None
    by, reason = f"cli {user()}".strip(), one_line(options.reason)
    generation = run_blocking(switched_off(path, by=by, now=time.time(), reason=reason))
    Audit.of_store(path).record(
        "disable", 200, who=by, client="shell", generation=generation, reason=reason
    )
    return run_blocking(acknowledged(WorkersOf(path), generation)).as_data()


def say(message: str) -> None:
    """Print a message to stderr, with unprintable characters escaped."""
    printable = (
        character if character.isprintable() else ascii(character)[1:-1] for character in message
    )
    print(f"chaospoint: {''.join(printable)}", file=sys.stderr)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
