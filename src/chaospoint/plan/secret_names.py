"""Recognise names of labels and arguments that look like those of secrets.

A client that can test whether an argument matches a pattern can guess its value letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["looks_secret"]

_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|\d+")
_ANYWHERE: Final = (
    "accesskey",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "sessionid",
    "token",
)
_WORDS: Final = frozenset(
    {
        "auth",
        "bearer",
        "csrf",
        "cvc",
        "cvv",
        "environ",
        "header",
        "headers",
        "jwt",
        "key",
        "keys",
        "otp",
        "pass",
        "pin",
        "pwd",
        "ssn",
        "xsrf",
    }
)


def looks_secret(name: str, more: Iterable[str] = ()) -> bool:
    """Return whether a name is like that of a secret: ``api_key``, ``apiKey``, ``X-Auth-Token``.

    ``more``: further names, compared without case, with the whole name and with each word in it.
    """
    lower = name.lower()
    words = [word.lower() for word in _WORD.findall(name)]
    joined = "".join(words)
    further = {other.lower() for other in more}
    return (
        any(part in joined for part in _ANYWHERE)
        or not _WORDS.isdisjoint(words)
        or lower in further
        or not further.isdisjoint(words)
    )
