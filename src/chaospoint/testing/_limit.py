"""The end of a wait that nobody ended: after so many real seconds it is let go of, and said so."""

from __future__ import annotations

from threading import Timer
from typing import TYPE_CHECKING

from chaospoint.testing._watch import Watch

if TYPE_CHECKING:
    from chaospoint._aim import Kind
    from chaospoint._armed import Armed
    from chaospoint._point import Point
    from chaospoint._registry import Registry

__all__ = ["Hold", "PauseLimit"]


class _Limit:
    """Runs out on a thread of its own, for the clock of the test may be a fake one."""

    def __init__(self, handle: Armed, seconds: float) -> None:
        self._handle = handle
        self._seconds = seconds
        self.problem: str | None = None
        self._timer = Timer(seconds, self._run_out)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """Let it not run out any more; no error if it did."""
        self._timer.cancel()

    def _run_out(self) -> None:
        points = sorted({pause.point for rule in self._handle.rules for pause in rule.paused})
        if points:
            self.problem = self._said(", ".join(points))
        self._handle.disarm()

    def _said(self, points: str) -> str:
        raise NotImplementedError


class PauseLimit(_Limit):
    """How long calls may be paused, counted from the arming."""

    def _said(self, points: str) -> str:
        return (
            f"a call of {points} was paused, and nobody released it within {self._seconds:g} s: "
            "it went on then; call release(), or pause(..., timeout=...) for longer"
        )


class Hold(_Limit):
    """Calls at one point that wait until another is reached."""

    def __init__(
        self, registry: Registry, handle: Armed, point: str, until: str, seconds: float
    ) -> None:
        self.point = point
        self.until = until
        super().__init__(handle, seconds)
        self._watch = Watch(registry, told=self._reached)
        self._watch.start()

    def stop(self) -> None:
        """Let it not run out, and look at the other point no more."""
        super().stop()
        self._watch.stop()

    def _reached(self, point: Point, kind: Kind) -> None:
        del kind
        if point.name == self.until:
            self._handle.release()
            self._handle.disarm()  # a call that was about to wait goes on, too

    def _said(self, points: str) -> str:
        return (
            f"a call of {points} waited {self._seconds:g} s for {self.until}, which nobody "
            "reached: it went on then"
        )
