"""What is left of its limits to a call, by the clock: giving up the turn takes time as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaospoint._kernel.effects import Hold, Run, Sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chaospoint._kernel.effects import Step

__all__ = ["Allowance"]


class Allowance:
    """Cuts the steps of a firing to what its limits leave.

    ``bounds``: for how many seconds the call may be delayed, and for how many it may be held; None
    for any. A step that gives up the turn or runs code delays for as long as it takes. ``spent``:
    how many of these seconds are over; a firing before the call and one after it share the list.
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
        """Return the steps, each cut when its turn comes."""
        return filter(None, map(self.cut, steps))

    def cut(self, step: Step | None) -> Step | None:
        """Return as much of the step as is left to it, or None for nothing.

        None stands for the end of the firing.
        """
        now = self._now()
        self._spent[self._holds] += now - self._since
        self._since = now
        self._holds = type(step) is Hold and step.seconds != 0.0
        bound = self._bounds[self._holds]
        if bound is None or step is None:
            return step
        left = bound - self._spent[self._holds]
        if left <= 0.0:
            return None
        if type(step) is Run or (step.seconds is not None and step.seconds <= left):
            return step
        return Sleep(left, step.busy) if type(step) is Sleep else Hold(left, step.releasable)
