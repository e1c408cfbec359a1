"""The result of one case of an exploration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Outcome", "Result"]


Outcome = Literal["handled", "failed", "hung", "left out"]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one case.

    ``escaped``: the type and first line of the exception that left the run. ``injected``: whether
    it is the injected exception or was raised because of it. ``late``: the seconds by which an
    answer was delayed. ``waited``: the seconds that the program waited. ``in_thread``: whether it
    waited in a plain thread, where no timer can end the wait early. ``reason``: why the case
    failed elsewhere, hung or was left out. ``beyond``: the points with more reaches than without a
    fault: name, reaches without, reaches in this run. ``unbounded``: whether a hang of this run
    could not have been ended.
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
        """Whether the program did not handle the fault."""
        return self.outcome in ("failed", "hung")

    def __str__(self) -> str:
        text = f"{self.case}: {self.outcome}"
        if self.escaped:
            text += f" with {self.escaped}"
            if self.injected:
                text += " (the injected error, or caused by it)"
        return f"{text}, {self.reason}" if self.reason else text
