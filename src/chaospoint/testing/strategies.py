"""Hypothesis strategies for rules and plans.

Drawn rules and plans can be armed without warnings: the current placements of their points can
express the faults. A placement that is added later may not, which then causes a warning. Each has
its own seed, so that it repeats. Only this module imports hypothesis.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from chaospoint._kernel.names import is_glob, matches, nearest
from chaospoint._kernel.placement import why_not_expressible
from chaospoint._registry.registry import Registry
from chaospoint.errors import ChaosError, InjectedFault, InvalidPlan
from chaospoint.faults.base import FaultModel
from chaospoint.faults.failpoints import Off, Yield
from chaospoint.faults.failure import Failure
from chaospoint.faults.hang import Hang
from chaospoint.faults.latency import Latency
from chaospoint.faults.returns import Return
from chaospoint.models.durations import parse_duration
from chaospoint.models.refusal import Refusal
from chaospoint.plan.compiling import compile_plan
from chaospoint.plan.plan import Plan
from chaospoint.plan.rule import Rule

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "chaospoint.testing.rules and plans need hypothesis, which is not installed: "
        "pip install hypothesis",
        name=error.name,
    ) from None

if TYPE_CHECKING:
    from chaospoint._kernel.point import Point
    from chaospoint.faults.failure import ExceptionForm

__all__ = ["plans", "rules"]

KINDS: Final = ("exception", "latency", "return", "hang", "off", "yield")
_HURT: Final = KINDS[:4]
_OUTCOMES: Final = ("exception", "return", "hang")
# A fault of each kind for which only the kind decides whether a placement can express it.
_ANY: Final[Mapping[str, FaultModel]] = {
    "exception": Failure(),
    "latency": Latency(seconds=0),
    "hang": Hang(seconds=0),
    "off": Off(),
    "yield": Yield(),
}
_DEFAULT_LATENCY: Final = 0.01
_STEPS: Final = 100  # the number of different latencies, so that they are short to read
_SEEDS: Final = st.integers(0, 2**32 - 1)
# Hypothesis shrinks plans better if a rule takes few choices, so all triggers are one choice. The
# simplest comes first.
_FIRINGS: Final[Sequence[Mapping[str, float]]] = (
    {},
    *({"skip": n} for n in (1, 2, 3)),
    *({"every": n} for n in (2, 3)),
    *({"probability": share} for share in (0.75, 0.5, 0.25)),
)
_TRIGGERS: Final[Sequence[Mapping[str, float]]] = (
    *({"times": times, **firing} for firing in _FIRINGS for times in (1, 2, 3, 4)),
    *_FIRINGS,
)


def rules(
    points: str | Sequence[str] = "*",
    *,
    kinds: Collection[str] | None = None,
    exceptions: Sequence[ExceptionForm] | None = None,
    returns: Sequence[object] = (),
    max_latency: float | str = _DEFAULT_LATENCY,
    registry: Registry | None = None,
) -> st.SearchStrategy[Rule]:
    """Draw rules, each with its own seed and for one point; the simplest fires once.

    ``points``: names or globs. Globs match the points that ``registry`` (by default the default
    registry) has at the time of drawing, which must be the same each time: import the modules with
    the points first. Names are drawn even if no point has them.

    ``kinds``: some of ``exception``, ``latency``, ``return``, ``hang``, ``off`` and ``yield``; by
    default the first four, with ``return`` only if ``returns`` has values. ``exceptions``: in any
    form that the key ``exception`` takes; by default the exceptions that the placements declare
    (``raises=``) and that need no arguments, or else `InjectedFault`. ``returns``: the values to
    return. ``max_latency``: the maximum of latencies and hangs, in seconds or as a duration such as
    ``"200ms"``; by default 10 ms. They take real time, unless the test uses a fake clock.

    ``when``, ``times`` and one of ``skip``, ``every`` and ``probability`` are drawn too.
    ``when="after"`` is drawn only for points on decorated functions, because other placements may
    be statements, which have no end.

    Raises `InvalidPlan` for an exception that cannot be armed, and `ChaosError` for an unknown
    kind. Drawing raises `ChaosError` if no point matches.
    """
    drawn = _Drawn(points, kinds, exceptions, returns, max_latency, registry)
    return st.composite(lambda draw, /: drawn.rule(draw, seed=draw(_SEEDS)))()


def plans(
    points: str | Sequence[str] = "*",
    *,
    kinds: Collection[str] | None = None,
    exceptions: Sequence[ExceptionForm] | None = None,
    returns: Sequence[object] = (),
    max_latency: float | str = _DEFAULT_LATENCY,
    max_rules: int = 3,
    registry: Registry | None = None,
) -> st.SearchStrategy[Plan]:
    """Draw plans of up to ``max_rules`` rules, with a seed; the other arguments are as in `rules`.

    Examples shrink towards a plan without rules, and a rule towards one that fires once. A plan has
    no rule that can never fire because of an earlier one.
    """
    if isinstance(max_rules, bool) or not isinstance(max_rules, int) or max_rules < 0:
        raise ChaosError(f"max_rules={max_rules!r}: write a whole number from 0")
    drawn = _Drawn(points, kinds, exceptions, returns, max_latency, registry)
    several = st.lists(st.composite(drawn.rule)(), max_size=max_rules)
    return st.composite(lambda draw: drawn.plan(draw, several))()


class _Drawn:
    """The arguments of `rules` and `plans`, checked, and how to draw from them."""

    def __init__(
        self,
        points: str | Sequence[str],
        kinds: Collection[str] | None,
        exceptions: Sequence[ExceptionForm] | None,
        returns: Sequence[object],
        max_latency: float | str,
        registry: Registry | None,
    ) -> None:
        self._patterns = (points,) if isinstance(points, str) else tuple(points)
        if not self._patterns:
            raise ChaosError(
                "points is empty, so there is nothing to draw rules for: write names or globs, "
                "such as ['payment.charge']"
            )
        self._registry = Registry.default() if registry is None else registry
        self._exceptions = None if exceptions is None else tuple(exceptions)
        self._returns = tuple(returns)
        self._kinds = _checked(kinds, exceptions, self._returns)
        try:
            self._most = parse_duration(max_latency)
        except Refusal as refused:
            raise refused.within("max_latency").of_rule("rules").invalid_plan() from None
        times = st.integers(1, _STEPS).map(self._seconds)
        self._same: dict[str, st.SearchStrategy[FaultModel]] = {
            "latency": st.builds(Latency, seconds=times),
            "hang": st.builds(Hang, seconds=times),
            "off": st.builds(Off),
            "yield": st.builds(Yield),
        }
        for pattern in self._patterns:
            Rule(point=pattern, faults=[Off()])
        for exception in self._exceptions or ():
            _try(exception)
        for value in self._returns:
            Return(value=value)

    def plan(self, draw: st.DrawFn, several: st.SearchStrategy[list[Rule]]) -> Plan:
        """Draw a plan."""
        kept: list[Rule] = []
        for rule in draw(several):
            if not any(_hides(earlier, rule) for earlier in kept):
                kept.append(rule)
        seed = draw(_SEEDS)
        return draw(st.builds(Plan, rules=st.just(kept), seed=st.just(seed)))

    def rule(self, draw: st.DrawFn, /, **seed: int) -> Rule:
        """Draw a rule.

        Built with ``st.builds`` throughout, so that Hypothesis shows code that can be copied.
        """
        name, after, kind = draw(st.sampled_from(self._shapes()))
        faults = [draw(self._fault(kind, name, after=after))]
        if kind in _OUTCOMES and "latency" in self._kinds:
            late = draw(st.integers(-_STEPS, _STEPS))  # half of them have no latency
            if late > 0:
                faults.insert(0, draw(st.builds(Latency, seconds=st.just(self._seconds(late)))))
        keys: dict[str, Any] = {"point": name, "faults": faults}
        if after:
            keys["when"] = "after"
        keys |= {**draw(st.sampled_from(_TRIGGERS)), **seed}
        return draw(st.builds(Rule, **{key: st.just(value) for key, value in keys.items()}))

    def _shapes(self) -> list[tuple[str, bool, str]]:
        """Return all combinations of point, after the call or not, and kind that can be drawn."""
        return [
            (name, after, kind)
            for name in self._names()
            for after in (False, True)
            for kind in self._can(name, after=after)
        ]

    def _seconds(self, step: int) -> float:
        return round(self._most * step / _STEPS, 9)

    def _fault(self, kind: str, name: str, *, after: bool) -> st.SearchStrategy[FaultModel]:
        if kind == "exception":
            given = self._exceptions or _declared(self._registry.find(name))
            return st.builds(Failure, exception=st.sampled_from(given))
        if kind == "return":
            values = self._returnable(name, after=after)
            return st.builds(Return, value=st.sampled_from(values))
        return self._same[kind]

    def _can(self, name: str, *, after: bool) -> list[str]:
        """Return the kinds that can be drawn for a point."""
        return [
            kind
            for kind in self._kinds
            if (
                self._returnable(name, after=after)
                if kind == "return"
                else self._expresses(_ANY[kind], name, after=after)
            )
        ]

    def _returnable(self, name: str, *, after: bool) -> list[object]:
        """Return the values that every placement of the point can return."""
        return [
            value
            for value in self._returns
            if self._expresses(Return(value=value), name, after=after)
        ]

    def _expresses(self, fault: FaultModel, name: str, *, after: bool) -> bool:
        """Whether all placements of a point can express a fault; true if there is no such point."""
        if self._registry.find(name) is None:
            return True
        kinds = self._registry.engine.points.kinds(name)
        return all(why_not_expressible(fault, kind, after) is None for kind in kinds)

    def _names(self) -> list[str]:
        """Return the points that something can be drawn for, in order."""
        known = [point.name for point in self._registry.points()]
        names: list[str] = []
        for pattern in self._patterns:
            if is_glob(pattern):
                names += (name for name in known if matches(pattern, name))
            else:
                names.append(pattern)
        patterns = ", ".join(map(repr, self._patterns))
        if not names:
            similar = nearest(self._patterns[0], known)
            hint = f" (the nearest: {', '.join(similar)})" if similar else ""
            raise ChaosError(
                f"there is nothing to draw rules for: no point matches {patterns}{hint}; import "
                "the modules that create the points, or write their names: "
                "points=['payment.charge']"
            )
        able = [
            name for name in names if self._can(name, after=False) or self._can(name, after=True)
        ]
        if not able:
            raise ChaosError(
                f"no placement of the points {patterns} can express {self._kinds[0]!r} with the "
                "given values: allow more kinds, or omit kinds"
            )
        return list(dict.fromkeys(able))


def _checked(
    kinds: Collection[str] | None,
    exceptions: Sequence[ExceptionForm] | None,
    returns: Sequence[object],
) -> tuple[str, ...]:
    """Return the kinds to draw, in the order in which examples shrink."""
    if exceptions is not None and not exceptions:
        raise ChaosError("exceptions is empty: write at least one, or omit it")
    if kinds is None:
        return tuple(kind for kind in _HURT if kind != "return" or returns)
    given = {kinds} if isinstance(kinds, str) else set(kinds)
    if wrong := sorted(given - set(KINDS)) or (not given and [""]):
        raise ChaosError(f"kinds={wrong[0]!r} cannot be drawn: write some of {', '.join(KINDS)}")
    if ("return" in given) is not bool(returns):
        raise ChaosError(
            "kinds with 'return' and returns=[...] need each other: pass both or neither"
        )
    if exceptions is not None and "exception" not in given:
        raise ChaosError(
            "exceptions has no effect because kinds has no 'exception': add it to kinds"
        )
    return tuple(kind for kind in KINDS if kind in given)


def _declared(point: Point | None) -> tuple[ExceptionForm, ...]:
    """Return the exceptions that the placements of a point declare and that can be built."""
    buildable: list[ExceptionForm] = []
    for exception in () if point is None else point.core.raises:
        try:
            _try(exception)
        except InvalidPlan:
            continue  # such as UnicodeDecodeError, which needs arguments
        buildable.append(exception)
    return tuple(buildable) or (InjectedFault,)


def _try(exception: ExceptionForm) -> None:
    """Raise `InvalidPlan` for an exception that cannot be armed."""
    compile_plan(Plan(rules=[Rule(point="any", exception=exception)]), trust="code")


def _hides(earlier: Rule, later: Rule) -> bool:
    """Whether the later rule can never fire."""
    always = (earlier.skip, earlier.every, earlier.times, earlier.probability) == (0, 1, None, 1.0)
    return always and (earlier.point, earlier.when) == (later.point, later.when)
