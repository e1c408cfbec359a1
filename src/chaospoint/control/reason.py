"""Why somebody disables, found in whatever body the request has.

Pages, alert managers and scripts send JSON, forms or plain text.  Nothing in here refuses anything:
a body without a reason gives an empty one.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from chaospoint.control.messages import MAX_BODY, Request
from chaospoint.models import strict_json

__all__ = ["MAX_REASON", "one_line", "reason_of"]

MAX_REASON = 200
"""The longest reason that is kept, in characters."""

_KEYS = ("reason", "summary", "message", "text", "title", "description")


def reason_of(request: Request) -> str:
    """Return the reason in the query or the body as one line, or an empty text."""
    found = _in_form(request.query)
    if not found and len(request.body) <= MAX_BODY:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        found = _in_body(request.body, media)
    return one_line(found)


def one_line(text: str, *, most: int = MAX_REASON) -> str:
    """Return the text as one printable line, cut to ``most`` characters."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _in_body(body: bytes, media: str) -> str:
    try:
        return _in_json(strict_json.loads(body))
    except ValueError:
        pass
    text = body.decode("utf-8", "replace")
    if media == "application/x-www-form-urlencoded":
        return _in_form(text)
    return text if media == "text/plain" else ""


def _in_form(text: str) -> str:
    try:
        fields = parse_qs(text, errors="replace", max_num_fields=100)
    except ValueError:
        return ""
    return next((fields[key][0] for key in _KEYS if key in fields), "")


def _in_json(value: object) -> str:
    """Return a text itself, what stands under a key of that meaning, or what an alert says."""
    if isinstance(value, str):
        return value
    alerts = _get(value, "alerts")
    first = alerts[0] if isinstance(alerts, list) and alerts else None
    return (
        _said(value)
        or _alert(_get(value, "commonLabels"), _get(value, "commonAnnotations"))
        or _alert(_get(first, "labels"), _get(first, "annotations"))
    )


def _alert(labels: object, notes: object) -> str:
    """Return the name of an Alertmanager's alert and its summary."""
    return ": ".join(filter(None, (_text(labels, "alertname"), _said(notes))))


def _said(value: object) -> str:
    return next(filter(None, (_text(value, key) for key in _KEYS)), "")


def _text(value: object, key: str) -> str:
    found = _get(value, key)
    return found if isinstance(found, str) else ""


def _get(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, Mapping) else None
