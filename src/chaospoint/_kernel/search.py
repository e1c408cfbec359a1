"""One reach: which of the rules at a placement fires, if any does.

The searches of blocks and statements are made at their first reach, because nobody knows what a
point is used as before it is.  What a block or a statement cannot express is said then, once for
each time that something is armed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chaospoint._kernel import process, reporting
from chaospoint._kernel.armed_rule import end_late, looked_up
from chaospoint._kernel.binding import Binding, bind, say_left_out
from chaospoint._kernel.context import in_chaospoint, transparently
from chaospoint._kernel.drive import adrive, drive
from chaospoint._kernel.placement import Kind

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.matching import Test
    from chaospoint._kernel.placement import Placed
    from chaospoint._kernel.tally import Slot, Tally

    _Tried = tuple["Binding", Tally, Test | None, int]

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
"""The arguments of `drive`; a firing may lack those that have defaults."""
Search = Callable[[Any], Firing | None]
"""One reach, given the labels or arguments of the call where the rules ask for them."""
Continuation = Callable[[Firing | None, Callable[[], Any], Callable[[], Firing | None] | None], Any]
"""How a call goes on: takes what fires before it, the call, and the search after it, if any."""


def search(bindings: tuple[Binding, ...]) -> Search:
    """Return a function that makes one reach: the first of ``bindings`` that fires acts.

    It raises nothing: a bug of chaospoint lets the call through.
    """
    if any(binding.hands for binding in bindings):
        return _handing(_search(bindings))
    return _search(bindings)


def search_later(make: Callable[[], tuple[Binding, ...]], *, hands: bool) -> Search:
    """Return the search through the bindings that ``make`` returns, which the first reach calls.

    Where many rules meet at many points, most are disarmed before a call comes.  ``hands``: a
    function of some rule takes the arguments of the call.
    """
    reach = _search_all(make)
    return _handing(reach) if hands else reach


def _handing(reach: Search) -> Search:
    """Return the search with which a firing has the arguments of its call, if it needs them."""

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
    """Stands for what a search tries until it is first asked for that."""

    __slots__ = ("_begin",)

    def __init__(self, begin: Callable[[], Iterable[_Tried]]) -> None:
        self._begin = begin

    def __iter__(self) -> Iterator[_Tried]:
        return iter(self._begin())


def _search_all(make: Callable[[], tuple[Binding, ...]], *, now: bool = False) -> Search:
    bindings: tuple[Binding, ...] = ()
    tried: Iterable[_Tried] = ()

    def begin() -> Iterable[_Tried]:
        nonlocal bindings, tried
        try:
            bindings = transparently(make)  # kinds are asked what they do, and may be foreign
        except Exception:
            reporting.report_bug("making a point ready")
        tried = tuple(
            (binding, binding.tally, binding.test, place)
            for place, binding in enumerate(bindings, 1)
        )
        return tried

    tried = begin() if now else _Begin(begin)

    def reach(values: Any = None) -> Firing | None:
        if in_chaospoint.get():
            return None
        for binding, tally, test, place in tried:
            if test is not None and not test(values):
                for _ in binding.rule.misses:
                    break
                continue
            for ordinal in tally.ordinals:  # noqa: B007 - takes one, cheaper than next()
                break
            # The ordinals never end, so there is one.
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
        # The ordinals never end, so there is one.
        return take(binding, ordinal) if ordinal >= tally.due else None  # pyright: ignore[reportPossiblyUnboundVariable]

    return reach


def take(binding: Binding, ordinal: int) -> Firing | None:
    """Return the firing that this reach is due, if any; raises nothing."""
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
        reporting.report_bug(f"deciding at {binding.point!r}")
        return None
    return None if slot is None else (binding, ordinal, slot)


def share_limits(rules: Iterable[ArmedRule]) -> bool:
    """Whether a firing before a call and one after it have one limit together."""
    return len({rule.terms.after for rule in rules if rule.terms.bounds is not None}) > 1


class Searches(dict[Kind, Search]):
    """By the kind of the placement, before the call or after it."""

    __slots__ = ("_after", "_point", "_rules")

    def __init__(self, rules: Sequence[ArmedRule], point: Placed, *, after: bool) -> None:
        super().__init__()
        self._rules = rules
        self._point = point
        self._after = after

    def __missing__(self, kind: Kind) -> Search:
        try:
            bindings = bind(self._rules, self._point, kind, after=self._after)
            self[kind] = made = search(bindings)
            if not self._after:
                say_left_out(self._rules, self._point.name, kind)
        except Exception:
            reporting.report_bug(f"making {self._point.name!r} ready")
            return search(())
        return made

    def act(self, kind: Kind, labels: Mapping[str, object]) -> None:
        """Make one reach, and act if a rule fires."""
        if (firing := self[kind](labels)) is not None:
            drive(*firing)

    async def aact(self, kind: Kind, labels: Mapping[str, object]) -> None:
        """Make one reach, and act in this task if a rule fires."""
        if (firing := self[kind](labels)) is not None:
            await adrive(*firing)
