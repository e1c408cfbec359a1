"""One rule from arming to its end: all that changes in between, and dies with it."""

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
    """What a rule needs of the registry that it is armed in."""

    @property
    def clock(self) -> Clock:
        """The time by which faults and deadlines go."""
        ...

    @property
    def now(self) -> Callable[[], float]:
        """What reads that clock."""
        ...

    @property
    def observe(self) -> tuple[Callable[[Injection], None], ...]:
        """The functions that are called for each injection, in this order."""
        ...

    @property
    def observe_first(self) -> tuple[Callable[[Injection], None], ...]:
        """The functions that are called for the first injection of a rule."""
        ...

    def names(self, pattern: str) -> Collection[str]:
        """Return the names of the points that a name or glob matches."""
        ...

    def fail(self, rule: ArmedRule, error: ChaosError) -> None:
        """Disarm a rule that turned out to be impossible at its first reach."""

    def expire_soon(self) -> None:
        """Have what is overdue end, which a call has noticed, if need be here."""


class Pause:
    """One call that is held at a point until it is released."""

    __slots__ = ("point", "released", "wake")

    def __init__(self, point: str, wake: Callable[[], None]) -> None:
        self.point = point
        self.wake = wake
        self.released = False


class ArmedRule:
    """One rule while it is armed, and its counts after that.

    Identity is ``(source, text, key)`` and the seed unless it was drawn; ``rank`` is the place in
    the order in which rules are tried.  Reading the counts is safe from any thread.
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
        self._text: str | None = None  # written when it is asked for
        self.source: Source = source
        self.by = by
        self.rank = rank
        self.seed = terms.schedule.seed
        self.faults: tuple[Fault, ...] = terms.faults
        self.resolve = terms.resolve
        self.asks: bool | None = None  # for the arguments of calls; None: not looked at
        self.runtime = runtime
        self._match = matcher(terms.pattern)
        self.excluded = terms.excluded  # names and globs taken out of a glob
        self.expressible: dict[str, tuple[int, ...]] = {}  # by the kind of placement
        self.why: EndReason | None = None
        self.reason = ""  # why it failed, in words
        self.sleepers: set[Callable[[], None]] = set()
        self.watchers: set[Callable[[], None]] = set()
        self.paused: set[Pause] = set()
        self.flushed = self.flushed_overflow = 0  # what observers were told of
        self.deadline: float | None = None
        if terms.expires_after is not None:
            self.deadline = runtime.clock.monotonic() + terms.expires_after
        self._renew()

    def _renew(self) -> None:
        schedule, limit = self.terms.schedule, self.terms.max_active
        if schedule.seed != self.seed:
            schedule = replace(schedule, seed=self.seed)
        self.tally = Tally(schedule) if limit is None else BoundedTally(schedule, limit)
        self._reaches: int | None = None  # how many there were at its end
        self._overflow: int | None = None  # likewise
        self.interruptions: Iterator[int] = counter()
        self.latest_ordinal: int | None = None  # the ordinal of the latest injection
        self.shades: Iterator[int] = counter()
        self.misses: Iterator[int] = counter()  # calls that `where` or the scope did not match

    def restart(self) -> None:
        """Begin anew in a forked child: tallies at zero, a drawn seed drawn again."""
        if self.terms.seed_drawn:
            self.seed = draw_seed()
        self.sleepers, self.watchers, self.paused = set(), set(), set()
        self.flushed = self.flushed_overflow = 0
        self._renew()

    # -- what it is -----------------------------------------------------------------------

    @property
    def pattern(self) -> str:
        """The point's name, or the glob, that the rule is put on."""
        return self.terms.pattern

    @property
    def text(self) -> str:
        """The canonical text."""
        if self._text is None:
            self._text = self.terms.text
        return self._text

    @property
    def shown(self) -> str:
        """The text as logs and spans show it: cut short, and without the values of ``where``."""
        text = self.terms.shown or self.text
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells this rule from others when its source is read again."""
        seed = None if self.terms.seed_drawn else self.seed
        return (self.source, self.text, seed, self.terms.key)

    @property
    def state(self) -> State:
        """``armed``, ``waiting for an import``, ``spent``, or how it ended."""
        if self.why is not None:
            return self.why
        if self.overdue:
            return "expired"
        if self.resolve is not None:
            return "waiting for an import"
        spent = self.terms.schedule.times is not None and self.tally.spent
        return "spent" if spent else "armed"

    def tally_at(self, point: Placed, kind: Kind) -> Tally:
        """Return what counts the reaches at one kind of placement of a point: one for all."""
        del point, kind
        return self.tally

    @property
    def reaches(self) -> int:
        """How many reaches matched the rule."""
        return counted(self.tally.ordinals) if self._reaches is None else self._reaches

    @property
    def injections(self) -> int:
        """How many times it acted."""
        return counted(self.tally.fired)

    @property
    def interrupted(self) -> int:
        """How many injections were woken early."""
        return counted(self.interruptions)

    @property
    def shadowed(self) -> int:
        """How many reaches a rule before this one took."""
        return counted(self.shades)

    @property
    def missed(self) -> int:
        """How many calls came that ``where`` or the scope did not match."""
        return counted(self.misses)

    @property
    def overflow(self) -> int:
        """How many firings passed because ``max_active`` injections were going on."""
        return self.tally.overflow if self._overflow is None else self._overflow

    @property
    def next_ordinal(self) -> int | None:
        """The ordinal that fires next, or None if none does."""
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
        """Whether its deadline has come, though it may not have been ended yet."""
        return self.deadline is not None and self.deadline <= self.runtime.now()

    # -- what happens to it ---------------------------------------------------------------

    def look_up(self) -> None:
        """Look up what had to wait for the first reach; raises `ChaosError` if it is not there.

        Several threads may come here at once; each finds the same, and none waits on a lock of
        ours while foreign modules are being imported.
        """
        if (resolve := self.resolve) is not None:
            self.faults = resolve()
            self.asks = self.resolve = None

    def acts_at(self, point: str) -> bool:
        """Whether the rule is still in force at this point, which is one of its pattern."""
        if self.why is not None or self.overdue:
            return False
        return not self.excluded or not any(matches(taken, point) for taken in self.excluded)

    def covers(self, point: str) -> bool:
        """Whether this point is one of the rule's, armed or not."""
        return bool(self._match(point)) and not any(
            matches(taken, point) for taken in self.excluded
        )

    def without(self, pattern: str) -> tuple[str, ...]:
        """Return what is excluded once the points that ``pattern`` matches are, later ones too."""
        if any(matches(taken, pattern) for taken in self.excluded):
            return self.excluded
        return (*(taken for taken in self.excluded if not matches(pattern, taken)), pattern)

    @property
    def ended(self) -> bool:
        """Whether it has ended and its counts are kept."""
        return self.why is not None and self._overflow is not None

    def end(self, why: EndReason, reason: str = "") -> None:
        """Act no more, and keep the counts of reaches and overflow.

        A call under way, or a trampoline that somebody patched over, may still take
        ordinals, and these are no reaches of an armed rule.
        """
        self.why = why
        self.reason = reason
        self._reaches = counted(self.tally.ordinals)
        self._overflow = self.tally.overflow

    def successor(self) -> ArmedRule:
        """Return this rule armed again as it stood; whoever slept on this one is done with it."""
        heir = copy(self)
        heir.flushed = self.reaches  # the rest of these is told of as this one's
        heir.flushed_overflow = self.overflow
        heir.why = heir._reaches = heir._overflow = None
        heir.reason = ""
        heir.sleepers, heir.watchers, heir.paused = set(), set(), set()
        return heir

    def wake(self) -> None:
        """Wake all that sleep on this rule; each looks whether the rule still holds there."""
        _call_all(self.sleepers)

    def release(self, pattern: str = "*") -> int:
        """Release the paused calls at the matching points; return how many."""
        freed = [pause for pause in self.paused.copy() if matches(pattern, pause.point)]
        for pause in freed:
            pause.released = True
            self.paused.discard(pause)  # though it may not have woken up yet
        _call_all({pause.wake for pause in freed})
        return len(freed)

    def watched(self) -> None:
        """Tell those that wait for a count to look again."""
        _call_all(self.watchers)


def _call_all(wakers: set[Callable[[], None]]) -> None:
    # Of a copy, for others come and go meanwhile.  A waker stays until its waiter leaves: were it
    # taken out first, an interruption would let the waiter sleep on.
    for wake in wakers.copy():
        try:
            wake()
        except RuntimeError:
            wakers.discard(wake)  # its event loop is closed, and no one waits there any more


def end_late(rule: ArmedRule) -> bool:
    """Have a rule ended whose deadline has passed; return True."""
    transparently(rule.runtime.expire_soon)
    return True


def looked_up(rule: ArmedRule) -> bool:
    """Look up what waited for the rule's first reach; False if it is not there."""
    return transparently(_look_up, rule)  # it may import, which is foreign code


def _look_up(rule: ArmedRule) -> bool:
    try:
        rule.look_up()
    except ChaosError as error:
        rule.runtime.fail(rule, error)
        return False
    return True
