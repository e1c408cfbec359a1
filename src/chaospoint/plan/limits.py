"""The limits for rules from outside: from variables, files, stores and HTTP.

A rule that states more than a limit allows is refused, together with its plan. A delay or hang that
the rule does not state, because it is random or the kind comes from another package, is cut short
when the rule acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from chaospoint._kernel.effects import Hold, Raise, Sleep
from chaospoint._kernel.names import is_glob, matches
from chaospoint.errors import LimitExceeded
from chaospoint.faults.failpoints import Burn, Off, Pause, Print, Yield
from chaospoint.faults.failure import Failure
from chaospoint.faults.hang import Hang
from chaospoint.faults.latency import Latency
from chaospoint.faults.returns import Return
from chaospoint.models.durations import format_duration
from chaospoint.models.refusal import show
from chaospoint.plan.secret_names import looks_secret

if TYPE_CHECKING:
    from chaospoint._kernel.chance import Draws
    from chaospoint._kernel.effects import Effect, Fault
    from chaospoint.faults.base import FaultModel
    from chaospoint.plan.rule import Rule

__all__ = ["DAY_SECONDS", "MAX_FAULTS", "NO_LIMITS", "Limits"]

DAY_SECONDS: Final = 86_400.0
"""The longest lifetime of a rule from HTTP or a store, unless a limit sets another."""

MAX_FAULTS: Final = 64
"""The most faults that a rule from outside may have."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one process. Times are in seconds; None means no limit.

    ``max_latency``: the longest delay of one call by all faults before and after it, including
    ``yield`` and ``print``. ``max_hang``: the longest hang of one call. ``max_expires_after``: the
    longest lifetime of a rule. ``forbidden_points``: names and globs of points at which no rule may
    act. ``forbidden_kinds``: kinds of faults. ``secret_arguments``: names that ``where`` must not
    use, in addition to names that look secret. A ``call`` fault, and a kind of another package that
    runs code, can take any time; the way to limit them is to forbid the kind.
    """

    max_latency: float | None = None
    max_hang: float | None = None
    max_expires_after: float | None = None
    forbidden_points: tuple[str, ...] = ()
    forbidden_kinds: tuple[str, ...] = ()
    secret_arguments: tuple[str, ...] = ()

    @property
    def of_strangers(self) -> Limits:
        """The limits for rules over HTTP and from stores, which always have a lifetime."""
        if self.max_expires_after is not None:
            return self
        return replace(self, max_expires_after=DAY_SECONDS)

    def check_outside(self, rule: Rule, name: str) -> None:
        """Raise `LimitExceeded` for a rule that no process accepts from outside."""
        if len(rule.faults) > MAX_FAULTS:
            raise LimitExceeded(
                f"{name}: {len(rule.faults)} faults, and a rule from outside may have at most "
                f"{MAX_FAULTS}; leave out those that repeat, or write several rules"
            )
        for argument in rule.where or ():
            if looks_secret(argument, self.secret_arguments):
                raise LimitExceeded(
                    f"{name}: where uses {show(argument)}, which may be a secret, and a rule from "
                    "outside could guess its value; use another argument, or give the point a "
                    "label with another name"
                )

    def check(self, rule: Rule, name: str) -> None:
        """Raise `LimitExceeded` if ``rule``, which messages call ``name``, exceeds a limit."""
        for pattern in self.forbidden_points:
            if matches(pattern, rule.point):
                raise LimitExceeded(
                    f"{name}: CHAOSPOINT_FORBIDDEN_POINTS contains {pattern!r}, so no rule from "
                    "outside may act there; name another point, or remove it from the variable and "
                    "restart the service"
                )
        for fault in rule.faults:
            if fault.kind in self.forbidden_kinds:
                raise LimitExceeded(
                    f"{name}: CHAOSPOINT_FORBIDDEN_KINDS contains {fault.kind!r}; use another kind "
                    "of fault, or remove it from the variable and restart the service"
                )
        self._check_spans(rule, name)

    @property
    def bounds(self) -> tuple[float | None, float | None] | None:
        """The longest delay and hang of one injection, in seconds; None if neither is limited."""
        if self.max_latency is None and self.max_hang is None:
            return None
        return self.max_latency, self.max_hang

    def check_lifetime(self, seconds: float | None, name: str) -> None:
        """Raise `LimitExceeded` if a rule would stay armed for longer than the limit."""
        if seconds is not None and _exceeds(seconds, self.max_expires_after):
            excess = f"expires_after={format_duration(seconds)}"
            if self.max_expires_after == DAY_SECONDS:  # the default, if the variable is not set
                raise LimitExceeded(
                    f"{name}: {excess} is more than the limit of 1d; write at most 1d, or start "
                    "the service with a longer CHAOSPOINT_MAX_EXPIRES_AFTER"
                )
            raise LimitExceeded(_beyond(name, excess, "MAX_EXPIRES_AFTER", self.max_expires_after))

    def _check_spans(self, rule: Rule, name: str) -> None:
        self.check_lifetime(rule.expires_after, name)
        spans = [_stated(fault) for fault in rule.faults]
        delay = _sum(delay for delay, _ in spans)
        if _exceeds(delay, self.max_latency):
            excess = f"a latency of up to {format_duration(delay)}"
            raise LimitExceeded(_beyond(name, excess, "MAX_LATENCY", self.max_latency))
        # A pause may last for the whole limit, so no other fault of its rule may hold a call.
        pauses = sum(isinstance(fault, Pause) for fault in rule.faults)
        hang = _sum(hang for _, hang in spans) + pauses * (self.max_hang or 0.0)
        if _exceeds(hang, self.max_hang):
            excess = "a hang without end" if hang == inf else f"a hang of {format_duration(hang)}"
            if pauses:
                excess += ", with a pause counted as the limit,"
            raise LimitExceeded(_beyond(name, excess, "MAX_HANG", self.max_hang))

    def lifetime(self, seconds: float | None) -> float | None:
        """Return the lifetime of a rule that states ``seconds``, cut to the limit; in seconds."""
        if self.max_expires_after is None or seconds is None:
            return self.max_expires_after if seconds is None else seconds
        return min(seconds, self.max_expires_after)

    def excluded(self, pattern: str) -> tuple[str, ...]:
        """Return the forbidden names and globs that are taken out of a wider glob."""
        if not is_glob(pattern):
            return ()
        return tuple(
            taken for taken in self.forbidden_points if is_glob(taken) or matches(pattern, taken)
        )

    def cut(self, faults: Sequence[FaultModel], resolved: Sequence[Fault]) -> tuple[Fault, ...]:
        """Return a rule's resolved faults, cut where they may pass what all of them may do.

        Those that cannot are returned as they are. A pause that is cut lets the call go on as if
        it had been released; a hang without end becomes a `TimeoutError`, as `Hang` of so many
        seconds does; after any other one the rest of the rule acts.
        """
        most = [_most(fault) for fault in faults]
        delays = _exceeds(_sum(delay for delay, _ in most), self.max_latency)
        hangs = _exceeds(_sum(hang for _, hang in most), self.max_hang)
        bounded: list[Fault] = []
        risky: list[Fault] = []
        for fault, (delay, hang) in zip(resolved, most, strict=True):
            if (delays and delay) or (hangs and hang):
                risky.append(fault)
                bounded.append(_Cut(tuple(risky), self.max_latency, self.max_hang))
            else:
                bounded.append(fault)
        return tuple(bounded)


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class _Cut:
    """The last of ``faults``, cut to the time that the faults before it leave."""

    faults: tuple[Fault, ...]
    max_latency: float | None
    max_hang: float | None

    @property
    def kind(self) -> str:
        """The kind of the last fault."""
        return self.faults[-1].kind

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        """Return the effects of the last fault, cut to the time that is left."""
        latency = inf if self.max_latency is None else self.max_latency
        hang = inf if self.max_hang is None else self.max_hang
        effects: list[Effect] = []
        for fault in self.faults:
            effects = []
            for effect in fault.effects(draws):
                if isinstance(effect, Sleep):
                    seconds = _at_most(effect.seconds, latency)
                    latency -= seconds
                    effects.append(Sleep(seconds, effect.busy))
                elif isinstance(effect, Hold) and self.max_hang is not None:
                    endless = effect.seconds is None
                    seconds = _at_most(inf if effect.seconds is None else effect.seconds, hang)
                    hang -= seconds
                    effects.append(Hold(seconds, effect.releasable))
                    if endless and not effect.releasable:
                        late = partial(TimeoutError, f"no answer for {seconds:g} s")
                        effects.append(Raise(late, "TimeoutError"))
                        break  # later effects would never have acted
                else:
                    effects.append(effect)
        return tuple(effects)


_KNOWN: Final = (Burn, Failure, Hang, Latency, Off, Pause, Print, Return, Yield)
"""The kinds whose delays and hangs are known from their fields."""


def _stated(fault: FaultModel) -> tuple[float, float]:
    """Return the delay and the hang that a fault states, in seconds."""
    if isinstance(fault, Latency):
        spread = fault.jitter if fault.distribution == "uniform" else 0.0
        return fault.seconds + spread, 0.0
    if isinstance(fault, Burn):
        return fault.seconds, 0.0
    if isinstance(fault, Hang):
        return 0.0, inf if fault.seconds is None else fault.seconds
    return 0.0, 0.0


def _most(fault: FaultModel) -> tuple[float, float]:
    """Return the longest delay and hang that a fault can cause, in seconds."""
    if type(fault) not in _KNOWN:
        return inf, inf
    if isinstance(fault, Latency) and fault.distribution != "uniform":
        return inf, 0.0
    return (0.0, inf) if isinstance(fault, Pause) else _stated(fault)


def _sum(spans: Iterable[float]) -> float:
    return (
        round(total, 9) if (total := sum(spans)) < inf else inf
    )  # rounded, so that 0.1 + 0.2 does not exceed 0.3


def _exceeds(seconds: float, limit: float | None) -> bool:
    return limit is not None and seconds > limit


def _at_most(seconds: float, limit: float) -> float:
    """Return ``seconds`` cut to the limit; kinds of other packages may give NaN or less than 0."""
    return max(0.0, seconds) if seconds <= limit else limit


def _beyond(name: str, excess: str, variable: str, limit: float | None) -> str:
    return (
        f"{name}: {excess} is more than CHAOSPOINT_{variable}={format_duration(limit or 0.0)}; "
        "write at most that, or raise the variable and restart the service"
    )
