"""A limit for how long the pacer waits for other threads.

On a busy machine some time can pass without any other thread running. So the limit is also a number
of checks, because other threads can run between two checks.
"""

from __future__ import annotations

from chaospoint._kernel.clock import monotonic

__all__ = ["Patience"]

_SECONDS, _CHECKS = 0.2, 20


class Patience:
    """A limit of 0.2 s and 20 checks, whichever is longer, counted from the last `begin`."""

    def __init__(self) -> None:
        self._until = 0.0
        self._checks = 0

    def begin(self) -> None:
        """Start the limit, or start it again."""
        self._until, self._checks = monotonic() + _SECONDS, _CHECKS

    def lasts(self) -> bool:
        """Count a check, and return whether the limit has not been reached."""
        self._checks -= 1
        return self._checks > 0 or monotonic() < self._until
