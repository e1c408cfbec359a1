"""What code does with plans: arm, disarm, and turn the master switch.

Arming from any source ends in `install_plan`: it compiles the plan, has the default observers
loaded, and hands the rules to the registry.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast
from weakref import ref

from chaospoint import _environ
from chaospoint._kernel import lock
from chaospoint._kernel.point import Point
from chaospoint._registry.registry import Registry, default_registry
from chaospoint.errors import InvalidPlan, NotPermitted
from chaospoint.faults.default_message import is_static
from chaospoint.observers import add_defaults
from chaospoint.plan.compiling import compile_plan, refuse_placements
from chaospoint.plan.limits import NO_LIMITS, Limits
from chaospoint.plan.plan import Plan
from chaospoint.plan.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Unpack

    from chaospoint._kernel.armed_rule import Source
    from chaospoint._registry.handle import Armed
    from chaospoint.faults.lookup import Trust
    from chaospoint.plan.rule import Keys

__all__ = [
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
    *,
    registry: Registry | None = None,
    strict: bool = False,
    **keys: Unpack[Keys],
) -> Armed:
    """Arm a rule, and return the handle that disarms it and has its counts.

    ``arm("payment.charge", latency="200ms", times=3)``: a point's name or a glob with the keys of
    a rule; or a `Rule`, or a `Plan`, without keys. It is in force when this returns, before all
    that code armed earlier. A name that no point has so far is warned of (`ChaosWarning`), or
    refused with `UnknownPoint` if ``strict``. Raises `InvalidPlan` for what makes no sense,
    `UnsupportedFault` for what no placement of the point can express, `NotPermitted` while
    disabled; nothing is armed then. Safe from any thread.
    """
    return arm_from("code", plan_of(point, keys), registry, seed=_environ.seed(), strict=strict)


class armed(AbstractContextManager["Armed"]):  # noqa: N801 - used as a function is
    """Arm as `arm` does for the length of a ``with`` block, and disarm on every way out.

    ``with armed("payment.charge", exception=TimeoutError, times=2) as handle: ...``. What is
    wrong with the rule is raised here already, before the block is entered. The same object may
    be entered again, each time with fresh counts; threads and tasks that arm at the same time
    take an object each. Keep the object if you enter it without ``with``: when it is gone, its
    rules are disarmed.
    """

    def __init__(
        self,
        point: str | Point | Rule | Plan,
        *,
        registry: Registry | None = None,
        strict: bool = False,
        **keys: Unpack[Keys],
    ) -> None:
        self._plan = plan_of(point, keys)
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
                # Not `arming.request`: a handler may run before a call's first instruction.
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
    """What one ``with armed(...)`` has armed, for as long as the block may still be left.

    A signal handler may raise where ``with`` has left the block and ``__exit__`` has not begun.
    Then the rule is disarmed when the `armed` object is gone, a moment later.  The callback is
    C code, because what a handler raises within a finalizer would be lost.
    """

    __slots__ = ("handle",)

    handle: Armed

    def end(self) -> None:
        """Disarm it; doing so twice does no harm."""
        reason = "" if self() is not None else _LEFT
        self.handle._engine.remove(self.handle.rules, "disarmed", reason=reason)
        _leases.pop(id(self), None)


_LEFT = "its block was left, for nothing keeps its `armed` object"
# A reference that is gone calls nothing back.  By identity, because those to one object are equal.
_leases: dict[int, _Lease] = {}


def disarm(pattern: str = "*", *, registry: Registry | None = None) -> int:
    """Disarm what is armed on a name, or on all that a glob matches, of every source.

    Wakes all that sleep there. Returns how many rules were touched; nothing there is no error.
    """
    return _seen(registry).disarm(pattern)


def disable(*, registry: Registry | None = None) -> None:
    """Turn the master switch off: stop every effect now, disarm everything, refuse to arm.

    It concerns this process, survives reloads and forks, and holds until `enable`, or until
    somebody enables all processes of the store.
    """
    _seen(registry).disable()


def enable(*, registry: Registry | None = None) -> None:
    """Turn the master switch on: allow arming; what environment and file hold comes back.

    Raises `NotPermitted` where ``CHAOSPOINT_ENABLED`` is false, and while the store that this
    process follows is disabled: it overrides neither. Raises it, too, where something would come
    back from outside that no thread can end. Nothing changes then.
    """
    if _environ.forbids():
        raise NotPermitted(
            f"{_environ.VARIABLE} is false in this process, which enable() does not override: "
            "unset it, or set it to true, and start again"
        )
    found = _seen(registry)
    if found.enabled and not lock.arming_lock.nested:
        return
    _refuse(_disabled_outside(found))
    found.enable()
    # Starting threads takes time, in which the store may be disabled.
    if who := _disabled_outside(found):
        found.disable(by=who)
        _refuse(who)


def _disabled_outside(registry: Registry) -> str:
    return next(filter(None, (asked(registry) for asked in disabled_outside)), "")


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
    """Arm what the code of this process asks for; raises as `arm` does."""
    if _environ.forbids():
        raise NotPermitted(
            f"{_environ.VARIABLE} is false in this process, so nothing can be armed: "
            "unset it, or set it to true"
        )
    found = _seen(registry)
    return install_plan(plan, source=source, trust="code", registry=found, seed=seed, strict=strict)


def install_plan(
    plan: Plan,
    *,
    source: Source,
    trust: Trust,
    registry: Registry,
    seed: int | None = None,
    expires_after: float | None = None,
    by: str = "",
    strict: bool = False,
    replace: bool = False,
    place: Callable[[Mapping[str, str]], object] | None = None,
    limits: Limits = NO_LIMITS,
) -> Armed:
    """Compile ``plan`` and arm it; the way in for every source.

    ``trust``: how far names of exceptions are looked up. ``seed``: for rules and plans without
    one. ``expires_after``: seconds, for rules without. ``replace``: in place of all that the
    source armed. ``place`` puts the plan's placements in force, once nothing is wrong with its
    rules and before they are armed; without it a plan that says any is refused. ``limits``: what
    no rule of the plan may pass; `LimitExceeded` if one does.
    """
    if place is None:
        refuse_placements(plan)
    terms = compile_plan(plan, trust=trust, seed=seed, expires_after=expires_after, limits=limits)
    add_defaults(registry)
    if place is not None:
        place(plan.placements)
    if replace:
        return registry.replace(terms, source=source, by=by)
    return registry.install(terms, source=source, by=by, strict=strict)


disabled_outside: list[Callable[[Registry], str]] = []
"""Each returns in words who has disabled a registry for all processes, or an empty text."""


def _seen(registry: Registry | None) -> Registry:
    registry = default_registry() if registry is None else registry
    add_defaults(registry)
    return registry


def plan_of(target: str | Point | Rule | Plan, keys: Keys) -> Plan:
    """Return the plan that the arguments of `arm` say; raises `InvalidPlan`."""
    if isinstance(target, Point):
        target = target.name
    if isinstance(target, str):
        if set("=%(") & set(target):
            raise InvalidPlan(
                f"{target!r} looks like the text of a rule: arm(Rule.parse('point=...')) takes "
                "one, and arm(Plan.parse(...)) several",
                value=target,
            )
        if all(map(_lasts, keys.values())):
            return _plan_again(target, *keys, *keys.values())
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


_PLAIN = (int, float, bool, type(None))
_SHORT = 200


def _lasts(value: object) -> bool:
    """Whether the value never changes, and costs nothing to keep: plain, or a class in C."""
    # Types are compared as they are: `isinstance` asks the value for its class, and sets ask types
    # for their hash, which may be foreign code.
    kind = type(value)
    if kind is str:
        return len(cast("str", value)) <= _SHORT
    if kind is type:
        return is_static(cast("type", value))
    return any(kind is plain for plain in _PLAIN)


@lru_cache(maxsize=256, typed=True)
def _plan_again(target: str, *given: object) -> Plan:
    """Return the plan of a rule that is armed again and again: the keys, then their values."""
    count = len(given) // 2
    keys: Any = dict(zip(given[:count], given[count:], strict=True))
    return Plan(rules=[Rule(point=target, **keys)])
