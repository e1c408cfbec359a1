"""Find the reason for disabling in the query or body of a request.

Web pages, alert managers and scripts send JSON, forms or plain text.  No body is refused: without a
reason, the result is empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote_plus

from chaospoint.control.http import MAX_BODY, Request
from chaospoint.models import strict_json

__all__ = ["MAX_REASON", "one_line", "reason_of"]

MAX_REASON = 200
"""The longest reason, in characters; longer ones are cut."""

_BOUNDARY = re.compile(r'(?i)[;\s]boundary="?([^";]+)')
_FIELD = re.compile(r'(?i)[;\s]name="?([^";\r\n]+)')
_KEYS = ("reason", "summary", "message", "text", "title", "description")


def reason_of(request: Request) -> str:
    """Return the reason in the query or the body as one line, or an empty text."""
    reason = _in_form(request.query)
    if not reason and len(request.body) <= MAX_BODY:
        reason = _in_body(request.body, request.headers.get("content-type", ""))
    return one_line(reason)


def one_line(text: str, *, most: int = MAX_REASON) -> str:
    """Return the text as one printable line, cut to ``most`` characters."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _in_body(body: bytes, content_type: str) -> str:
    media = content_type.partition(";")[0].strip().lower()
    if media == "multipart/form-data":
        return _in_parts(body, content_type)
    text = body.decode("utf-8", "replace").strip()
    try:
        value = strict_json.loads(body)
    except ValueError:
        if media == "application/x-www-form-urlencoded":
            return _in_form(text) or _bare(text)
        bare = media in ("", "application/json") and not text.startswith(("{", "[", '"'))
        return text if bare or media.startswith("text/") else ""
    return _in_json(value)


def _bare(text: str) -> str:
    """Return plain text that was sent as a form, which is the default type of curl."""
    key, equals, _ = text.partition("=")
    return text if " " in key else "" if equals else unquote_plus(text)


def _in_form(text: str) -> str:
    try:
        fields = parse_qs(text, errors="replace", max_num_fields=100)
    except ValueError:
        return ""
    return _of_keys({key: values[0] for key, values in fields.items()})


def _in_parts(body: bytes, content_type: str) -> str:
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        return ""
    fields: dict[str, str] = {}
    for part in body.split(f"--{boundary[1]}".encode())[1:]:
        head, _, value = part.partition(b"\r\n\r\n")
        if (name := _FIELD.search(head.decode("utf-8", "replace"))) is not None:
            fields.setdefault(name[1], value.decode("utf-8", "replace").strip())
    return _of_keys(fields)


def _in_json(value: object) -> str:
    """Return a text, the value of a key such as ``reason``, or the summary of an alert."""
    if not isinstance(value, Mapping | list):
        return _plain(value)
    alerts = _get(value, "alerts")
    first = alerts[0] if isinstance(alerts, list) and alerts else None
    return (
        _of_keys(value)
        or _alert(_get(value, "commonLabels"), _get(value, "commonAnnotations"))
        or _alert(_get(first, "labels"), _get(first, "annotations"))
    )


def _alert(labels: object, notes: object) -> str:
    """Return name and summary of an alert of Alertmanager."""
    return ": ".join(filter(None, (_text(labels, "alertname"), _of_keys(notes))))


def _of_keys(value: object) -> str:
    if not isinstance(value, Mapping):
        return ""
    named = {str(key).lower(): item for key, item in reversed(tuple(value.items()))}
    return next(filter(None, (_plain(named.get(key)) for key in _KEYS)), "")


def _text(value: object, key: str) -> str:
    return _plain(_get(value, key))


def _plain(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number or isinstance(value, str) else ""


def _get(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, Mapping) else None
