"""A rule while it is armed: its counts, its deadline, and the calls that wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from chaospoint._kernel.chance import draw_seed
from chaospoint._kernel.context import transparently
from chaospoint._kernel.explanation import EndReason, Source, State
from chaospoint._kernel.names import matcher, matches
from chaospoint._kernel.tally import BoundedTally, Tally, counted, counter
from chaospoint.errors import ChaosError

if TYPE_CHECKING:
    from collections.abc import Collection

    from chaospoint._kernel.clock import Clock
    from chaospoint._kernel.compiled_rule import CompiledRule
    from chaospoint._kernel.effects import Fault
    from chaospoint._kernel.injection import Injection
    from chaospoint._kernel.placement import Kind, Placed
    from chaospoint._kernel.tally import Tally

__all__ = ["ArmedRule", "EndReason", "Pause", "Runtime", "Source", "end_late", "looked_up"]


_SHOWN = 240


class Runtime(Protocol):
    """The part of a registry that its rules use."""

    @property
    def clock(self) -> Clock:
        """The clock of faults and deadlines."""
        ...

    @property
    def now(self) -> Callable[[], float]:
        """A function that reads the clock."""
        ...

    @property
    def observe(self) -> tuple[Callable[[Injection], None], ...]:
        """The functions to call for each injection but the first, in this order."""
        ...

    @property
    def observe_first(self) -> tuple[Callable[[Injection], None], ...]:
        """The functions to call for the first injection of a rule, in this order."""
        ...

    def names(self, pattern: str) -> Collection[str]:
        """Return the names of the points that a name or glob matches."""
        ...

    def fail(self, rule: ArmedRule, error: ChaosError) -> None:
        """Disarm a rule whose exception could not be found at its first reach."""

    def expire_soon(self) -> None:
        """Disarm overdue rules soon; on this thread if no other thread can do it."""


class Pause:
    """One call that waits at a point until it is released."""

    __slots__ = ("point", "released", "wake")

    def __init__(self, point: str, wake: Callable[[], None]) -> None:
        self.point = point
        self.wake = wake
        self.released = False


class ArmedRule:
    """One rule while it is armed; it keeps its counts afterwards.

    ``rank`` orders the rules at a point: the lowest is tried first.  Reading the counts is
    thread-safe.

    Three sets hold functions that wake waiting threads and tasks.  ``sleepers``: calls that this
    rule delays or holds.  ``paused``: calls that `release` may let continue.  ``watchers``: tests
    that wait for a count.  Waking does not remove a sleeper or watcher from its set; it removes
    itself.  Otherwise an interrupted wake-up would leave it waiting forever.
    """

    __slots__ = (
        "_match",
        "_overflow",
        "_reaches",
        "_text",
        "asks",
        "by",
        "deadline",
        "excluded",
        "expressible",
        "faults",
        "flushed",
        "flushed_overflow",
        "interruptions",
        "latest_ordinal",
        "misses",
        "paused",
        "rank",
        "reason",
        "resolve",
        "runtime",
        "seed",
        "shades",
        "sleepers",
        "source",
        "tally",
        "terms",
        "watchers",
        "why",
    )

    def __init__(
        self,
        terms: CompiledRule,
        source: Source,
        rank: tuple[int, int, int],
        runtime: Runtime,
        by: str = "",
    ) -> None:
        self.terms = terms
        self._text: str | None = None  # computed on first use
        self.source: Source = source
        self.by = by
        self.rank = rank
        self.seed = terms.schedule.seed
        self.faults: tuple[Fault, ...] = terms.faults
        self.resolve = terms.resolve
        self.asks: bool | None = None  # whether it needs the arguments of calls; None: unknown
        self.runtime = runtime
        self._match = matcher(terms.pattern)
        self.excluded = terms.excluded  # names and globs at which it does not act
        self.expressible: dict[str, tuple[int, ...]] = {}  # indexes of faults, by placement kind
        self.why: EndReason | None = None
        self.reason = ""  # how it ended, for readers
        self.sleepers: set[Callable[[], None]] = set()
        self.watchers: set[Callable[[], None]] = set()
        self.paused: set[Pause] = set()
        self.flushed = self.flushed_overflow = 0  # the counts that observers know
        self.deadline: float | None = None
        if terms.expires_after is not None:
            self.deadline = runtime.clock.monotonic() + terms.expires_after
        self._renew()

    def _renew(self) -> None:
        schedule, limit = self.terms.schedule, self.terms.max_active
        if schedule.seed != self.seed:
            schedule = replace(schedule, seed=self.seed)
        self.tally = Tally(schedule) if limit is None else BoundedTally(schedule, limit)
        self._reaches: int | None = None  # the final count, once the rule has ended
        self._overflow: int | None = None  # likewise
        self.interruptions: Iterator[int] = counter()
        self.latest_ordinal: int | None = None  # of the latest injection
        self.shades: Iterator[int] = counter()  # reaches at which an earlier rule fired
        self.misses: Iterator[int] = counter()  # calls that `where` or the scope did not match

    def restart(self) -> None:
        """Reset the counts in a forked child, and draw a new seed unless the rule sets one."""
        if self.terms.seed_drawn:
            self.seed = draw_seed()
        self.sleepers, self.watchers, self.paused = set(), set(), set()
        self.flushed = self.flushed_overflow = 0
        self._renew()

    # -- properties -----------------------------------------------------------------------

    @property
    def pattern(self) -> str:
        """The name of a point, or a glob."""
        return self.terms.pattern

    @property
    def text(self) -> str:
        """The canonical text."""
        if self._text is None:
            self._text = self.terms.text
        return self._text

    @property
    def shown(self) -> str:
        """The text for logs and spans: shortened, and without the values of ``where``."""
        text = self.terms.shown or self.text
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"

    @property
    def identity(self) -> tuple[object, ...]:
        """What identifies this rule when its source is read again."""
        seed = None if self.terms.seed_drawn else self.seed
        return (self.source, self.text, seed, self.terms.key)

    @property
    def state(self) -> State:
        """The state, without comparing the rule with others."""
        if self.why is not None:
            return self.why
        if self.overdue:
            return "expired"
        if self.resolve is not None:
            return "waiting for an import"
        spent = self.terms.schedule.times is not None and self.tally.spent
        return "spent" if spent else "armed"

    def tally_at(self, point: Placed, kind: Kind) -> Tally:
        """Return the tally that counts the reaches at a placement: one for all placements."""
        del point, kind
        return self.tally

    @property
    def reaches(self) -> int:
        """The number of reaches."""
        return counted(self.tally.ordinals) if self._reaches is None else self._reaches

    @property
    def injections(self) -> int:
        """The number of injections."""
        return counted(self.tally.fired)

    @property
    def interrupted(self) -> int:
        """The number of injections that ended early, because the rule was disarmed."""
        return counted(self.interruptions)

    @property
    def shadowed(self) -> int:
        """The number of calls that matched, at which an earlier rule fired."""
        return counted(self.shades)

    @property
    def missed(self) -> int:
        """The number of calls that ``where`` or the scope did not match."""
        return counted(self.misses)

    @property
    def overflow(self) -> int:
        """The number of firings that ``max_active`` suppressed."""
        return self.tally.overflow if self._overflow is None else self._overflow

    @property
    def next_ordinal(self) -> int | None:
        """The next ordinal that fires, or None if there is none."""
        return None if self.why is not None else self.tally.next_ordinal

    @property
    def always(self) -> bool:
        """Whether it fires at each reach."""
        terms, schedule = self.terms, self.terms.schedule
        return (
            (schedule.skip, schedule.every, schedule.times) == (0, 1, None)
            and schedule.probability >= 1.0
            and terms.max_active is None
            and terms.where is None
            and not terms.scoped
        )

    def hides(self, other: ArmedRule) -> bool:
        """Whether it fires before ``other`` at each reach where both are armed."""
        return self.rank < other.rank and self.always and self.terms.after is other.terms.after

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it expires, or None if it does not."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - self.runtime.clock.monotonic())

    @property
    def overdue(self) -> bool:
        """Whether its deadline has passed, even if the rule is still armed."""
        return self.deadline is not None and self.deadline <= self.runtime.now()

    # -- changes --------------------------------------------------------------------------

    def look_up(self) -> None:
        """Look up, at the first reach, the exceptions that the rule names.

        Raises `ChaosError` if one does not exist. Several threads may do this at once, with the
        same result. No lock is held, because the look-up may import modules of the program.
        """
        if (resolve := self.resolve) is not None:
            self.faults = resolve()
            self.asks = self.resolve = None

    def acts_at(self, point: str) -> bool:
        """Whether the rule acts at this point now; ``point`` matches its pattern."""
        if self.why is not None or self.overdue:
            return False
        return not self.excluded or not any(matches(taken, point) for taken in self.excluded)

    def covers(self, point: str) -> bool:
        """Whether the pattern matches this point and does not exclude it."""
        return bool(self._match(point)) and not any(
            matches(taken, point) for taken in self.excluded
        )

    def without(self, pattern: str) -> tuple[str, ...]:
        """Return the exclusions of this rule with ``pattern`` added."""
        if any(matches(taken, pattern) for taken in self.excluded):
            return self.excluded
        return (*(taken for taken in self.excluded if not matches(pattern, taken)), pattern)

    @property
    def ended(self) -> bool:
        """Whether it has ended, and its final counts are recorded."""
        return self.why is not None and self._overflow is not None

    def end(self, why: EndReason, reason: str = "") -> None:
        """End the rule, and record the final counts of reaches and overflow.

        They are recorded because ordinals may still be taken afterwards: by calls under way, and
        by a trampoline that another library has wrapped.  Those do not count as reaches.
        """
        # First: from here on no firing acts, even if a signal handler interrupts the next lines.
        self.why = why
        self.reason = reason
        self._reaches = counted(self.tally.ordinals)
        self._overflow = self.tally.overflow

    def successor(self) -> ArmedRule:
        """Return a rule that continues the counts of this one; waiting calls do not follow it.

        The two share one tally, so ordinals continue where they were.
        """
        successor = copy(self)
        successor.flushed = self.reaches  # the counts up to here are reported for this rule
        successor.flushed_overflow = self.overflow
        successor.why = successor._reaches = successor._overflow = None
        successor.reason = ""
        successor.sleepers, successor.watchers, successor.paused = set(), set(), set()
        return successor

    def wake(self) -> None:
        """Wake all calls that this rule delays or holds; each checks whether to wait again."""
        _call_all(self.sleepers)

    def release(self, pattern: str = "*") -> int:
        """Release the paused calls at the matching points; return their number."""
        pauses = [pause for pause in self.paused.copy() if matches(pattern, pause.point)]
        for pause in pauses:
            pause.released = True
            self.paused.discard(pause)  # its thread may still be asleep
        _call_all({pause.wake for pause in pauses})
        return len(pauses)

    def watched(self) -> None:
        """Wake the tests that wait for a count."""
        _call_all(self.watchers)


def _call_all(wakers: set[Callable[[], None]]) -> None:
    # Iterates over a copy, because other threads change the set.  A waker stays in the set until
    # its waiter removes it: if it were removed here, an interruption could leave the waiter asleep.
    for wake in wakers.copy():
        try:
            wake()
        except RuntimeError:
            wakers.discard(wake)  # its event loop is closed, so nothing waits there


def end_late(rule: ArmedRule) -> bool:
    """Ask the registry to end a rule whose deadline has passed; return True."""
    transparently(rule.runtime.expire_soon)
    return True


def looked_up(rule: ArmedRule) -> bool:
    """Look up the exceptions that the rule names; return False, and disarm it, if that fails."""
    return transparently(_look_up, rule)  # it may import modules of the program


def _look_up(rule: ArmedRule) -> bool:
    try:
        rule.look_up()
    except ChaosError as error:
        rule.runtime.fail(rule, error)
        return False
    return True
