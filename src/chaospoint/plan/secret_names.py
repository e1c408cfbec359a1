"""Which names of labels and arguments look like those of secrets.

Who may ask whether an argument matches a pattern can guess it letter by letter.
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
    """Tell whether a name is one of a secret: ``api_key``, ``apiKey``, ``X-Auth-Token``.

    ``more``: further names, which count in lower and upper case, and as a word of a longer name.
    """
    lower = name.lower()
    words = [word.lower() for word in _WORD.findall(name)]
    joined = "".join(words)
    further = {one.lower() for one in more}
    return (
        any(part in joined for part in _ANYWHERE)
        or not _WORDS.isdisjoint(words)
        or lower in further
        or not further.isdisjoint(words)
    )
