"""Run a program a second time without faults, to see whether it behaves the same."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from chaospoint.testing.exploring.outcome import first_line
from chaospoint.testing.exploring.recording import Recording, recording
from chaospoint.testing.exploring.time_limit import TimeLimit, cannot_be_seen

if TYPE_CHECKING:
    from chaospoint._registry.registry import Registry

__all__ = ["ControlRun"]


class ControlRun:
    """A second run without faults: a program that differs from run to run cannot be explored.

    Write ``with control, control.limit: ...``, as for a `CaseRun`.
    """

    def __init__(self, registry: Registry, first: Recording) -> None:
        self.limit = TimeLimit(first.limit, "a second run without faults")
        self._first = first
        self._second = Recording()
        self._recording = recording(registry)

    def __enter__(self) -> ControlRun:
        self._second = self._recording.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.limit.stop()
        self._recording.__exit__(None, None, None)

    def why_not(self, failed: bool, escaped: BaseException | None) -> str:
        """Return why the program cannot be explored, or ``""``.

        ``failed``: whether this run failed. ``escaped``: the exception it failed with.
        """
        if self.limit.struck:
            return (
                "not explored: a second run without faults hung, and was ended after"
                f" {self.limit.seconds:g} s"
            )
        if failed:
            error = first_line(escaped)
            return "not explored: a second run without faults failed" + (
                f" with {error}" if error else ""
            )
        return ""

    def left_out(self) -> list[str]:
        """Return the limits of what this exploration can show."""
        limits = cannot_be_seen()
        if self.limit.lost:
            limits = ["hangs: the program uses the alarm (SIGALRM) that would end them"]
        first, second = self._first, self._second
        # Compared by count, because threads may reach points in any order.
        if Counter(first.reaches) != Counter(second.reaches) or (
            Counter(first.ends) != Counter(second.ends)
        ):
            limits.append("its reaches differ from run to run, even without a fault")
        return limits
