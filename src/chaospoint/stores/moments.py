"""The time by which a store counts: setting the wall clock back does not turn it back.

Beside the time of day stands a clock that nobody can set: the seconds since the machine was booted.
Two moments of the same boot are as far apart as that clock says, at least.
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
        """Return this moment, as seen from ``other``, which was before it."""
        passed = self.uptime - other.uptime if self.boot and self.boot == other.boot else 0.0
        return Moment.of(max(self, float(other) + max(0.0, passed)), self.boot, self.uptime)


def moment() -> Moment:
    """Return the present moment."""
    boot = _boot()
    return Moment.of(time.time(), boot, time.clock_gettime(time.CLOCK_BOOTTIME) if boot else 0.0)


@cache
def _boot() -> str:
    """Return what tells this boot of the machine from others; empty where nothing does."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    with suppress(OSError):  # a container may count from another time
        boot += f" {os.readlink('/proc/self/ns/time')}"
    return boot
