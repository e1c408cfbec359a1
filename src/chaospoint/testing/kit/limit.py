"""Release a pause that the test never released, after a limit of real time, and report it."""

from __future__ import annotations

from collections.abc import Callable
from threading import TIMEOUT_MAX, Timer
from typing import TYPE_CHECKING

from chaospoint._kernel.clock import monotonic
from chaospoint._kernel.context import transparently
from chaospoint._kernel.fork import guards
from chaospoint._kernel.lock import Lock
from chaospoint._kernel.threads import start
from chaospoint.errors import ChaosError

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import Pause
    from chaospoint._registry.handle import Armed

__all__ = ["PauseLimit", "check_seconds"]


def check_seconds(timeout: float) -> None:
    """Raise `ChaosError` unless ``timeout`` is a number of seconds above 0."""
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not is_number or not 0 < timeout <= TIMEOUT_MAX:
        raise ChaosError(
            f"timeout={timeout!r}: write a number of seconds above 0, such as timeout=10.0"
        )


class PauseLimit:
    """Releases all calls that the rules of ``handle`` pause, once one was paused for ``seconds``.

    `problem` then holds the result of ``describe``, which takes the names of the points. It counts
    real time, because the test may use a fake clock, on a thread that runs only while a call is
    paused. In a forked child it disarms the rules, because the test cannot release calls there.
    """

    def __init__(self, handle: Armed, seconds: float, describe: Callable[[str], str]) -> None:
        self.problem: str | None = None
        self._handle = handle
        self._seconds = seconds
        self._describe = describe
        self.lock = Lock()
        self._held: dict[Pause, float] = {}  # the time at which each began
        self._timer: Timer | None = None
        self._stopped = False
        guards.append(self)
        self._update()

    def stop(self) -> None:
        """Cancel the limit; stopping it twice is allowed."""
        with self.lock:
            self._stopped = True
            if self._timer is not None:
                self._timer.cancel()
        if self in guards:
            guards.remove(self)

    def _update(self) -> None:
        """Record which calls are paused now; each rule calls this when its paused calls change."""
        for rule in self._handle.rules:
            rule.watchers.add(self._update)
        with self.lock:
            self._restart_timer()

    def _restart_timer(self) -> None:
        now = monotonic()
        held = [pause for rule in self._handle.rules for pause in rule.paused.copy()]
        self._held = {pause: self._held.get(pause, now) for pause in held}
        if self._held and self._timer is None and not self._stopped:
            first = min(self._held.values())
            timer = _Timer(max(0.0, first + self._seconds - now), self._run_out)
            timer.daemon = True
            start(timer)
            self._timer = timer

    def _run_out(self) -> None:
        with self.lock:
            self._timer = None
            due, since = monotonic() - self._seconds, self._held.copy()
        late = {pause.point for pause, begun in since.items() if begun <= due}
        held = {pause.point for rule in self._handle.rules for pause in rule.paused.copy()}
        if late & held and not self._stopped:
            self.problem = self._describe(", ".join(sorted(late & held)))
            self._handle.release()
        self._update()

    # -- around a fork --------------------------------------------------------------------

    def renew(self) -> None:
        """Disarm the rules in a forked child."""
        self.lock, self._timer, self._stopped = Lock(), None, True
        self._handle.disarm()


class _Timer(Timer):
    """A timer on whose thread points do not act."""

    def run(self) -> None:
        transparently(super().run)
