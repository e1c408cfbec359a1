"""What the text of a variable of the environment means; a value of its own type is let through.

Each raises `ValueError` for what means nothing: the cure is said by who reads the variable.
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
    """Return whether it says yes."""
    if not isinstance(value, str):
        return value
    said = value.strip().lower()
    if said not in TRUE | FALSE:
        raise ValueError("neither true nor false")
    return said in TRUE


def word(value: object) -> object:
    """Return one name in lower case."""
    if not isinstance(value, str):
        return value
    name = value.strip().lower()
    if not name:
        raise ValueError("empty")
    return name


def words(value: object) -> object:
    """Return names in lower case; of a text, what stands between commas."""
    parts = _parts(value)
    if not isinstance(parts, tuple):
        return value
    if not parts:
        raise ValueError("empty")
    return tuple(part.lower() for part in parts)


def patterns(value: object) -> object:
    """Return names of points, and globs; of a text, what stands between commas."""
    parts = _parts(value)
    return tuple(map(point_pattern, parts)) if isinstance(parts, tuple) else value


def fault_kinds(value: object) -> object:
    """Return labels of kinds of faults, each of which is there; else as `patterns`."""
    parts = _parts(value)
    if isinstance(parts, tuple) and (wrong := [part for part in parts if not is_kind(part)]):
        raise ValueError(f"{wrong[0]!r} is no kind of fault")
    return parts


def argument_names(value: object) -> object:
    """Return names of arguments; of a text, what stands between commas."""
    parts = _parts(value)
    if isinstance(parts, tuple) and not all(map(str.isidentifier, parts)):
        raise ValueError("no name of an argument")
    return parts


def _parts(value: object) -> object:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Iterable):
        return value
    kept = tuple(part for each in parts if (part := str(each).strip()))
    if not kept and isinstance(value, str):
        raise ValueError("empty")
    return kept


def absolute_path(value: object) -> object:
    """Return a path, made absolute."""
    if not isinstance(value, str | Path):
        return value
    if not str(value).strip() or "\0" in str(value):
        raise ValueError("not a path")
    # Made absolute now: a program may change its directory later.
    return Path(os.path.abspath(os.path.expanduser(value)))


def store_url(value: object) -> object:
    """Return where a store is, as a normalised ``file:///...``."""
    if not isinstance(value, str):
        return value
    parts = urlsplit(value.strip())
    path = unquote(parts.path)
    local = parts.scheme == "file" and parts.netloc in ("", "localhost")
    if not local or parts.query or parts.fragment or not path.startswith("/"):
        raise ValueError("not file:///...")
    directory = "/" + posixpath.normpath(path).lstrip("/")
    if directory == "/" or directory.startswith("/~") or not directory.isprintable():
        raise ValueError("no directory")
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
    """Return a secret without the blanks around it."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if not isinstance(value, str):
        return value
    secret = value.strip()
    if not secret:
        raise ValueError("empty")
    return secret


def optional_address(value: object) -> object:
    """Return a normalised ``host:port``, or None for none."""
    if value is None:
        return None
    word = str(value).strip().lower()
    if word in TRUE:
        return ADMIN_ADDRESS
    if word in FALSE:
        return None
    host, _, port = word.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("no port")
    if host.startswith("[") and host.endswith("]"):
        ipaddress.IPv6Address(host[1:-1])
    elif not re.fullmatch(r"[a-z0-9._-]+", host):
        raise ValueError("no host")
    return f"{host}:{int(port)}"
