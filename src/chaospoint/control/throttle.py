"""Slow down clients that guess tokens; clients with a valid token are never delayed.

There is no lock: losing a guess that two threads count at once makes no difference.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from time import monotonic

__all__ = ["Guessed", "Guesses", "guessed"]

FIRST_SECONDS = 0.1
MOST_SECONDS = 2.0
QUIET_SECONDS = 60.0
"""After this time without a wrong token, the delay starts over."""

LOG_SECONDS = 10.0
"""The least time between two log lines, once the delay has stopped growing."""

_log = logging.getLogger("chaospoint")


@dataclass(frozen=True, slots=True)
class Guessed:
    """The recent wrong tokens; times are in monotonic seconds.

    ``delay_seconds`` is the delay of the latest refusal.  ``unlogged`` counts the wrong tokens
    since the last log line.  If a line is due, ``to_log`` is their number, and ``unlogged`` is 0.
    """

    delay_seconds: float = 0.0
    latest: float = -inf
    logged_at: float = -inf
    unlogged: int = 0
    to_log: int = 0


def guessed(before: Guessed, now: float) -> Guessed:
    """Return the state after one more wrong token."""
    if now - before.latest > QUIET_SECONDS:
        before = replace(before, delay_seconds=0.0)
    delay = min(max(FIRST_SECONDS, before.delay_seconds * 2.0), MOST_SECONDS)
    after = Guessed(delay, now, before.logged_at, before.unlogged + 1)
    if delay == before.delay_seconds and now - before.logged_at < LOG_SECONDS:
        return after
    return replace(after, logged_at=now, unlogged=0, to_log=after.unlogged)


class Guesses:
    """Counts the wrong tokens that this process receives.  Safe from any thread."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._known = Guessed()

    def wrong(self, client: str) -> float:
        """Count a wrong token; return the seconds by which to delay its refusal."""
        known = self._known = guessed(self._known, self._now())
        if known.to_log:
            _log.warning(
                "%d wrong token%s for the admin endpoint, the latest from %r: the refusal is "
                "delayed by %.1f s",
                known.to_log,
                "" if known.to_log == 1 else "s",
                client or "a socket",
                known.delay_seconds,
            )
        return known.delay_seconds
