"""Halts: orders to disable that need no lock, in files beside the document.

The process that holds the lock may be suspended and never release it. A halt is in force for every
reader at once. The next update includes it in the document, which lists its id until the file is
removed.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from chaospoint.errors import StoreError
from chaospoint.models import strict_json
from chaospoint.stores.bounds import MOST_TEXT, kept
from chaospoint.stores.document import DOCUMENT, MOST
from chaospoint.stores.files import Directory, os_errors_as_store_errors, read

__all__ = ["Halt", "halts", "remove", "write_halt"]

_NAME = re.compile(r"halt-([0-9a-f]{16})\.json")
_MOST = 2**14  # bytes in a file; a character may take twelve


@dataclass(frozen=True, slots=True)
class Halt:
    """One order to disable.

    With the halt, the document has at least this ``generation``. It is higher than the generation
    that a writer may be writing now, so a worker that runs it has seen the order.
    """

    id: str
    generation: int = 0
    by: str = ""
    at: float = 0.0
    reason: str = ""


def halts(directory: Directory) -> tuple[Halt, ...]:
    """Return the existing halts, oldest first."""
    with os_errors_as_store_errors(directory.path):
        names = os.listdir(directory.fd)
    found = [_halt(directory, name, kept[1]) for name in names if (kept := _NAME.fullmatch(name))]
    return tuple(sorted(found, key=lambda one: (one.generation, one.at, one.id)))


def write_halt(
    directory: Directory, *, generation: int, by: str, now: float, reason: str = ""
) -> Halt:
    """Write a halt, in force at once; ``generation`` is the highest known one."""
    with suppress(StoreError, ValueError), directory.file(DOCUMENT) as fd:
        found = strict_json.loads(read(fd, directory.path_of(DOCUMENT), MOST))
        known = found.get("generation", 0) if isinstance(found, dict) else 0
        generation = max(generation, known if type(known) is int else 0)
    known_halts = max((one.generation for one in halts(directory)), default=0)
    made = Halt(token_hex(8), max(generation, known_halts) + 2, kept(by), now, kept(reason))
    data = {"generation": made.generation, "by": made.by, "at": now, "reason": made.reason}
    os.close(directory.replace(_name(made), json.dumps(data).encode(), sync=True))
    return made


def remove(directory: Directory, order: Halt) -> None:
    """Remove the file of a halt that the document includes."""
    directory.remove(_name(order))


def _name(order: Halt) -> str:
    return f"halt-{order.id}.json"


def _halt(directory: Directory, name: str, halt_id: str) -> Halt:
    """Return the halt in a file; an unreadable file is still a halt."""
    try:
        with directory.file(name) as fd:
            said: Any = strict_json.loads(read(fd, directory.path_of(name), _MOST))
        generation, at = said["generation"], said["at"]
        by, reason = said["by"], said["reason"]
    except (StoreError, ValueError, TypeError, KeyError):
        return Halt(halt_id)
    usual = type(generation) is int and 0 <= generation < 2**53 and type(at) in (int, float)
    texts = all(isinstance(text, str) and len(text) <= MOST_TEXT for text in (by, reason))
    if not usual or not texts or not 0 <= at <= 2**53:
        return Halt(halt_id)
    return Halt(halt_id, generation, by, float(at), reason)
