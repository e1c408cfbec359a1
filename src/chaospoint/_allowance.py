"""What is left of its limits to one firing, by the clock: giving up the turn takes time as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaospoint._effects import Hold, Run, Sleep

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaospoint._effects import Step

__all__ = ["Allowance"]


class Allowance:
    """Cuts the steps of a firing to what its limits leave.

    ``bounds``: for how many seconds it may delay the call, and for how many it may hold it; None
    for any. A step that gives up the turn or runs code delays for as long as it takes.
    """

    __slots__ = ("_holds", "_left", "_now", "_since")

    def __init__(self, bounds: tuple[float | None, float | None], now: Callable[[], float]) -> None:
        self._left = list(bounds)
        self._now = now
        self._since = now()
        self._holds = False

    def cut(self, step: Step) -> Step | None:
        """Return as much of the step as is left to it, or None for nothing."""
        now = self._now()
        spent, self._since = now - self._since, now
        if (before := self._left[self._holds]) is not None:
            self._left[self._holds] = before - spent
        self._holds = type(step) is Hold and step.seconds != 0.0
        left = self._left[self._holds]
        if left is None:
            return step
        if left <= 0.0:
            return None
        if type(step) is Run or (step.seconds is not None and step.seconds <= left):
            return step
        if type(step) is Sleep:
            return Sleep(left, step.busy)
        return Hold(left, step.releasable)
