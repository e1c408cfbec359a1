"""Calls at one point that wait until another point is reached: an order that a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from chaospoint.testing.kit.limit import PauseLimit
from chaospoint.testing.kit.watch import Watch

if TYPE_CHECKING:
    from chaospoint._kernel.placement import Kind, Placed
    from chaospoint._registry.handle import Armed
    from chaospoint._registry.registry import Registry

__all__ = ["HeldUntil"]


class HeldUntil:
    """Calls at ``point`` are paused by what ``pause`` arms, from now until ``until`` is reached."""

    def __init__(
        self,
        registry: Registry,
        pause: Callable[[], Armed],
        point: str,
        until: str,
        seconds: float,
    ) -> None:
        self.point = point
        self.until = until
        self._seconds = seconds
        self._ended = False
        self._handle: Armed | None = None
        self._watch = Watch(registry, told=self._reached)
        self._watch.start()  # first, or a call would come in between
        try:
            self._handle = pause()
        except BaseException:
            self._watch.stop()
            raise
        self._limit = PauseLimit(self._handle, seconds, self._said)
        if self._ended:
            self._handle.disarm()

    def stop(self) -> None:
        """Look at the points no more."""
        self._limit.stop()
        self._watch.stop()

    def problems(self, near: Callable[[str], str]) -> Iterator[str]:
        """Say why the order did not come about, if so; ``near``: the end of a sentence that names
        points like one."""
        if self._limit.problem is not None:
            yield self._limit.problem + near(self.until)
            return
        for name in (self.point, self.until):
            if not self._watch.reaches(name):
                yield (
                    f"{self.point} was to wait for {self.until}, and {name!r} was never reached"
                    f" after that{near(name)}"
                )
        assert self._handle is not None
        if any(rule.shadowed for rule in self._handle.rules):
            yield (
                f"{self.point} was to wait for {self.until}, and a call of it went on at once, for"
                " another rule fired there: arm that before hold()"
            )

    def _reached(self, point: Placed, kind: Kind) -> None:
        del kind
        if point.name == self.until:
            self._ended = True
            if self._handle is not None:
                self._handle.release()
                self._handle.disarm()  # a call that was about to wait goes on, too

    def _said(self, points: str) -> str:
        return (
            f"a call of {points} waited {self._seconds:g} s for {self.until}, which nobody "
            "reached: it went on then"
        )
