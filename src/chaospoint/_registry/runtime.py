"""The clock and the observers of a registry: what a rule needs while it fires, and notices."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from chaospoint._kernel import reporting
from chaospoint._kernel.context import own, passes, transparently
from chaospoint._kernel.lock import arming_lock
from chaospoint._registry.notices import Notice, StateChanged, new_counts
from chaospoint._registry.state import State

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.clock import Clock
    from chaospoint._kernel.injection import Injection, Observer
    from chaospoint._kernel.point import Point
    from chaospoint._registry.housekeeping import Housekeeper

__all__ = ["Runtime"]


class Runtime(State):
    """The clock and the observers of one registry.

    A change calls `say` after it releases the lock, never before, because observers are foreign
    code.  Notices that an interruption keeps from the observers stay in ``_unsent``; the
    housekeeper sends them later.
    """

    housekeeper: Housekeeper

    def __init__(self, points: dict[str, Point], clock: Clock) -> None:
        super().__init__(points)
        # Tests may replace `clock`, which times faults and deadlines; `timer` times the threads.
        self.clock = self.timer = clock
        self.has_defaults = False  # added only once, so a removed default observer stays removed
        self.observe: tuple[Callable[[Injection], None], ...] = ()
        self.observe_first: tuple[Callable[[Injection], None], ...] = ()  # of a rule
        self.observers: tuple[Observer, ...] = ()
        self._notice: tuple[Callable[[Notice], None], ...] = ()
        self._unsent: deque[Notice] = deque()
        self._changes = itertools.count(1)

    @property
    def clock(self) -> Clock:
        """The clock that times faults and deadlines."""
        return self._clock

    @clock.setter
    def clock(self, clock: Clock) -> None:
        self._clock, self.now = clock, clock.monotonic  # some rules call `now` at each firing

    def add_observer(self, *observers: Observer, defaults: bool = False) -> None:
        """Add observers; ``defaults`` says that these are the default ones."""
        with arming_lock:
            self._observe((*self.observers, *observers), self.has_defaults or defaults)
            standing = self._stand()
        arming_lock.after_release(partial(self.say, standing))

    def remove_observer(self, observer: Observer) -> None:
        """Remove an observer; an unknown one is ignored."""
        with arming_lock:
            rest = tuple(other for other in self.observers if other is not observer)
            self._observe(rest, self.has_defaults)

    def _observe(self, observers: tuple[Observer, ...], has_defaults: bool) -> None:
        observe = tuple(observer.observe for observer in observers)
        first = tuple(getattr(each, "observe_first", each.observe) for each in observers)
        methods = (getattr(observer, "notice", None) for observer in observers)
        notice = tuple(method for method in methods if method is not None)
        # No handler runs between these assignments: all of them happen, or none.
        self.observers, self.has_defaults = observers, has_defaults
        self.observe, self.observe_first, self._notice = observe, first, notice

    def say(self, *notices: Notice) -> None:
        """Send notices to the observers that have a method ``notice``; never under the lock.

        Chaospoint's own threads leave that to the housekeeper, because an observer may block them.
        """
        if not notices:
            return
        unsent = deque(notices)
        if own.tells_observers is False:
            self._unsent += unsent
            self.housekeeper.start(-inf)
            return
        try:
            transparently(self._send, unsent)
        except BaseException:
            self._unsent.extend(unsent)
            raise

    def _send(self, notices: deque[Notice]) -> None:
        while notices:
            notice = notices.popleft()
            for send in self._notice:
                try:
                    send(notice)
                except BaseException as error:
                    if passes(error):
                        raise  # Ctrl-C
                    kind = type(notice).__name__
                    reporting.report_bug(
                        f"notifying an observer of {kind}", "correct the observer", foreign=True
                    )

    def flush(self) -> None:
        """Send the notices that wait, and the counts since the previous flush."""
        unsent = [self._unsent.popleft() for _ in range(len(self._unsent))]
        self.say(*unsent, *self._counts(self.rules()))

    def _counts(self, rules: Iterable[ArmedRule]) -> list[Notice]:
        with arming_lock:
            return new_counts(rules)

    def _stand(self) -> StateChanged:
        table = self._table
        return StateChanged(next(self._changes), table.off is None, dict(table.counts))
