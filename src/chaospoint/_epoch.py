"""All that changes while something is armed; it lives from arming to disarming and no longer.

`Tally` counts, `ArmedRule` is one rule with its tally, its sleepers and its end, `Aim` is that
rule as it acts at one kind of placement of one point, and `search` tries the aims of a placement
in order.  Nothing here takes a lock on the way of a call that does not fire.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from copy import copy
from itertools import count, islice
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Protocol

from chaospoint import _bug
from chaospoint._decide import NEVER, Schedule, decide
from chaospoint._draw import Draws, draw_seed
from chaospoint._effects import Effect, Raise, Return, Sleep
from chaospoint._injection import Injection
from chaospoint._inside import inside, transparent
from chaospoint._names import matches
from chaospoint.errors import ChaosError

if TYPE_CHECKING:
    from chaospoint._clock import Clock
    from chaospoint._effects import Fault
    from chaospoint._terms import Terms

__all__ = [
    "Aim",
    "ArmedRule",
    "Ending",
    "Firing",
    "Home",
    "Kind",
    "Run",
    "Search",
    "Source",
    "Tally",
    "aims_at",
    "refusal",
    "search",
    "take",
]

Source = Literal["code", "test", "http", "store", "env", "file"]
Ending = Literal["disarmed", "expired", "disabled", "replaced", "failed"]
Kind = Literal["function", "coroutine", "generator", "async generator", "block"]

_CHUNK = 128


class Tally:
    """The counts of one rule, exact under threads.

    ``ordinals`` hands out one ordinal a matching reach, in one bytecode of C code; ``due`` is a
    lower bound of the next ordinal that fires, so a stale read costs a look and never a firing.
    Ordinals that fire lie in ``_chunk`` until the reach that drew them takes them out, which
    `dict.pop` does for exactly one thread.
    """

    __slots__ = ("_chunk", "_firings", "_horizon", "_lock", "due", "fired", "ordinals")

    def __init__(self, schedule: Schedule) -> None:
        self.ordinals: Iterator[int] = counter()
        self.fired: Iterator[int] = counter()
        self.due = 0  # the first reach looks, and so makes the first chunk
        self._chunk: dict[int, None] = {}
        self._firings = decide(schedule)
        self._horizon = 0  # every firing ordinal up to here is, or was, in the chunk
        self._lock = Lock()

    def take(self, ordinal: int) -> bool:
        """Say whether ``ordinal`` fires; yes once only."""
        while ordinal > self._horizon:
            with self._lock:
                if ordinal > self._horizon:
                    self._extend()
        took = self._chunk.pop(ordinal, False) is None
        if took and len(self._chunk) < _CHUNK // 2 and self._lock.acquire(blocking=False):
            try:  # early, so that others seldom wait
                self._extend()
            finally:
                self._lock.release()
        # The horizon is read before the chunk: a chunk extended in between lies beyond it.
        beyond = self._horizon + 1
        try:
            self.due = next(iter(self._chunk), beyond)
        except RuntimeError:
            pass  # another thread took one while we looked; the old bound still holds
        return took

    @property
    def spent(self) -> bool:
        """Whether no ordinal is left that fires."""
        return self._horizon >= NEVER and not self._chunk

    def _extend(self) -> None:
        if self._horizon >= NEVER:
            return
        fresh = list(islice(self._firings, _CHUNK))
        self._chunk.update(dict.fromkeys(fresh))
        self._horizon = fresh[-1] if len(fresh) == _CHUNK else NEVER


class _LockedCount:
    """`itertools.count` for interpreters without a GIL, where the one in C is not atomic."""

    def __init__(self) -> None:
        self._next = 1
        self._lock = Lock()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self._lock:
            self._next += 1
            return self._next - 1

    def __repr__(self) -> str:
        return f"count({self._next})"


def counter() -> Iterator[int]:
    """Return an endless iterator over 1, 2, … that hands each number to one thread only."""
    free_threaded = not getattr(sys, "_is_gil_enabled", lambda: True)()
    return _LockedCount() if free_threaded else count(1)


def counted(numbers: Iterator[int]) -> int:
    """Return how many numbers a `counter` has handed out, without taking one."""
    return int(repr(numbers)[len("count(") : -1]) - 1


class Home(Protocol):
    """Where an armed rule belongs: what it needs of its registry."""

    clock: Clock
    observe: tuple[Callable[[Injection], None], ...]

    def fail(self, rule: ArmedRule, error: ChaosError) -> None:
        """Disarm a rule that turned out to be impossible, and say so."""


class ArmedRule:
    """One rule while it is armed, and its counts after that.

    Identity is ``(source, text)`` and the seed unless it was drawn; ``rank`` is the place in the
    order in which rules are tried.  Reading the counts is safe from any thread.
    """

    __slots__ = (
        "_interrupted",
        "_reaches",
        "_shadowed",
        "by",
        "deadline",
        "excluded",
        "faults",
        "flushed",
        "home",
        "rank",
        "resolve",
        "seed",
        "sleepers",
        "source",
        "tally",
        "terms",
        "watchers",
        "why",
    )

    def __init__(
        self,
        terms: Terms,
        source: Source,
        rank: tuple[int, int, int],
        home: Home,
        by: str = "",
    ) -> None:
        self.terms = terms
        self.source: Source = source
        self.by = by
        self.rank = rank
        self.seed = terms.schedule.seed
        self.faults: tuple[Fault, ...] = terms.faults
        self.resolve = terms.resolve
        self.home = home
        self.excluded: tuple[str, ...] = ()  # names and globs taken out of a glob
        self.why: Ending | None = None
        self.sleepers: set[Callable[[], None]] = set()
        self.watchers: set[Callable[[], None]] = set()
        self.flushed = 0  # reaches that observers were told of
        self.deadline: float | None = None
        if terms.expires_after is not None:
            self.deadline = home.clock.monotonic() + terms.expires_after
        self._renew()

    def _renew(self) -> None:
        self.tally = Tally(_with_seed(self.terms.schedule, self.seed))
        self._reaches: int | None = None  # how many there were at its end
        self._interrupted: Iterator[int] = counter()
        self._shadowed: Iterator[int] = counter()

    def restart(self) -> None:
        """Begin anew in a forked child: tallies at zero, a drawn seed drawn again."""
        if self.terms.seed_drawn:
            self.seed = draw_seed()
        self.sleepers, self.watchers = set(), set()
        self.flushed = 0
        self._renew()

    # -- what it is -----------------------------------------------------------------------

    @property
    def pattern(self) -> str:
        """The point's name, or the glob, that the rule is put on."""
        return self.terms.pattern

    @property
    def text(self) -> str:
        """The canonical text."""
        return self.terms.text

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells this rule from others when its source is read again."""
        return (self.source, self.text, None if self.terms.seed_drawn else self.seed)

    @property
    def state(self) -> str:
        """``armed``, ``waiting for an import``, ``spent``, or how it ended."""
        if self.why is not None:
            return self.why
        if self.resolve is not None:
            return "waiting for an import"
        return "spent" if self.tally.spent else "armed"

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
        return counted(self._interrupted)

    @property
    def shadowed(self) -> int:
        """How many reaches a rule before this one took."""
        return counted(self._shadowed)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it expires, or None if it does not."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - self.home.clock.monotonic())

    # -- what happens to it ---------------------------------------------------------------

    def take(self, ordinal: int) -> bool:
        """Say whether this reach fires; looks up what had to wait for the first reach."""
        if self.why is not None:
            return False
        if self.resolve is not None:
            self._look_up(self.resolve)
        return self.tally.take(ordinal)

    def _look_up(self, resolve: Callable[[], tuple[Fault, ...]]) -> None:
        # Several threads may come here at once; each finds the same, and none waits on a lock
        # of ours while foreign modules are being imported.
        with transparent():
            self.faults = resolve()
        self.resolve = None

    def shade(self) -> None:
        """Count one reach that a rule before this one took."""
        next(self._shadowed)

    def interrupt(self) -> None:
        """Count one injection that was woken early."""
        next(self._interrupted)

    def acts_at(self, point: str) -> bool:
        """Whether the rule is still armed at this point."""
        if self.why is not None:
            return False
        return not self.excluded or not any(matches(taken, point) for taken in self.excluded)

    def matches(self, point: str) -> bool:
        """Whether a point of this name is one of the rule's."""
        return matches(self.pattern, point) and self.acts_at(point)

    def end(self, why: Ending) -> None:
        """Act no more, and keep the count of reaches.

        A call under way, or a trampoline of ours that somebody patched over, may still take
        ordinals, and these are no reaches of an armed rule.
        """
        self.why = why
        self._reaches = counted(self.tally.ordinals)

    def successor(self) -> ArmedRule:
        """Return this rule armed again as it stood; whoever slept on this one is done with it."""
        heir = copy(self)
        heir.flushed = self.reaches  # the rest of these is told of as this one's
        heir.why = heir._reaches = None
        heir.sleepers, heir.watchers = set(), set()
        return heir

    def wake(self) -> None:
        """Wake all that sleep on this rule; each looks whether the rule still holds there."""
        _call_all(self.sleepers)

    def watched(self) -> None:
        """Tell those that wait for a count to look again."""
        _call_all(self.watchers)


def _call_all(wakers: set[Callable[[], None]]) -> None:
    # Of a copy: who is woken may come back to sleep on before the last one is called.
    for wake in wakers.copy():
        wakers.discard(wake)
        try:
            wake()
        except RuntimeError:
            pass  # its event loop is closed, and with it whoever waited there


def _with_seed(schedule: Schedule, seed: int) -> Schedule:
    return Schedule(seed, schedule.skip, schedule.every, schedule.probability, schedule.times)


class Aim:
    """One rule as it acts at one kind of placement of one point.

    All that can be known before a firing is made ready at the first one.  Faults that the
    placement cannot express are left out; ``left_out`` says why.
    """

    __slots__ = ("_constant", "_faults", "_ready", "left_out", "note", "point", "rule")

    def __init__(self, rule: ArmedRule, point: str, kind: Kind) -> None:
        self.rule = rule
        self.point = point
        refusals = [refusal(fault, kind) for fault in rule.terms.faults]
        self.left_out = tuple(why for why in refusals if why is not None)
        self._faults = tuple(at for at, why in enumerate(refusals) if why is None)
        self._ready = False
        self._constant: tuple[_Told, tuple[Effect, ...]] | None = None
        self.note = f"injected by chaospoint at {point!r}: {rule.text} (armed by {rule.source})"

    @property
    def empty(self) -> bool:
        """Whether nothing of the rule is left at this placement."""
        return not self._faults

    def at(self, ordinal: int) -> tuple[Injection | None, tuple[Effect, ...]]:
        """Return the injection of this firing, and what to do; None where nothing acts."""
        if not self._ready:
            self._prepare()
        told, effects = self._constant or self._compute(Draws(self.rule.seed, ordinal))
        if told is None:
            return None, effects
        fault, latency, exception = told
        record = (self.point, fault, self.rule.text, ordinal, self.rule.source, latency, exception)
        return tuple.__new__(Injection, record), effects

    def _prepare(self) -> None:
        probe = _Probe(self.rule.seed, 0)
        constant = self._compute(probe)
        self._constant = None if probe.drawn else constant
        self._ready = True

    def _compute(self, draws: Draws) -> tuple[_Told, tuple[Effect, ...]]:
        kinds: list[str] = []
        effects: list[Effect] = []
        latency: float | None = None
        exception: str | None = None
        for index in self._faults:
            fault = self.rule.faults[index]
            if acts := fault.effects(draws):
                kinds.append(fault.kind)
                effects += acts
            for effect in acts:
                if isinstance(effect, Sleep):
                    latency = (latency or 0.0) + effect.seconds
                elif isinstance(effect, Raise):
                    exception = effect.name
            if any(isinstance(effect, Raise | Return) for effect in acts):
                break  # an outcome: what stands behind it never acts
        told = ("+".join(kinds), latency, exception) if kinds else None
        return told, tuple(effects)


def aims_at(rules: tuple[ArmedRule, ...], point: str, kind: Kind) -> tuple[Aim, ...]:
    """Return ``rules`` as they act at one kind of placement of a point; what cannot is left out."""
    aims = (Aim(rule, point, kind) for rule in rules)
    return tuple(aim for aim in aims if not aim.empty)


_Told = tuple[str, float | None, str | None] | None


class _Probe(Draws):
    """Draws that remember whether anything was drawn."""

    __slots__ = ("drawn",)

    def __init__(self, seed: int, ordinal: int) -> None:
        super().__init__(seed, ordinal)
        self.drawn = False

    def uniform(self, purpose: str) -> float:
        self.drawn = True
        return super().uniform(purpose)


def refusal(fault: Fault, kind: Kind) -> str | None:
    """Say why a placement of this kind cannot express ``fault``, or None if it can."""
    try:
        effects = fault.effects(_Probe(0, 0))
    except ChaosError:
        return None  # it waits for the first reach to look up what it raises
    for effect in effects:
        if not isinstance(effect, Return):
            continue
        if kind == "block":
            return "a block or a statement has no value to return: decorate a function"
        if "generator" in kind:
            if not hasattr(effect.value, "__iter__"):
                return f"a generator needs an iterable to yield from, not {effect.value!r}"
            if hasattr(effect.value, "__next__"):
                return "an iterator is empty after its first use: give a list or a tuple"
    return None


Firing = tuple[Aim, int]
Search = Callable[[], Firing | None]
Run = Callable[[Firing, Callable[[], Any]], Any]
"""How a call goes on when a rule fires: takes the firing and the call, without arguments."""


def search(aims: tuple[Aim, ...]) -> Search:
    """Return a function that makes one reach: tries ``aims`` in order, the first that fires acts.

    It raises nothing: a bug of ours lets the call through.
    """

    def reach() -> Firing | None:
        if inside.get():
            return None
        for place, aim in enumerate(aims):
            tally = aim.rule.tally
            for ordinal in tally.ordinals:  # noqa: B007 - takes one, cheaper than next()
                break
            if ordinal >= tally.due and (firing := take(aim, ordinal)) is not None:
                for shaded in aims[place + 1 :]:
                    shaded.rule.shade()
                return firing
        return None

    return reach


def take(aim: Aim, ordinal: int) -> Firing | None:
    """Return the firing that this reach is due, if any; raises nothing."""
    try:
        try:
            if aim.rule.take(ordinal):
                return aim, ordinal
        except ChaosError as error:
            aim.rule.home.fail(aim.rule, error)
    except Exception:
        _bug.report(f"deciding at {aim.point!r}")
    return None
