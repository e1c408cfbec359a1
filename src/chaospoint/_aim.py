"""A rule aimed at one kind of placement of one point, and the search through several.

All that can be known before a firing is made ready at the first one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from chaospoint import _bug, _process, _scope
from chaospoint._draw import Draws
from chaospoint._effects import Hold, Raise, Return, Run, Sleep
from chaospoint._inside import inside, transparently
from chaospoint._say import say
from chaospoint._takes import NO_ARGUMENTS, Given
from chaospoint._where import tester
from chaospoint.errors import ChaosError

if TYPE_CHECKING:
    from chaospoint._effects import Effect, Fault, Outcome, Step
    from chaospoint._epoch import ArmedRule
    from chaospoint._point import Point
    from chaospoint._takes import Shape
    from chaospoint._tally import Slot, Tally
    from chaospoint._where import Reads, Test

    _Tried = tuple["Aim", Tally, Test | None, int]

__all__ = [
    "NO_ARGUMENTS",
    "STATEMENTS",
    "Aim",
    "Firing",
    "Given",
    "GoOn",
    "Hands",
    "Kind",
    "Search",
    "aims_at",
    "asks_arguments",
    "end_late",
    "expressible",
    "looked_up",
    "refusal",
    "returned_function",
    "say_left_out",
    "search",
    "search_later",
    "share_limits",
    "take",
    "waits",
]

Kind = Literal[
    "function",
    "coroutine",
    "generator",
    "async generator",
    "block",
    "async block",
    "statement",
    "async statement",
]

STATEMENTS: tuple[Kind, ...] = ("block", "async block", "statement", "async statement")
"""What a point may be used as without anyone knowing before it is."""

Hands = Callable[[Any], Given]
"""How a placement gets them from what its search is given."""

_AWAITS: tuple[Kind, ...] = ("coroutine", "async generator", "async block", "async statement")


class Aim:
    """One rule as it acts at one kind of placement of one point.

    Faults that the placement cannot express are left out.  What draws nothing is worked out at
    the first firing, and once.  ``test`` says whether a reach matches; None if all do.
    ``hands``: how it gets the arguments of the call; None if no function of the rule asks for them.
    ``shape``: which arguments these are, where that is known.
    """

    __slots__ = (
        "_faults",
        "_said",
        "constant",
        "hands",
        "kind",
        "note",
        "point",
        "raised",
        "rule",
        "shape",
        "shown",
        "tally",
        "test",
    )

    def __init__(
        self,
        rule: ArmedRule,
        point: Point,
        kind: Kind,
        test: Test | None = None,
        hands: Hands = lambda _: NO_ARGUMENTS,
        shape: Shape | None = None,
    ) -> None:
        self.rule = rule
        self.point = point.name
        self.tally = rule.tally_at(point, kind)
        self.test = test
        self.kind: Kind = kind
        self._said: frozenset[str] = frozenset()
        self.shape = shape
        self._faults = expressible(rule, kind)
        asks = asks_arguments(rule)
        if asks and shape is not None:
            after, faults = rule.terms.after, rule.terms.faults
            fit = (n for n in self._faults if refusal(faults[n], kind, after, shape) is None)
            self._faults = tuple(fit)
        self.hands = hands if asks else None
        self.constant: Act | Literal[False] | None = None  # False: it differs by the firing
        self.raised: type | None = None  # of which type the latest exception was
        self.shown = self.note = ""

    @property
    def empty(self) -> bool:
        """Whether nothing of the rule is left at this placement."""
        return not self._faults

    def act(self, ordinal: int) -> Act:
        """Return what this firing does; ``constant``, once it is known, is the answer for all."""
        rule = self.rule
        if self.constant:
            return self.constant
        if self.constant is None:
            self.shown = rule.shown
            self.note = (
                f"injected by chaospoint at {self.point!r}: {self.shown} (armed by {rule.source})"
            )
            probe = _Probe(rule.seed, ordinal)
            act = self._work_out(probe)
            self.constant = False if probe.drawn else act
            return act
        return self._work_out(Draws(rule.seed, ordinal))

    def act_without_waits(self, ordinal: int) -> Act:
        """Return what this firing does where nothing can wait: faults that would are left out."""
        return self._work_out(Draws(self.rule.seed, ordinal), can_wait=False)

    def _work_out(self, draws: Draws, *, can_wait: bool = True) -> Act:
        kinds: list[str] = []
        steps: list[Step] = []
        latency: float | None = None
        for index in self._faults:
            fault = self.rule.faults[index]
            effects = [one for one in fault.effects(draws) if self._can(fault, one)]
            if not can_wait and any(map(waits, effects)):
                continue
            if effects:
                kinds.append(fault.kind)
            for effect in effects:
                if isinstance(effect, Raise | Return):
                    # An outcome: what stands behind it never acts.
                    raised = effect.name if isinstance(effect, Raise) else None
                    return Act("+".join(kinds), latency, raised, tuple(steps), effect)
                if isinstance(effect, Sleep):
                    latency = (latency or 0.0) + effect.seconds
                elif not isinstance(effect, Hold | Run):
                    raise TypeError(f"{effect!r} is no effect")
                steps.append(effect)
        return Act("+".join(kinds), latency, None, tuple(steps), None)

    def _can(self, fault: Fault, effect: Effect) -> bool:
        # Faults whose effects differ by the draw show only here what a placement cannot express.
        why = _refused(effect, self.kind, self.rule.terms.after, self.shape)
        if why is not None and fault.kind not in self._said:
            self._said |= {fault.kind}
            say(logging.WARNING, _LEFT_OUT, fault.kind, self.point, why, self.rule.shown)
        return why is None


def waits(effect: Effect) -> bool:
    """Whether the driver has to wait for this effect, without keeping the processor busy."""
    return isinstance(effect, Hold) or (isinstance(effect, Sleep) and not effect.busy)


class Act(NamedTuple):
    """What one firing does: ``fault`` is its label, empty where nothing acts."""

    fault: str
    latency: float | None
    exception: str | None
    steps: tuple[Step, ...]
    outcome: Outcome | None


def asks_arguments(rule: ArmedRule) -> bool:
    """Whether a function of the rule takes the arguments of the call."""
    if rule.asks is None:  # a model answers slowly for an attribute that it does not have
        rule.asks = any(getattr(fault, "with_arguments", False) for fault in rule.faults)
    return rule.asks


def aims_at(
    rules: Sequence[ArmedRule],
    point: Point,
    kind: Kind,
    *,
    after: bool = False,
    reads: Reads = itemgetter,
    hands: Hands = lambda _: NO_ARGUMENTS,
    shape: Shape | None = None,
) -> tuple[Aim, ...]:
    """Return the rules that act before, or after, the calls at one placement of a point.

    ``reads``: how labels and arguments are read there; ``hands``: how all arguments are handed
    on, and ``shape`` which these are.  What the placement cannot express, and what can never match
    there, is left out.
    """
    aims = []
    for rule in rules:
        if rule.terms.after is not after:
            continue
        test: Test | None = None
        if rule.terms.where is not None:
            test = tester(rule.terms.where, reads)
            if test is None:
                continue
        if rule.terms.scoped:
            test = _in_scope(rule, test)
        if after:
            test = _in_force(rule, point.name, test)
        aim = Aim(rule, point, kind, test, hands, shape)
        if not aim.empty:
            aims.append(aim)
    return tuple(aims)


def _in_scope(rule: ArmedRule, test: Test | None) -> Test:
    here = _scope.here.get
    if test is None:
        return lambda _: rule in here()
    return lambda values: rule in here() and test(values)


def _in_force(rule: ArmedRule, point: str, test: Test | None) -> Test:
    # A call may end long after its rule was disarmed, and then is no reach of it.
    return lambda values: rule.acts_at(point) and (test is None or test(values))


class _Probe(Draws):
    """Draws that remember whether anything was drawn."""

    __slots__ = ("drawn",)

    def __init__(self, seed: int, ordinal: int) -> None:
        super().__init__(seed, ordinal)
        self.drawn = False

    def uniform(self, purpose: str) -> float:
        self.drawn = True
        return super().uniform(purpose)


def refusal(
    fault: Fault, kind: Kind, after: bool = False, shape: Shape | None = None
) -> str | None:
    """Say why a placement of this kind cannot express ``fault``, or None if it can.

    ``shape``: the arguments that it has to give, where they are known.
    """
    if after and kind in ("statement", "async statement"):
        return "a statement has no end to act after: use a block, or leave `when` out"
    if kind == "coroutine" and (shape is None or not getattr(fault, "with_arguments", False)):
        return None
    try:
        effects = fault.effects(_Probe(0, 0))
    except Exception:
        return None  # it waits for the first reach to look up what it raises, or is wrong then
    return next((why for one in effects if (why := _refused(one, kind, after, shape))), None)


def returned_function(fault: Fault) -> str | None:
    """Return the name of the Python function that ``fault`` gives as an answer, if it gives one."""
    try:
        effects = fault.effects(_Probe(0, 0))
    except Exception:
        return None  # as in `refusal`
    given = [one.value for one in effects if isinstance(one, Return)]
    return next((one.__name__ for one in given if type(one) is FunctionType), None)


def expressible(rule: ArmedRule, kind: Kind) -> tuple[int, ...]:
    """Return which of the rule's faults a placement of this kind can express, by their index."""
    found = rule.expressible.get(kind)
    if found is None:
        faults, after = rule.terms.faults, rule.terms.after
        found = rule.expressible.get("block", ())
        if kind in STATEMENTS or len(found) < len(faults):
            found = tuple(n for n, one in enumerate(faults) if refusal(one, kind, after) is None)
        # Else a block can express all of it, and so can every decorated function.
        rule.expressible[kind] = found
    return found


def say_left_out(
    rules: Iterable[ArmedRule], point: str, kind: Kind, shape: Shape | None = None
) -> None:
    """Say which faults a placement cannot express that was not there when they were armed."""
    for rule in rules:
        for fault in rule.faults:
            if why := refusal(fault, kind, rule.terms.after, shape):
                say(logging.WARNING, _LEFT_OUT, fault.kind, point, why, rule.shown)


def _refused(effect: Effect, kind: Kind, after: bool, shape: Shape | None) -> str | None:
    if isinstance(effect, Run | Return) and effect.needs_await and kind not in _AWAITS:
        return "a coroutine function can be awaited at asynchronous placements only"
    if isinstance(effect, Run | Raise) and effect.needs_arguments and kind in STATEMENTS:
        return "a block or a statement has no arguments to give: let the function need none"
    takes = getattr(effect, "takes", None) if getattr(effect, "with_arguments", False) else None
    if takes is not None and shape is not None and not takes.fits(shape):
        return (
            f"its function takes {takes}, and the arguments of the call are {shape}: let it take "
            "some of these by their names, or *args and **kwargs"
        )
    if not isinstance(effect, Return) or kind in ("function", "coroutine"):
        return None
    if kind in STATEMENTS:
        return "a block or a statement has no value to return: decorate a function"
    if after:
        return "what a generator has yielded cannot be replaced: leave `when` out"
    if effect.make is not None:
        return None
    given = type(effect.value)
    if not hasattr(given, "__iter__"):
        return f"a generator needs an iterable to yield from, not {given.__name__!r}"
    if hasattr(given, "__next__"):
        return "an iterator is empty after its first use: give a list or a tuple"
    return None


_LEFT_OUT = "%r is left out at %r: %s (%s)"

Firing = (
    tuple[Aim, int, "Slot"]
    | tuple[Aim, int, "Slot", Given]
    | tuple[Aim, int, "Slot", Given | None, list[float]]
)
Search = Callable[[Any], Firing | None]
"""One reach, given the labels or arguments of the call where the rules ask for them."""
GoOn = Callable[[Firing | None, Callable[[], Any], Callable[[], Firing | None] | None], Any]
"""How a call goes on: takes what fires before it, the call, and the search after it, if any."""


def search(aims: tuple[Aim, ...]) -> Search:
    """Return a function that makes one reach: tries ``aims`` in order, the first that fires acts.

    It raises nothing: a bug of ours lets the call through.
    """
    if any(aim.hands for aim in aims):
        return _handing(_search(aims))
    return _search(aims)


def search_later(make: Callable[[], tuple[Aim, ...]], *, hands: bool) -> Search:
    """Return the search through the aims that ``make`` returns, which the first reach calls.

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


def _search(aims: tuple[Aim, ...]) -> Search:
    if len(aims) == 1 and aims[0].test is None:
        return _search_one(aims[0])
    return _search_all(lambda: aims, now=True)


class _Begin:
    """Stands for what a search tries until it is first asked for that."""

    __slots__ = ("_begin",)

    def __init__(self, begin: Callable[[], Iterable[_Tried]]) -> None:
        self._begin = begin

    def __iter__(self) -> Iterator[_Tried]:
        return iter(self._begin())


def _search_all(make: Callable[[], tuple[Aim, ...]], *, now: bool = False) -> Search:
    aims: tuple[Aim, ...] = ()
    tried: Iterable[_Tried] = ()

    def begin() -> Iterable[_Tried]:
        nonlocal aims, tried
        try:
            aims = transparently(make)  # kinds are asked what they do, and may be foreign
        except Exception:
            _bug.report("making a point ready")
        tried = tuple((aim, aim.tally, aim.test, place) for place, aim in enumerate(aims, 1))
        return tried

    tried = begin() if now else _Begin(begin)

    def reach(values: Any = None) -> Firing | None:
        if inside.get():
            return None
        for aim, tally, test, place in tried:
            if test is not None and not test(values):
                for _ in aim.rule.misses:
                    break
                continue
            for ordinal in tally.ordinals:  # noqa: B007 - takes one, cheaper than next()
                break
            if ordinal >= tally.due and (firing := take(aim, ordinal)) is not None:
                for other in aims[place:]:
                    if other.test is None or other.test(values):
                        for _ in other.rule.shades:
                            break
                return firing
        return None

    return reach


def _search_one(aim: Aim) -> Search:
    tally = aim.tally
    ordinals = tally.ordinals

    def reach(_: Any = None) -> Firing | None:
        if inside.get():
            return None
        for ordinal in ordinals:  # noqa: B007
            break
        return take(aim, ordinal) if ordinal >= tally.due else None

    return reach


def take(aim: Aim, ordinal: int) -> Firing | None:
    """Return the firing that this reach is due, if any; raises nothing."""
    rule = aim.rule
    try:
        if not _process.known[0] and _process.made_anew():
            ordinal = next(rule.tally.ordinals)
        if rule.why is not None or (
            (at := rule.deadline) is not None and rule.home.now() >= at and end_late(rule)
        ):
            return None
        if rule.resolve is not None and not looked_up(rule):
            return None
        slot = rule.tally.take(ordinal)
    except Exception:
        _bug.report(f"deciding at {aim.point!r}")
        return None
    return None if slot is None else (aim, ordinal, slot)


def share_limits(rules: Iterable[ArmedRule]) -> bool:
    """Whether a firing before a call and one after it have one limit together."""
    return len({rule.terms.after for rule in rules if rule.terms.bounds is not None}) > 1


def end_late(rule: ArmedRule) -> bool:
    """Have a rule ended whose deadline has passed; return True."""
    transparently(rule.home.expire_soon)
    return True


def looked_up(rule: ArmedRule) -> bool:
    """Look up what waited for the rule's first reach; False if it is not there."""
    return transparently(_look_up, rule)  # it may import, which is foreign code


def _look_up(rule: ArmedRule) -> bool:
    try:
        rule.look_up()
    except ChaosError as error:
        rule.home.fail(rule, error)
        return False
    return True
