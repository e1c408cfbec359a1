"""Parse the text of environment variables; other values are returned unchanged.

Each function raises `ValueError` for invalid text; the settings add the cure.
"""

from __future__ import annotations

import ipaddress
import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pydantic import SecretStr

from chaospoint._environ import FALSE
from chaospoint.faults.kinds import is_kind
from chaospoint.models.point_pattern import point_pattern
from chaospoint.models.quantities import whole

__all__ = [
    "ADMIN_ADDRESS",
    "absolute_path",
    "argument_names",
    "fault_kinds",
    "optional_address",
    "optional_seed",
    "patterns",
    "secret",
    "some_text",
    "store_url",
    "switch",
    "word",
    "words",
]

TRUE = frozenset({"true", "yes", "on", "1"})

ADMIN_ADDRESS = "127.0.0.1:8475"


def switch(value: object) -> object:
    """Return True or False for a word such as ``yes`` or ``off``."""
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError("neither true nor false")
    return word in TRUE


def word(value: object) -> object:
    """Return one name in lower case."""
    if not isinstance(value, str):
        return value
    name = value.strip().lower()
    if not name:
        raise ValueError("empty")
    return name


def words(value: object) -> object:
    """Return names in lower case; in text they are separated by commas."""
    parts = _parts(value)
    if not isinstance(parts, tuple):
        return value
    if not parts:
        raise ValueError("empty")
    return tuple(part.lower() for part in parts)


def patterns(value: object) -> object:
    """Return names of points and globs; in text they are separated by commas."""
    parts = _parts(value)
    return tuple(map(point_pattern, parts)) if isinstance(parts, tuple) else value


def fault_kinds(value: object) -> object:
    """Return names of known kinds of faults; in text they are separated by commas."""
    parts = _parts(value)
    if isinstance(parts, tuple) and (wrong := [part for part in parts if not is_kind(part)]):
        raise ValueError(f"{wrong[0]!r} is not a kind of fault")
    return parts


def argument_names(value: object) -> object:
    """Return names of arguments; in text they are separated by commas."""
    parts = _parts(value)
    if isinstance(parts, tuple) and not all(map(str.isidentifier, parts)):
        raise ValueError("not the name of an argument")
    return parts


def _parts(value: object) -> object:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Iterable):
        return value
    kept = tuple(part for item in parts if (part := str(item).strip()))
    if not kept and isinstance(value, str):
        raise ValueError("empty")
    return kept


def absolute_path(value: object) -> object:
    """Return an absolute path."""
    if not isinstance(value, str | Path):
        return value
    if not str(value).strip() or "\0" in str(value):
        raise ValueError("not a path")
    # Made absolute now: a program may change its directory later.
    return Path(os.path.abspath(os.path.expanduser(value)))


def store_url(value: object) -> object:
    """Return the URL of a store, as a normalised ``file:///...``."""
    if not isinstance(value, str):
        return value
    parts = urlsplit(value.strip())
    path = unquote(parts.path)
    local = parts.scheme == "file" and parts.netloc in ("", "localhost")
    if not local or parts.query or parts.fragment or not path.startswith("/"):
        raise ValueError("not file:///...")
    directory = "/" + posixpath.normpath(path).lstrip("/")
    if directory == "/" or directory.startswith("/~") or not directory.isprintable():
        raise ValueError("not a directory")
    return f"file://{quote(directory)}"


def some_text(value: object) -> object:
    """Return a text that is not empty."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("empty")
    return value


def optional_seed(value: object) -> int | None:
    """Return a seed."""
    if value is None:
        return None
    if isinstance(value, str):
        value = int(value)
    return whole(value, 0, 2**63 - 1)  # the bounds of a rule's seed


def secret(value: object) -> object:
    """Return a secret without white space around it."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if not isinstance(value, str):
        return value
    secret = value.strip()
    if not secret:
        raise ValueError("empty")
    return secret


def optional_address(value: object) -> object:
    """Return a normalised ``host:port``, or None if the endpoint is off."""
    if value is None:
        return None
    word = str(value).strip().lower()
    if word in TRUE:
        return ADMIN_ADDRESS
    if word in FALSE:
        return None
    host, _, port = word.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("not a port")
    if host.startswith("[") and host.endswith("]"):
        ipaddress.IPv6Address(host[1:-1])
    elif not re.fullmatch(r"[a-z0-9._-]+", host):
        raise ValueError("not a host")
    return f"{host}:{int(port)}"
