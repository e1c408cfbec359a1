"""Bind rules to one placement, and work out what each of them does there at a firing.

A binding does at its first firing all work that does not depend on the ordinal.
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
    "log_left_out",
    "returned_function",
    "waits",
]


Hands = Callable[[Any], Given]
"""Makes the arguments of a call from the value that the placement passes to its search."""


class Binding:
    """One rule at one kind of placement of one point.

    Faults that the placement cannot express are left out.  ``test``: whether a call matches; None
    if every call does.  ``hands``: makes the arguments of a call; None if the rule needs none.
    ``shape``: the arguments that a call has, if known.

    ``constant`` is the `Action` of every firing if the faults draw nothing by chance.  It is None
    before the first firing, and False if each firing is different.  Threads may compute it at the
    same time; they get equal results, so it is written without a lock.
    """

    __slots__ = (
        "_faults",
        "_reported",
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
        self._reported: frozenset[str] = frozenset()
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
        self.constant: Action | Literal[False] | None = None
        self.raised: type | None = None  # the type of the latest exception
        self.shown = self.note = ""

    @property
    def empty(self) -> bool:
        """Whether the placement can express none of the faults."""
        return not self._faults

    def act(self, ordinal: int) -> Action:
        """Return what this firing does: `constant` if it is known, else it is worked out."""
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
        """Return what this firing does without its faults that wait."""
        return self._work_out(Draws(self.rule.seed, ordinal), can_wait=False)

    def _work_out(self, draws: Draws, *, can_wait: bool = True) -> Action:
        kinds: list[str] = []
        steps: list[Step] = []
        latency: float | None = None
        for index in self._faults:
            fault = self.rule.faults[index]
            effects = [effect for effect in fault.effects(draws) if self._can(fault, effect)]
            if not can_wait and any(map(waits, effects)):
                continue
            if effects:
                kinds.append(fault.kind)
            for effect in effects:
                if isinstance(effect, Raise | Return):
                    # An outcome ends the call, so later effects never act.
                    raised = effect.name if isinstance(effect, Raise) else None
                    return Action("+".join(kinds), latency, raised, tuple(steps), effect)
                if isinstance(effect, Sleep):
                    latency = (latency or 0.0) + effect.seconds
                elif not isinstance(effect, Hold | Run):
                    raise TypeError(f"{effect!r} is not an effect")
                steps.append(effect)
        return Action("+".join(kinds), latency, None, tuple(steps), None)

    def _can(self, fault: Fault, effect: Effect) -> bool:
        # Effects that depend on a draw are known only now, so they are checked here.
        reason = _why_not_expressible(effect, self.kind, self.rule.terms.after, self.shape)
        if reason is not None and fault.kind not in self._reported:
            self._reported |= {fault.kind}
            log(logging.WARNING, _LEFT_OUT, fault.kind, self.point, reason, self.rule.shown)
        return reason is None


def waits(effect: Effect) -> bool:
    """Whether this effect waits without keeping the processor busy."""
    return isinstance(effect, Hold) or (isinstance(effect, Sleep) and not effect.busy)


class Action(NamedTuple):
    """What one firing does; ``fault`` is its label, empty if nothing acts."""

    fault: str
    latency: float | None
    exception: str | None
    steps: tuple[Step, ...]
    outcome: Outcome | None


def asks_arguments(rule: ArmedRule) -> bool:
    """Whether a function of the rule takes the arguments of the call."""
    if rule.asks is None:  # remembered, because models are slow for attributes that they lack
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
    """Bind the rules that act before, or ``after``, the calls at one placement of a point.

    ``reads``: how the placement reads a label or argument. ``hands``: how it passes all arguments
    on. ``shape``: which arguments these are.  Leaves out rules that can never match there, and
    rules whose faults the placement cannot express.
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
    scoped = context.scoped_rules.get
    if test is None:
        return lambda _: rule in scoped()
    return lambda values: rule in scoped() and test(values)


def _in_force(rule: ArmedRule, point: str, test: Test | None) -> Test:
    # The rule may have been disarmed during the call, whose end is then not a reach.
    return lambda values: rule.acts_at(point) and (test is None or test(values))


def returned_function(fault: Fault) -> str | None:
    """Return the name of the Python function that ``fault`` returns as a value, if it does."""
    try:
        effects = fault.effects(RecordingDraws(0, 0))
    except Exception:
        return None  # as in `why_not_expressible`
    values = [effect.value for effect in effects if isinstance(effect, Return)]
    return next((value.__name__ for value in values if type(value) is FunctionType), None)


def expressible(rule: ArmedRule, kind: Kind) -> tuple[int, ...]:
    """Return the indexes of the rule's faults that a placement of this kind can express."""
    indexes = rule.expressible.get(kind)
    if indexes is None:
        faults, after = rule.terms.faults, rule.terms.after
        indexes = rule.expressible.get("block", ())
        if kind in STATEMENTS or len(indexes) < len(faults):
            indexes = tuple(
                n
                for n, fault in enumerate(faults)
                if why_not_expressible(fault, kind, after) is None
            )
        # Otherwise a block can express all of them, and so can every decorated function.
        rule.expressible[kind] = indexes
    return indexes


def log_left_out(
    rules: Iterable[ArmedRule], point: str, kind: Kind, shape: Shape | None = None
) -> None:
    """Log the faults that a placement cannot express, if it appeared after they were armed."""
    for rule in rules:
        for fault in rule.faults:
            if reason := why_not_expressible(fault, kind, rule.terms.after, shape):
                log(logging.WARNING, _LEFT_OUT, fault.kind, point, reason, rule.shown)


_LEFT_OUT = "%r is left out at %r: %s (%s)"
