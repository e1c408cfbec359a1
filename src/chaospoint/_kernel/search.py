"""Searches: functions that try the rules at a placement in order, and return the first firing.

The searches of blocks and statements are built at their first reach, because it is not known
before how the program uses the point.  Faults that a block or a statement cannot express are
logged then, once after each change of the armed rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chaospoint._kernel import process, reporting
from chaospoint._kernel.armed_rule import end_late, looked_up
from chaospoint._kernel.binding import Binding, bind, log_left_out
from chaospoint._kernel.context import in_chaospoint, transparently
from chaospoint._kernel.drive import adrive, drive
from chaospoint._kernel.placement import Kind

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.matching import Test
    from chaospoint._kernel.placement import Placed
    from chaospoint._kernel.tally import Slot, Tally

    _Candidate = tuple["Binding", Tally, Test | None, int]

__all__ = [
    "Continuation",
    "Firing",
    "Search",
    "Searches",
    "search",
    "search_later",
    "share_limits",
    "take",
]


Firing = tuple[Binding, int, "Slot", *tuple[Any, ...]]
"""The arguments of `drive`, without those at the end that have their default values."""
Search = Callable[[Any], Firing | None]
"""Makes one reach. It takes the labels or arguments of the call if the rules need them."""
Continuation = Callable[[Firing | None, Callable[[], Any], Callable[[], Firing | None] | None], Any]
"""Makes a call: takes the firing before it, the call itself, and the search after it."""


def search(bindings: tuple[Binding, ...]) -> Search:
    """Return the search through ``bindings``, which returns the first firing.

    The search never raises: after a bug of chaospoint the call continues.
    """
    if any(binding.hands for binding in bindings):
        return _handing(_search(bindings))
    return _search(bindings)


def search_later(make: Callable[[], tuple[Binding, ...]], *, hands: bool) -> Search:
    """Return a search that calls ``make`` for its bindings at the first reach.

    If many rules apply to many points, most are disarmed before any call.  ``hands``: whether a
    function of some rule takes the arguments of the call.
    """
    reach = _search_all(make)
    return _handing(reach) if hands else reach


def _handing(reach: Search) -> Search:
    """Return ``reach``, with the arguments of the call added to firings that need them."""

    def reach_and_hand(values: Any) -> Firing | None:
        firing = reach(values)
        if firing is None or (hands := firing[0].hands) is None:
            return firing
        return (*firing[:3], hands(values))

    return reach_and_hand


def _search(bindings: tuple[Binding, ...]) -> Search:
    if len(bindings) == 1 and bindings[0].test is None:
        return _search_one(bindings[0])
    return _search_all(lambda: bindings, now=True)


class _Begin:
    """An iterable that builds the bindings of a search when it is first iterated."""

    __slots__ = ("_begin",)

    def __init__(self, begin: Callable[[], Iterable[_Candidate]]) -> None:
        self._begin = begin

    def __iter__(self) -> Iterator[_Candidate]:
        return iter(self._begin())


def _search_all(make: Callable[[], tuple[Binding, ...]], *, now: bool = False) -> Search:
    bindings: tuple[Binding, ...] = ()
    candidates: Iterable[_Candidate] = ()

    def begin() -> Iterable[_Candidate]:
        nonlocal bindings, candidates
        try:
            bindings = transparently(make)  # calls `effects` of fault kinds of the program
        except Exception:
            reporting.report_bug("preparing the rules of a point")
        candidates = tuple(
            (binding, binding.tally, binding.test, place)
            for place, binding in enumerate(bindings, 1)
        )
        return candidates

    candidates = begin() if now else _Begin(begin)

    def reach(values: Any = None) -> Firing | None:
        if in_chaospoint.get():
            return None
        for binding, tally, test, place in candidates:
            if test is not None and not test(values):
                for _ in binding.rule.misses:
                    break
                continue
            for ordinal in tally.ordinals:  # noqa: B007 - takes one ordinal, cheaper than next()
                break
            # The ordinals never end, so `ordinal` is set.
            if ordinal >= tally.due and (firing := take(binding, ordinal)) is not None:  # pyright: ignore[reportPossiblyUnboundVariable]
                for other in bindings[place:]:
                    if other.test is None or other.test(values):
                        for _ in other.rule.shades:
                            break
                return firing
        return None

    return reach


def _search_one(binding: Binding) -> Search:
    tally = binding.tally
    ordinals = tally.ordinals

    def reach(_: Any = None) -> Firing | None:
        if in_chaospoint.get():
            return None
        for ordinal in ordinals:  # noqa: B007
            break
        # The ordinals never end, so `ordinal` is set.
        return take(binding, ordinal) if ordinal >= tally.due else None  # pyright: ignore[reportPossiblyUnboundVariable]

    return reach


def take(binding: Binding, ordinal: int) -> Firing | None:
    """Return the firing of this ordinal, or None; never raises.

    `Tally.due` may be too low, so most ordinals that come here do not fire.  The rule may also have
    ended since the call took its ordinal, so its end and deadline are checked before a slot is
    taken; afterwards the ordinal would be lost.
    """
    rule = binding.rule
    try:
        if not process.known[0] and process.made_anew():
            ordinal = next(rule.tally.ordinals)
        if rule.why is not None or (
            (at := rule.deadline) is not None and rule.runtime.now() >= at and end_late(rule)
        ):
            return None
        if rule.resolve is not None and not looked_up(rule):
            return None
        slot = rule.tally.take(ordinal)
    except Exception:
        reporting.report_bug(f"deciding whether a rule fires at {binding.point!r}")
        return None
    return None if slot is None else (binding, ordinal, slot)


def share_limits(rules: Iterable[ArmedRule]) -> bool:
    """Whether a firing before a call and one after it share the same limits."""
    return len({rule.terms.after for rule in rules if rule.terms.bounds is not None}) > 1


class Searches(dict[Kind, Search]):
    """The searches of one point, before or after calls, by the kind of the placement."""

    __slots__ = ("_after", "_point", "_rules")

    def __init__(self, rules: Sequence[ArmedRule], point: Placed, *, after: bool) -> None:
        super().__init__()
        self._rules = rules
        self._point = point
        self._after = after

    def __missing__(self, kind: Kind) -> Search:
        try:
            bindings = bind(self._rules, self._point, kind, after=self._after)
            self[kind] = result = search(bindings)
            if not self._after:
                log_left_out(self._rules, self._point.name, kind)
        except Exception:
            reporting.report_bug(f"preparing the rules of {self._point.name!r}")
            return search(())
        return result

    def act(self, kind: Kind, labels: Mapping[str, object]) -> None:
        """Make one reach, and carry out the firing, if any."""
        if (firing := self[kind](labels)) is not None:
            drive(*firing)

    async def aact(self, kind: Kind, labels: Mapping[str, object]) -> None:
        """Make one reach, and carry out the firing, if any, in this task."""
        if (firing := self[kind](labels)) is not None:
            await adrive(*firing)
