"""What became of one case of an exploration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Outcome", "Result"]


Outcome = Literal["handled", "failed", "hung", "left out"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one case.

    ``escaped``: type and first line of what came out of the run. ``injected``: whether that is the
    injected exception, or was raised because of it. ``late``: how many seconds late an answer
    came, and ``waited``: for how many the program waited; ``in_thread``: in a plain thread, where
    no timer can cut it short. ``reason``: why it hung, or why the case says nothing. ``beyond``:
    the points that were reached more often in this run than without a fault, with the reaches
    without it and those in this run. ``unbounded``: a hang of this run could not have been ended.
    """

    case: str
    point: str
    nth: int
    when: Literal["before", "after"]
    fault: str
    order: int
    outcome: Outcome
    escaped: str = ""
    injected: bool = False
    late: float | None = None
    waited: float | None = None
    in_thread: bool = False
    reason: str = ""
    beyond: tuple[tuple[str, int, int], ...] = ()
    unbounded: bool = False

    @property
    def finding(self) -> bool:
        """Whether the program did not cope."""
        return self.outcome in ("failed", "hung")

    def __str__(self) -> str:
        said = f"{self.case}: {self.outcome}"
        if self.escaped:
            said += f" with {self.escaped}"
            if self.injected:
                said += " (the injected error, or from it)"
        return f"{said}, {self.reason}" if self.reason else said
