"""A rule aimed at one kind of placement of one point, and the search through several.

All that can be known before a firing is made ready at the first one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from chaospoint import _bug
from chaospoint._draw import Draws
from chaospoint._effects import Hold, Raise, Return, Sleep
from chaospoint._inside import inside
from chaospoint.errors import ChaosError

if TYPE_CHECKING:
    from chaospoint._effects import Fault
    from chaospoint._epoch import ArmedRule

__all__ = ["Aim", "Firing", "Kind", "Run", "Search", "aims_at", "refusal", "search", "take"]

Kind = Literal["function", "coroutine", "generator", "async generator", "block"]


class Aim:
    """One rule as it acts at one kind of placement of one point.

    Faults that the placement cannot express are left out.  What draws nothing is worked out at
    the first firing, and once.
    """

    __slots__ = ("_constant", "_faults", "note", "point", "rule")

    def __init__(self, rule: ArmedRule, point: str, kind: Kind) -> None:
        self.rule = rule
        self.point = point
        faults = rule.terms.faults
        self._faults = tuple(n for n, fault in enumerate(faults) if refusal(fault, kind) is None)
        self._constant: Act | Literal[False] | None = None  # False: it differs by the firing
        self.note = f"injected by chaospoint at {point!r}: {rule.shown} (armed by {rule.source})"

    @property
    def empty(self) -> bool:
        """Whether nothing of the rule is left at this placement."""
        return not self._faults

    def act(self, ordinal: int) -> Act:
        """Return what this firing does."""
        if self._constant:
            return self._constant
        rule = self.rule
        if self._constant is None:
            probe = _Probe(rule.seed, ordinal)
            act = self._work_out(probe)
            self._constant = False if probe.drawn else act
            return act
        return self._work_out(Draws(rule.seed, ordinal))

    def _work_out(self, draws: Draws) -> Act:
        kinds: list[str] = []
        waits: list[Sleep | Hold] = []
        latency: float | None = None
        for index in self._faults:
            fault = self.rule.faults[index]
            effects = fault.effects(draws)
            if effects:
                kinds.append(fault.kind)
            for effect in effects:
                if isinstance(effect, Raise | Return):
                    # An outcome: what stands behind it never acts.
                    raised = effect.name if isinstance(effect, Raise) else None
                    return Act("+".join(kinds), latency, raised, tuple(waits), effect)
                if isinstance(effect, Sleep):
                    latency = (latency or 0.0) + effect.seconds
                elif not isinstance(effect, Hold):
                    raise TypeError(f"{effect!r} is no effect")
                waits.append(effect)
        return Act("+".join(kinds), latency, None, tuple(waits), None)


class Act(NamedTuple):
    """What one firing does: ``fault`` is its label, empty where nothing acts."""

    fault: str
    latency: float | None
    exception: str | None
    waits: tuple[Sleep | Hold, ...]
    outcome: Raise | Return | None


def aims_at(rules: tuple[ArmedRule, ...], point: str, kind: Kind) -> tuple[Aim, ...]:
    """Return ``rules`` as they act at one kind of placement of a point; what cannot is left out."""
    aims = (Aim(rule, point, kind) for rule in rules)
    return tuple(aim for aim in aims if not aim.empty)


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
    if kind == "function" or kind == "coroutine":
        return None
    try:
        effects = fault.effects(_Probe(0, 0))
    except ChaosError:
        return None  # it waits for the first reach to look up what it raises
    for effect in effects:
        if not isinstance(effect, Return):
            continue
        if kind == "block":
            return "a block or a statement has no value to return: decorate a function"
        given = type(effect.value)
        if not hasattr(given, "__iter__"):
            return f"a generator needs an iterable to yield from, not {_a(given)}"
        if hasattr(given, "__next__"):
            return "an iterator is empty after its first use: give a list or a tuple"
    return None


def _a(kind: type) -> str:
    return f"{'an' if kind.__name__[0].lower() in 'aeiou' else 'a'} {kind.__name__}"


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
    token = inside.set(True)  # a finalizer or a signal handler may come in the middle
    try:
        rule = aim.rule
        if rule.why is not None:
            return None
        if rule.resolve is not None:
            try:
                rule.look_up()
            except ChaosError as error:
                rule.home.fail(rule, error)
                return None
        return (aim, ordinal) if rule.tally.take(ordinal) else None
    except Exception:
        _bug.report(f"deciding at {aim.point!r}")
        return None
    finally:
        inside.reset(token)
