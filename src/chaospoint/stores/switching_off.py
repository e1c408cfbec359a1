"""Disable a directory store with the standard library alone.

`Desired` needs pydantic, which is slow to import. A document in a form that `Desired` does not
write raises `Unusual`, and the caller uses `Desired` instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from chaospoint.errors import StoreBusy, StoreError
from chaospoint.models import strict_json
from chaospoint.stores.acknowledging import LANE_SECONDS, STEP_SECONDS
from chaospoint.stores.bounds import MOST_TEXT, kept
from chaospoint.stores.document import DOCUMENT, MOST, WORKERS, write
from chaospoint.stores.files import Directory, Missing, lock, opened, read, unlock
from chaospoint.stores.halts import halts, write_halt
from chaospoint.stores.store import Worker
from chaospoint.stores.worker_files import all_workers

__all__ = ["Unusual", "WorkersOf", "switched_off"]

_NAMES = re.compile(r"[a-z0-9_*-]+(\.[a-z0-9_*-]+)*")
_MOST_ORDERS = 100


class Unusual(Exception):
    """Only `Desired` can handle the document."""


class WorkersOf:
    """The workers of a directory store."""

    def __init__(self, path: str) -> None:
        self._path = path

    def workers(self) -> tuple[Worker, ...]:
        """Return the workers whose processes are alive."""
        try:
            with opened(self._path) as directory, directory.directory(WORKERS) as folder:
                return all_workers(folder)
        except Missing:
            return ()


def switched_off(
    path: str, *, by: str, now: float, reason: str = ""
) -> Generator[float, None, int]:
    """Write the document that `Desired.disable` would return; return its generation.

    Yields the seconds to wait while the store is busy, and then writes a halt without the lock.
    Raises `StoreError` or `Unusual`, and then has written nothing.
    """
    until = monotonic() + LANE_SECONDS
    while True:
        try:
            with opened(path) as directory, _alone(directory):
                if halts(directory):
                    raise Unusual("orders to disable are there that it has to take over")
                made = _off(_current(directory, path), by=by, now=now, reason=reason)
                data = json.dumps(made, indent=1, allow_nan=False).encode() + b"\n"
                write(directory, data, reserved=True)
                generation: int = made["generation"]
                return generation
        except StoreBusy:
            if monotonic() >= until:
                with opened(path) as directory:
                    known = max((one.generation for one in WorkersOf(path).workers()), default=0)
                    order = write_halt(directory, generation=known, by=by, now=now, reason=reason)
                    return order.generation
        yield STEP_SECONDS


@contextmanager
def _alone(directory: Directory) -> Iterator[None]:
    lock(directory.fd, directory.path)
    try:
        yield
    finally:
        unlock(directory.fd)


def _current(directory: Directory, path: str) -> Mapping[str, Any]:
    try:
        with directory.file(DOCUMENT) as fd:
            found = strict_json.loads(read(fd, directory.path_of(DOCUMENT), MOST))
    except Missing:
        # The next generation must be newer than any worker has seen.
        return {"generation": max((one.generation for one in WorkersOf(path).workers()), default=0)}
    except (StoreError, ValueError) as error:
        raise Unusual(str(error)) from None
    if not isinstance(found, dict) or found.get("version") != 1:
        raise Unusual("it is of another version")
    return found


def _off(found: Mapping[str, Any], *, by: str, now: float, reason: str) -> dict[str, Any]:
    generation, forgotten = found.get("generation", 0), found.get("forgotten", 0)
    orders = found.get("orders", [])
    known = found.get("reason", "") if found.get("enabled") is False else ""
    known_by = found.get("by", "")
    usual = (
        "heeded" not in found
        and _is_text(known)
        and _is_text(known_by)
        and _is_whole(generation)
        and _is_whole(forgotten)
        and isinstance(orders, list)
    )
    if not usual or len(orders) > _MOST_ORDERS or not all(map(_is_order, orders)):
        raise Unusual("it is not as it was written")
    if known and not reason:
        by, reason = known_by, known
    after = generation + 1
    made = {
        "version": 1,
        "generation": after,
        "switched": after,
        "disabled": after,
        "forgotten": forgotten,
        "orders": orders,
        "by": kept(by),
        "at": now,
        "reason": kept(reason),
    }
    # Leave out unset keys, so that an earlier version of chaospoint can read the document.
    return {key: value for key, value in made.items() if value} | {"enabled": False}


def _is_whole(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MOST_TEXT


def _is_order(order: object) -> bool:
    if not isinstance(order, dict) or order.keys() - {"by"} != {
        "what",
        "pattern",
        "generation",
        "at",
    }:
        return False
    pattern, at, by = order["pattern"], order["at"], order.get("by", "")
    return (
        order["what"] in ("disarm", "release")
        and isinstance(pattern, str)
        and _NAMES.fullmatch(pattern) is not None
        and _is_whole(order["generation"])
        and type(at) in (int, float)
        and 0 <= at <= 2**53
        and _is_text(by)
    )
