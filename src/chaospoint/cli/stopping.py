"""``chaospoint disable`` with the standard library alone: it has to work fast on a busy machine.

Whatever is out of the ordinary, in the arguments or in what comes back, is left to the command as
it stands among the others: disabling twice does no harm.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from chaospoint.cli.acknowledgement import in_force, is_acknowledgement, unfollowed

__all__ = ["Answer", "Asked", "Document", "asked_by", "disabled", "post", "say", "shown"]

_DEFAULT_URL = "http://127.0.0.1:8475"
_TIMEOUT_SECONDS = 10.0
_UNACKNOWLEDGED = 4

Document = Mapping[str, Any]


class Asked(NamedTuple):
    """What the arguments say."""

    url: str
    store: str
    reason: str
    as_json: bool


class Answer(NamedTuple):
    """What answered over HTTP; ``document`` is None where it is not JSON."""

    status: int
    reason: str
    media: str
    document: Any


def disabled(arguments: Sequence[str]) -> int | None:
    """Carry out ``disable``, print the result and return the exit code.

    Return None, and have printed nothing, for another command or anything out of the ordinary.
    """
    asked = asked_by(arguments)
    if asked is None:
        return None
    try:
        document = _over_http(asked) if asked.url else _in_store(asked)
    except Exception:
        return None  # what is wrong is said by the usual way
    if document is None:
        return None
    try:
        return shown(document, asked)
    except OSError:
        return None


def shown(document: Document, asked: Asked) -> int:
    """Print the result and return the exit code."""
    if asked.as_json:
        print(json.dumps(document), flush=True)
    else:
        where = in_force(document)
        print(f"disabled, {where}, generation {document['generation']}", flush=True)
    if reached := document.get("reached"):
        say(str(reached))
    for remark in unfollowed(document, asked.url or asked.store):
        say(remark)
    return _UNACKNOWLEDGED if document.get("missing") else 0


def asked_by(arguments: Sequence[str]) -> Asked | None:
    """Return what is asked for, if it is a plain ``disable`` with options of its own."""
    found = {"--url": "", "--store": "", "--reason": ""}
    commands: list[str] = []
    as_json = False
    rest = iter(arguments)
    for one in rest:
        option, equals, value = one.partition("=")
        if option in found:
            if option == "--reason" and not commands:
                return None  # it is an option of the command
            given = value if equals else next(rest, None)
            if given is None:
                return None
            found[option] = given
        elif one == "--json":
            as_json = True
        else:
            commands.append(one)
    url, store = found["--url"], found["--store"]
    if commands != ["disable"] or (url and store):
        return None
    if not url and not store:
        url = os.environ.get("CHAOSPOINT_URL", "").strip()
        store = "" if url else os.environ.get("CHAOSPOINT_STORE", "").strip()
        url = url if url or store else _DEFAULT_URL
    return Asked(url, store, found["--reason"], as_json)


def _over_http(asked: Asked) -> Document | None:
    """Return the answer of the service; None for an error, or an answer of another program."""
    answer = post(asked)
    if answer is None or answer.status != 200 or answer.media != "application/json":
        return None
    return answer.document if is_acknowledgement(answer.document) else None


def post(asked: Asked) -> Answer | None:
    """Return what answers at the address; None if it is not an address.

    Raises `OSError` and `http.client.HTTPException`.
    """
    from http.client import HTTPConnection, HTTPSConnection

    from chaospoint.cli.user import user

    parts = urlsplit(asked.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        return None
    headers = {"accept": "application/json", "x-chaospoint-operator": _ascii(user())}
    token = os.environ.get("CHAOSPOINT_ADMIN_TOKEN", "").strip()
    if token:
        headers["authorization"] = f"Bearer {token}".encode().decode("latin-1")
    body = b""
    if asked.reason:
        body = json.dumps({"reason": asked.reason}).encode()
        headers["content-type"] = "application/json"
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("POST", f"{parts.path.rstrip('/')}/v1/disable", body, headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    return Answer(answer.status, answer.reason, answer.headers.get_content_type(), document)


def _in_store(asked: Asked) -> Document | None:
    """Write it into the store, and return which workers run it."""
    from chaospoint.cli.user import user
    from chaospoint.control.audit import Audit
    from chaospoint.control.reason import one_line
    from chaospoint.stores import directory_of
    from chaospoint.stores.acknowledging import acknowledged, run_blocking
    from chaospoint.stores.switching_off import WorkersOf, switched_off

    path = unquote(urlsplit(asked.store).path, errors="surrogateescape")
    odd = asked.as_json or "CHAOSPOINT_AUDIT_LOG" in os.environ
    if odd or path != directory_of(asked.store) or not os.path.isdir(path):
        return None
    by, reason = f"cli {user()}".strip(), one_line(asked.reason)
    generation = run_blocking(switched_off(path, by=by, now=time.time(), reason=reason))
    Audit.of_store(path).record(
        "disable", 200, who=by, client="shell", generation=generation, reason=reason
    )
    return run_blocking(acknowledged(WorkersOf(path), generation)).as_data()


def say(message: str) -> None:
    """Print a message on standard error, with what a terminal would obey escaped."""
    printable = (one if one.isprintable() else ascii(one)[1:-1] for one in message)
    print(f"chaospoint: {''.join(printable)}", file=sys.stderr)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
