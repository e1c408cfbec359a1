"""Hold calls at one point until another point is reached."""

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
    """Holds calls at ``point`` until ``until`` is reached; ``pause`` arms the rule that holds them.

    ``seconds``: the real time after which a held call continues. It holds from its creation on.
    """

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
        self._watch = Watch(registry, on_reach=self._reached)
        self._watch.start()  # before the pause, so that no call of `until` is missed
        try:
            self._handle = pause()
        except BaseException:
            self._watch.stop()
            raise
        self._limit = PauseLimit(self._handle, seconds, self._timeout_problem)
        if self._ended:
            self._handle.disarm()

    def stop(self) -> None:
        """Stop watching the points; calls are held until the rule is disarmed."""
        self._limit.stop()
        self._watch.stop()

    def problems(self, near: Callable[[str], str]) -> Iterator[str]:
        """Yield the reasons why the calls did not come in the wanted order, if there are any.

        ``near``: returns a clause, for the end of a sentence, that names similar points.
        """
        if self._limit.problem is not None:
            yield self._limit.problem + near(self.until)
            return
        for name in (self.point, self.until):
            if not self._watch.reaches(name):
                yield (
                    f"{self.point} should wait for {self.until}, but {name!r} was never reached"
                    f" after hold(){near(name)}"
                )
        assert self._handle is not None
        if any(rule.shadowed for rule in self._handle.rules):
            yield (
                f"{self.point} should wait for {self.until}, but a call of it did not wait because"
                " another rule fired there: arm that rule before hold()"
            )

    def _reached(self, point: Placed, kind: Kind) -> None:
        del kind
        if point.name == self.until:
            self._ended = True
            if self._handle is not None:
                self._handle.release()
                self._handle.disarm()  # so that a call that is about to wait continues as well

    def _timeout_problem(self, points: str) -> str:
        return (
            f"a call of {points} waited {self._seconds:g} s for {self.until}, which was not "
            "reached, so the call continued"
        )
