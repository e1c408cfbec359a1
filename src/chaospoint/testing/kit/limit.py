"""The end of a pause that nobody ended: after so many real seconds it is let go of, and said so."""

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
    """Refuse with `ChaosError` what is no time to wait."""
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not is_number or not 0 < timeout <= TIMEOUT_MAX:
        raise ChaosError(f"timeout={timeout!r}: give real seconds above 0, such as timeout=10.0")


class PauseLimit:
    """How long each call may be paused by the rules of ``handle``; then all of them are let go.

    ``said``: makes a sentence of the points where calls were held, which is the `problem` then.
    It goes by real time, for the clock of the test may be a fake one, and on a thread that runs
    while a call is paused. A forked child, which nobody in the test can reach, is not paused.
    """

    def __init__(self, handle: Armed, seconds: float, said: Callable[[str], str]) -> None:
        self.problem: str | None = None
        self._handle = handle
        self._seconds = seconds
        self._said = said
        self.lock = Lock()
        self._held: dict[Pause, float] = {}  # since when
        self._timer: Timer | None = None
        self._stopped = False
        guards.append(self)
        self._look()

    def stop(self) -> None:
        """Let it not run out any more; no error if it was stopped before."""
        with self.lock:
            self._stopped = True
            if self._timer is not None:
                self._timer.cancel()
        if self in guards:
            guards.remove(self)

    def _look(self) -> None:
        """Take note of who is held now; called at every change, and by whoever is held."""
        for rule in self._handle.rules:
            rule.watchers.add(self._look)
        with self.lock:
            self._take_note()

    def _take_note(self) -> None:
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
            self.problem = self._said(", ".join(sorted(late & held)))
            self._handle.release()
        self._look()

    # -- around a fork --------------------------------------------------------------------

    def renew(self) -> None:
        """Disarm the rules, in a forked child."""
        self.lock, self._timer, self._stopped = Lock(), None, True
        self._handle.disarm()


class _Timer(Timer):
    """A timer in whose thread no point acts."""

    def run(self) -> None:
        transparently(super().run)
