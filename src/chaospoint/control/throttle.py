"""Clients that guess tokens are slowed down; clients with a valid token are not.

No lock: a guess that is lost where two threads count at once makes no difference.
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
"""After so long without a wrong token all is forgotten."""

SAID_SECONDS = 10.0
"""How often a line is logged at most, once the delay has stopped growing."""

_log = logging.getLogger("chaospoint")


@dataclass(frozen=True, slots=True)
class Guessed:
    """What is known of wrong tokens; times are monotonic seconds.

    ``delay_seconds``: how long the refusal of the latest one is held back. ``untold``: how many
    came since the latest line in the log; 0 where one is due, which tells of ``said`` ones.
    """

    delay_seconds: float = 0.0
    latest: float = -inf
    told: float = -inf
    untold: int = 0
    said: int = 0


def guessed(before: Guessed, now: float) -> Guessed:
    """Return what is known after one more wrong token."""
    if now - before.latest > QUIET_SECONDS:
        before = replace(before, delay_seconds=0.0)
    delay = min(max(FIRST_SECONDS, before.delay_seconds * 2.0), MOST_SECONDS)
    after = Guessed(delay, now, before.told, before.untold + 1)
    if delay == before.delay_seconds and now - before.told < SAID_SECONDS:
        return after
    return replace(after, told=now, untold=0, said=after.untold)


class Guesses:
    """Counts the wrong tokens that this process is shown. Safe from any thread."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._known = Guessed()

    def wrong(self, client: str) -> float:
        """Take note of a wrong token; return for how many seconds to hold its refusal back."""
        known = self._known = guessed(self._known, self._now())
        if known.said:
            _log.warning(
                "%d wrong token%s for the admin endpoint, the latest from %r: the refusal is held "
                "back for %.1f s",
                known.said,
                "" if known.said == 1 else "s",
                client or "a socket",
                known.delay_seconds,
            )
        return known.delay_seconds
