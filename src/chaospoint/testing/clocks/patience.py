"""How long the pacer waits for what runs beside it.

Seconds alone prove nothing on a busy machine, where they can pass without anyone having run. So a
patience lasts for some looks as well: between two of them the others could have run.
"""

from __future__ import annotations

from chaospoint._kernel.clock import monotonic

__all__ = ["Patience"]

_SECONDS, _LOOKS = 0.2, 20


class Patience:
    """Lasts 0.2 s and 20 looks from `begin` on, whichever is longer; before that, not at all."""

    def __init__(self) -> None:
        self._until = 0.0
        self._looks = 0

    def begin(self) -> None:
        """Begin, or begin anew."""
        self._until, self._looks = monotonic() + _SECONDS, _LOOKS

    def lasts(self) -> bool:
        """Return whether it lasts, and count this as a look."""
        self._looks -= 1
        return self._looks > 0 or monotonic() < self._until
