"""The end of a wait that nobody ended: after so many real seconds it is let go of, and said so."""

from __future__ import annotations

from threading import TIMEOUT_MAX, Timer
from typing import TYPE_CHECKING

from chaospoint.errors import ChaosError
from chaospoint.testing._watch import Watch

if TYPE_CHECKING:
    from chaospoint._aim import Kind
    from chaospoint._armed import Armed
    from chaospoint._point import Point
    from chaospoint._registry import Registry

__all__ = ["Hold", "PauseLimit", "check_seconds"]


def check_seconds(timeout: float) -> None:
    """Refuse with `ChaosError` what is no time to wait."""
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not is_number or not 0 < timeout <= TIMEOUT_MAX:
        raise ChaosError(f"timeout={timeout!r}: give real seconds above 0, such as timeout=10.0")


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
        points = {pause.point for rule in self._handle.rules for pause in rule.paused.copy()}
        self.problem = self._said(", ".join(sorted(points)))
        self._handle.disarm()

    def _said(self, points: str) -> str | None:
        """Say what is wrong; ``points``: where calls are held, empty if none is."""
        raise NotImplementedError


class PauseLimit(_Limit):
    """How long calls may be paused, counted from the arming."""

    def _said(self, points: str) -> str | None:
        if not points:
            return None
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

    def reaches(self, point: str) -> int:
        """Return how many calls arrived at a point since then."""
        return self._watch.reaches(point)

    def stop(self) -> None:
        """Let it not run out, and look at the other point no more."""
        super().stop()
        self._watch.stop()

    def _reached(self, point: Point, kind: Kind) -> None:
        del kind
        if point.name == self.until:
            self._timer.cancel()
            self._handle.release()
            self._handle.disarm()  # a call that was about to wait goes on, too

    def _said(self, points: str) -> str | None:
        if not points:
            return (
                f"{self.point} was to wait for {self.until}, which nobody reached within "
                f"{self._seconds:g} s"
            )
        return (
            f"a call of {points} waited {self._seconds:g} s for {self.until}, which nobody "
            "reached: it went on then"
        )
