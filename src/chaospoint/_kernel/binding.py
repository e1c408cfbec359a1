"""Rules are bound to one placement: what each of them does there, firing by firing.

All that can be known before a firing is made ready at the first one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from chaospoint._kernel import context
from chaospoint._kernel.chance import Draws, RecordingDraws
from chaospoint._kernel.effects import Hold, Raise, Return, Run, Sleep
from chaospoint._kernel.matching import predicate_for
from chaospoint._kernel.placement import STATEMENTS, _why_not_expressible, why_not_expressible
from chaospoint._kernel.reporting import log
from chaospoint._kernel.takes import NO_ARGUMENTS, Given

if TYPE_CHECKING:
    from chaospoint._kernel.armed_rule import ArmedRule
    from chaospoint._kernel.effects import Effect, Fault, Outcome, Step
    from chaospoint._kernel.matching import Reads, Test
    from chaospoint._kernel.placement import Kind, Placed
    from chaospoint._kernel.takes import Shape

__all__ = [
    "Binding",
    "Hands",
    "asks_arguments",
    "bind",
    "expressible",
    "returned_function",
    "say_left_out",
    "waits",
]


Hands = Callable[[Any], Given]
"""How a placement gets them from what its search is given."""


class Binding:
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
        point: Placed,
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
            self._faults = tuple(
                index
                for index in self._faults
                if why_not_expressible(rule.terms.faults[index], kind, rule.terms.after, shape)
                is None
            )
        self.hands = hands if asks else None
        self.constant: Action | Literal[False] | None = None  # False: it differs by the firing
        self.raised: type | None = None  # of which type the latest exception was
        self.shown = self.note = ""

    @property
    def empty(self) -> bool:
        """Whether nothing of the rule is left at this placement."""
        return not self._faults

    def act(self, ordinal: int) -> Action:
        """Return what this firing does; ``constant``, once it is known, is the answer for all."""
        rule = self.rule
        if self.constant:
            return self.constant
        if self.constant is None:
            self.shown = rule.shown
            self.note = (
                f"injected by chaospoint at {self.point!r}: {self.shown} (armed by {rule.source})"
            )
            probe = RecordingDraws(rule.seed, ordinal)
            act = self._work_out(probe)
            self.constant = False if probe.drawn else act
            return act
        return self._work_out(Draws(rule.seed, ordinal))

    def act_without_waits(self, ordinal: int) -> Action:
        """Return what this firing does where nothing can wait: faults that would are left out."""
        return self._work_out(Draws(self.rule.seed, ordinal), can_wait=False)

    def _work_out(self, draws: Draws, *, can_wait: bool = True) -> Action:
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
                    return Action("+".join(kinds), latency, raised, tuple(steps), effect)
                if isinstance(effect, Sleep):
                    latency = (latency or 0.0) + effect.seconds
                elif not isinstance(effect, Hold | Run):
                    raise TypeError(f"{effect!r} is no effect")
                steps.append(effect)
        return Action("+".join(kinds), latency, None, tuple(steps), None)

    def _can(self, fault: Fault, effect: Effect) -> bool:
        # Faults whose effects differ by the draw show only here what a placement cannot express.
        why = _why_not_expressible(effect, self.kind, self.rule.terms.after, self.shape)
        if why is not None and fault.kind not in self._said:
            self._said |= {fault.kind}
            log(logging.WARNING, _LEFT_OUT, fault.kind, self.point, why, self.rule.shown)
        return why is None


def waits(effect: Effect) -> bool:
    """Whether the driver has to wait for this effect, without keeping the processor busy."""
    return isinstance(effect, Hold) or (isinstance(effect, Sleep) and not effect.busy)


class Action(NamedTuple):
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


def bind(
    rules: Sequence[ArmedRule],
    point: Placed,
    kind: Kind,
    *,
    after: bool = False,
    reads: Reads = itemgetter,
    hands: Hands = lambda _: NO_ARGUMENTS,
    shape: Shape | None = None,
) -> tuple[Binding, ...]:
    """Return the rules that act before, or after, the calls at one placement of a point.

    ``reads``: how labels and arguments are read there; ``hands``: how all arguments are handed
    on, and ``shape`` which these are.  What the placement cannot express, and what can never match
    there, is left out.
    """
    bindings = []
    for rule in rules:
        if rule.terms.after is not after:
            continue
        test: Test | None = None
        if rule.terms.where is not None:
            test = predicate_for(rule.terms.where, reads)
            if test is None:
                continue
        if rule.terms.scoped:
            test = _in_scope(rule, test)
        if after:
            test = _in_force(rule, point.name, test)
        binding = Binding(rule, point, kind, test, hands, shape)
        if not binding.empty:
            bindings.append(binding)
    return tuple(bindings)


def _in_scope(rule: ArmedRule, test: Test | None) -> Test:
    here = context.scoped_rules.get
    if test is None:
        return lambda _: rule in here()
    return lambda values: rule in here() and test(values)


def _in_force(rule: ArmedRule, point: str, test: Test | None) -> Test:
    # A call may end long after its rule was disarmed, and then is no reach of it.
    return lambda values: rule.acts_at(point) and (test is None or test(values))


def returned_function(fault: Fault) -> str | None:
    """Return the name of the Python function that ``fault`` gives as an answer, if it gives one."""
    try:
        effects = fault.effects(RecordingDraws(0, 0))
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
            found = tuple(
                n for n, one in enumerate(faults) if why_not_expressible(one, kind, after) is None
            )
        # Else a block can express all of it, and so can every decorated function.
        rule.expressible[kind] = found
    return found


def say_left_out(
    rules: Iterable[ArmedRule], point: str, kind: Kind, shape: Shape | None = None
) -> None:
    """Say which faults a placement cannot express that was not there when they were armed."""
    for rule in rules:
        for fault in rule.faults:
            if why := why_not_expressible(fault, kind, rule.terms.after, shape):
                log(logging.WARNING, _LEFT_OUT, fault.kind, point, why, rule.shown)


_LEFT_OUT = "%r is left out at %r: %s (%s)"
