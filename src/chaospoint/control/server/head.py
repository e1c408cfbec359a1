"""The heads of requests: whether one is complete, and what it says before it is parsed."""

from __future__ import annotations

import io
import re
import socket
from typing import Any

from chaospoint.control.http import Request, fold, request_of

__all__ = ["MAX_HEAD", "Continued", "glance", "is_complete"]

MAX_HEAD = 64 * 1024
_FIRST_LINE = re.compile(rb"([A-Z]+) (\S+) (HTTP/1\.[01])\r?\n")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


def is_complete(head: bytearray, begin: int) -> bool:
    """Return whether a head is complete, or can no longer become valid.

    The bytes before ``begin`` were examined already, so a client that sends single bytes costs no
    more than others.
    """
    if len(head) > MAX_HEAD or _END_OF_HEAD.search(head, begin):
        return True
    return head.find(b"\n") >= begin and _FIRST_LINE.match(head) is None


def glance(head: bytes, client: str) -> Request | None:
    """Return the request of a head, as far as its priority depends on it; None if it is invalid.

    Nothing else depends on this: the request is parsed and checked again where it is served.
    """
    end, first = _END_OF_HEAD.search(head), _FIRST_LINE.match(head)
    if end is None or first is None:
        return None
    method, target, version = (part.decode("latin-1") for part in first.groups())
    lines = head[first.end() : end.start()].decode("latin-1").split("\n")
    pairs = (line.partition(":") for line in lines)
    headers = fold((name.strip(), value.strip()) for name, _, value in pairs)
    return request_of(method, target, version, headers, client)


class Continued(io.RawIOBase):
    """A stream of the bytes that were read from a connection, and then of the rest."""

    def __init__(self, head: bytes, connection: socket.socket) -> None:
        self._head = memoryview(head)
        self._connection = connection

    def readable(self) -> bool:
        """Return that the stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with the next bytes; return their number."""
        if not self._head:
            return self._connection.recv_into(buffer)
        size = min(len(buffer), len(self._head))
        buffer[:size], self._head = self._head[:size], self._head[size:]
        return size
