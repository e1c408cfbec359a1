"""Arm, disarm, enable and disable from code.

Plans from code, tests, the environment and files pass through `install_plan`.  Rules over HTTP and
from a store are compiled one by one and meet the others at `Registry.install` and `replace`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal, NamedTuple, Unpack, cast
from weakref import ref

from chaospoint import _environ
from chaospoint._kernel import lock
from chaospoint._kernel.armed_rule import Source
from chaospoint._kernel.point import Point
from chaospoint._registry.handle import Armed
from chaospoint._registry.registry import Registry, default_registry
from chaospoint.errors import InvalidPlan, NotPermitted
from chaospoint.faults.default_message import is_static
from chaospoint.faults.lookup import Trust
from chaospoint.observers import add_defaults
from chaospoint.plan.compiling import compile_plan, refuse_placements
from chaospoint.plan.limits import NO_LIMITS, Limits
from chaospoint.plan.plan import Plan
from chaospoint.plan.rule import Keys, Rule

__all__ = [
    "Origin",
    "arm",
    "arm_from",
    "armed",
    "disable",
    "disabled_outside",
    "disarm",
    "enable",
    "install_plan",
    "plan_of",
]


def arm(
    point: str | Point | Rule | Plan,
    text: str | None = None,
    *,
    registry: Registry | None = None,
    strict: bool = False,
    **keys: Unpack[Keys],
) -> Armed:
    """Arm a rule; return the handle that disarms it and holds its counts.

    ``arm("payment.charge", latency="200ms", times=3)`` takes the name of a point, or a glob, and
    the keys of a rule.  ``arm("payment.charge", "3*raise(TimeoutError)")`` takes the text of the
    rule instead.  A `Rule` or a `Plan` takes neither.

    The faults: ``latency``, ``exception`` with ``failure_rate``, ``returns`` or
    ``returns_from``, ``hang``, ``call``; several of these as ``faults``.  When they act: ``when``
    ("before" or "after" the call), ``probability``, ``skip``, ``every``, ``times``,
    ``max_active``.  For which calls: ``where``, ``scope`` ("process" or "context").  Also
    ``seed``, and ``expires_after``.  Durations are seconds, or text such as "200ms".

    The rule is in force when this returns, and is tried before all rules that code armed earlier.
    Warns with `ChaosWarning` if no point has the name yet; with ``strict``, raises `UnknownPoint`
    instead.  Raises `InvalidPlan` for a rule that makes no sense, `UnsupportedFault` for a fault
    that no placement of the point can express, and `NotPermitted` while chaospoint is disabled;
    nothing is armed then.  Safe from any thread.
    """
    plan = plan_of(point, keys, text)
    return arm_from("code", plan, registry, seed=_environ.seed(), strict=strict)


class armed(AbstractContextManager["Armed"]):  # noqa: N801 - used like a function
    """Arm as `arm` does for the length of a ``with`` block, and disarm however the block ends.

    ``with armed("payment.charge", exception=TimeoutError, times=2) as handle: ...``.  Making the
    object already raises `InvalidPlan` for a rule that makes no sense.  The same object may be
    entered again, each time with new counts; use one object for each thread or task that arms at
    the same time.  Keep the object if you enter it without ``with``: its rules are disarmed when
    it is garbage collected.
    """

    __module__ = "chaospoint"

    def __init__(
        self,
        point: str | Point | Rule | Plan,
        text: str | None = None,
        *,
        registry: Registry | None = None,
        strict: bool = False,
        **keys: Unpack[Keys],
    ) -> None:
        self._plan = plan_of(point, keys, text)
        self._registry = registry
        self._strict = strict
        self._leases: list[_Lease] = []

    def __enter__(self) -> Armed:
        handle: Armed | None = None
        try:
            handle = arm(self._plan, registry=self._registry, strict=self._strict)
            lease = _Lease(self, lock.arming_lock.abandoned.append)
            lease.handle = handle
            _leases[id(lease)] = lease
            self._leases.append(lease)
            return handle
        except BaseException:
            if handle is not None:
                # Not `arming_lock.request`: a handler may run before a call's first instruction.
                lock.arming_lock.requests[handle.disarm] = 0
                lock.arming_lock.carry_out()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Without a call, so that no signal handler runs before the lease is known here.
        lease = self._leases[-1]
        del self._leases[-1]
        try:
            lease.end()
        except BaseException:
            lease.end()
            raise


class _Lease(ref[armed]):
    """Disarms what one ``with armed(...)`` armed, even if ``__exit__`` never runs.

    A signal handler may raise after ``with`` has left the block and before ``__exit__`` begins.
    Then the rule is disarmed a moment later, when the `armed` object is garbage collected.  The
    callback is C code, because an exception that a handler raises in a finalizer would be lost.
    """

    __slots__ = ("handle",)

    handle: Armed

    def end(self) -> None:
        """Disarm the rules; repeating it is safe."""
        reason = "" if self() is not None else _LEFT
        self.handle._engine.remove(self.handle.rules, "disarmed", reason=reason)
        _leases.pop(id(self), None)


_LEFT = "its block was left, because nothing keeps its `armed` object"
# Keeps the references alive, because a dead one makes no callback.  The keys are ids, because
# references to one object are equal.
_leases: dict[int, _Lease] = {}


def disarm(pattern: str = "*", *, registry: Registry | None = None) -> int:
    """Disarm the rules on a point, or on all points that a glob matches, from every source.

    Wakes the calls that these rules hold.  Returns how many rules ended or lost a point, which may
    be 0.  Safe from any thread, and in a signal handler.
    """
    return _with_observers(registry).disarm(pattern)


def disable(*, registry: Registry | None = None) -> None:
    """Turn the master switch off: stop every effect now, disarm everything, refuse to arm.

    This concerns one process.  It survives reloads and forks, and lasts until `enable` is called
    or all processes of the store are enabled.  Safe from any thread, and in a signal handler.
    """
    _with_observers(registry).disable()


def enable(*, registry: Registry | None = None) -> None:
    """Turn the master switch on: allow arming, and arm the rules of environment and file again.

    Raises `NotPermitted` if ``CHAOSPOINT_ENABLED`` is false or the store that this process follows
    is disabled, because it overrides neither.  Also raises it if rules from outside would come back
    and no thread can be started to end them.  Nothing changes then.  Safe from any thread.
    """
    if _environ.forbids():
        raise NotPermitted(
            f"{_environ.VARIABLE} is false in this process, which enable() does not override: "
            "unset it, or set it to true, and start again"
        )
    registry = _with_observers(registry)
    if registry.enabled and not lock.arming_lock.nested:
        return
    _refuse(_disabled_outside(registry))
    registry.enable()
    # The store may be disabled while threads start.
    if who := _disabled_outside(registry):
        registry.disable(by=who)
        _refuse(who)


def _disabled_outside(registry: Registry) -> str:
    return next(filter(None, (disabled_by(registry) for disabled_by in disabled_outside)), "")


def _refuse(who: str) -> None:
    if who:
        raise NotPermitted(
            f"chaospoint was disabled in all processes by {who}, which enable() in one of them "
            "does not override: run `chaospoint enable`, or POST /v1/enable"
        )


def arm_from(
    source: Literal["code", "test"],
    plan: Plan,
    registry: Registry | None = None,
    *,
    seed: int | None = None,
    strict: bool = False,
) -> Armed:
    """Arm a plan for code or a test of this process; raises as `arm` does."""
    if _environ.forbids():
        raise NotPermitted(
            f"{_environ.VARIABLE} is false in this process, so nothing can be armed: "
            "unset it, or set it to true"
        )
    registry = _with_observers(registry)
    return install_plan(plan, Origin(source), registry, seed=seed, strict=strict)


_TRUST: Mapping[Source, Trust] = {
    "code": "code",
    "test": "code",
    "env": "deferred",
    "file": "deferred",
    "http": "loaded",
    "store": "loaded",
}


class Origin(NamedTuple):
    """The origin of a plan: its source, and ``by``, the client or the variable it came from.

    ``early`` says that the program may not have completed ``sys.path`` yet.
    """

    source: Source
    by: str = ""
    early: bool = False

    @property
    def trust(self) -> Trust:
        """How far the names of exceptions in such a plan are looked up."""
        return "early" if self.early else _TRUST[self.source]


def install_plan(
    plan: Plan,
    origin: Origin,
    registry: Registry,
    *,
    seed: int | None = None,
    expires_after: float | None = None,
    strict: bool = False,
    replace: bool = False,
    place: Callable[[Mapping[str, str]], object] | None = None,
    limits: Limits = NO_LIMITS,
) -> Armed:
    """Compile ``plan`` and arm it; code, tests, environment and files all call this.

    ``seed`` and ``expires_after`` (seconds) are the defaults of a plan or rule that has none.
    With ``replace`` the plan takes the place of everything that its source armed; then ``strict``
    has no effect.  ``place`` puts the plan's placements in force after its rules are compiled and
    before they are armed; without it, a plan with placements raises `InvalidPlan`.  Raises
    `LimitExceeded` for a rule that passes ``limits``, and otherwise what `Registry.install` or
    `Registry.replace` raises.
    """
    if place is None:
        refuse_placements(plan)
    trust = origin.trust
    terms = compile_plan(plan, trust=trust, seed=seed, expires_after=expires_after, limits=limits)
    add_defaults(registry)
    if place is not None:
        place(plan.placements)
    if replace:
        return registry.replace(terms, source=origin.source, by=origin.by)
    return registry.install(terms, source=origin.source, by=origin.by, strict=strict)


disabled_outside: list[Callable[[Registry], str]] = []
"""Functions that return who disabled a registry for all processes, or an empty text."""


def _with_observers(registry: Registry | None) -> Registry:
    registry = default_registry() if registry is None else registry
    add_defaults(registry)
    return registry


def plan_of(target: str | Point | Rule | Plan, keys: Keys, text: str | None = None) -> Plan:
    """Return the plan that the arguments of `arm` describe; raises `InvalidPlan`."""
    if isinstance(target, Point):
        target = target.name
    if text is not None:
        return Plan(rules=[_rule_of(target, keys, text)])
    if isinstance(target, str):
        if set("=%(") & set(target):
            raise InvalidPlan(
                f"{target!r} looks like the text of a rule: arm(Rule.parse('point=...')) takes "
                "one, and arm(Plan.parse(...)) several",
                value=target,
            )
        if all(map(_is_constant, keys.values())):
            return _cached_plan(target, *keys, *keys.values())
        return Plan(rules=[Rule(point=target, **keys)])
    if not isinstance(target, Rule | Plan):
        raise InvalidPlan(
            f"{type(target).__name__!r} cannot be armed: give the name of a point or a glob with "
            "keys, such as arm('payment.charge', latency='200ms'), or a Rule or a Plan",
            value=target,
        )
    if keys:
        given = ", ".join(keys)
        kind = type(target).__name__
        raise InvalidPlan(
            f"a {kind} is complete, and cannot be armed with further keys ({given}): "
            f"put them into the {kind}",
            field=next(iter(keys)),
        )
    return Plan(rules=[target]) if isinstance(target, Rule) else target


def _rule_of(target: object, keys: Keys, text: object) -> Rule:
    if not isinstance(text, str):
        raise InvalidPlan(
            f"{text!r} is not the text of a rule: write text, such as "
            "arm('payment.charge', 'return(0)'), or keys, such as "
            "arm('payment.charge', latency='200ms', exception=TimeoutError)",
            value=text,
        )
    if keys or not isinstance(target, str):
        raise InvalidPlan(
            f"the text {text!r} is a whole rule, except the name of its point: give it after a "
            "name or a glob, and without keys",
            value=text,
        )
    return Rule.parse(f"{target}={text}")


_PLAIN = (int, float, bool, type(None))
_SHORT = 200


def _is_constant(value: object) -> bool:
    """Whether the value never changes and is cheap to keep: a plain value, or a class in C."""
    # Types are compared by identity: `isinstance` asks the value for its class and a set asks a
    # type for its hash, and both may run foreign code.
    kind = type(value)
    if kind is str:
        return len(cast("str", value)) <= _SHORT
    if kind is type:
        return is_static(cast("type", value))
    return any(kind is plain for plain in _PLAIN)


@lru_cache(maxsize=256, typed=True)
def _cached_plan(target: str, *given: object) -> Plan:
    """Return the cached plan of a rule that is armed again; ``given``: keys, then their values."""
    count = len(given) // 2
    keys: Any = dict(zip(given[:count], given[count:], strict=True))
    return Plan(rules=[Rule(point=target, **keys)])
