"""The time of a store, which does not go back when the wall clock is set back.

A moment is a wall-clock time with the uptime of the machine, which cannot be set. Two moments of
the same boot are at least as far apart as their uptimes.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Self

__all__ = ["Moment", "moment"]


class Moment(float):
    """Seconds since 1970, and ``uptime`` seconds since ``boot``, which is empty if not known."""

    __slots__ = ("boot", "uptime")

    boot: str
    uptime: float

    @classmethod
    def of(cls, seconds: float, boot: str, uptime: float) -> Self:
        """Return a moment."""
        made = cls(seconds)
        made.boot, made.uptime = boot, uptime
        return made

    def no_earlier_than(self, other: Moment) -> Moment:
        """Return this moment, corrected so that it does not precede the earlier ``other``."""
        passed = self.uptime - other.uptime if self.boot and self.boot == other.boot else 0.0
        return Moment.of(max(self, float(other) + max(0.0, passed)), self.boot, self.uptime)


def moment() -> Moment:
    """Return the present moment."""
    boot = _boot()
    return Moment.of(time.time(), boot, time.clock_gettime(time.CLOCK_BOOTTIME) if boot else 0.0)


@cache
def _boot() -> str:
    """Return an id of the current boot of the machine; empty if the system has none."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    with suppress(OSError):  # a container may have its own clock offset
        boot += f" {os.readlink('/proc/self/ns/time')}"
    return boot
