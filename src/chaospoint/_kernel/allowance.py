"""Measure how much of its limits one call has used, and cut its steps to the remainder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaospoint._kernel.effects import Hold, Run, Sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chaospoint._kernel.effects import Step

__all__ = ["Allowance"]


class Allowance:
    """Cuts the steps of one firing to the remaining seconds.

    ``bounds``: the seconds for which the call may be delayed, and the seconds for which it may be
    held; None for no limit. Steps that yield the thread or run code count as delays, by the clock.
    ``spent``: the seconds used so far, of each of the two; a firing before the call and one after
    it share this list.
    """

    __slots__ = ("_bounds", "_holds", "_now", "_since", "_spent")

    def __init__(
        self,
        bounds: tuple[float | None, float | None],
        now: Callable[[], float],
        spent: list[float] | None = None,
    ) -> None:
        self._bounds = bounds
        self._spent = [0.0, 0.0] if spent is None else spent
        self._now = now
        self._since = now()
        self._holds = False

    def cut_all(self, steps: Iterable[Step]) -> Iterable[Step]:
        """Return the steps; each is cut just before it is taken."""
        return filter(None, map(self.cut, steps))

    def cut(self, step: Step | None) -> Step | None:
        """Return the step, shortened to the remaining seconds, or None if none remain.

        Pass None at the end of the firing, so that the last step is counted.
        """
        now = self._now()
        self._spent[self._holds] += now - self._since
        self._since = now
        self._holds = type(step) is Hold and step.seconds != 0.0
        bound = self._bounds[self._holds]
        if bound is None or step is None:
            return step
        remaining = bound - self._spent[self._holds]
        if remaining <= 0.0:
            return None
        if type(step) is Run or (step.seconds is not None and step.seconds <= remaining):
            return step
        return (
            Sleep(remaining, step.busy) if type(step) is Sleep else Hold(remaining, step.releasable)
        )
