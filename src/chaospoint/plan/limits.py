"""The limits for rules from outside, of every source.

What a rule says beyond a limit is refused, and its plan with it.  What it may do without saying so,
by chance or because another package made the fault, is cut when it acts.
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
"""For how long a rule that came over HTTP or from a store stays armed, unless a limit says more."""

MAX_FAULTS: Final = 64
"""How many faults a rule from outside may have."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one process; seconds, or None where there is none.

    ``max_latency``: for how long rules delay a call, all faults before and after it together, with
    what giving up the turn and printing take. ``max_hang``: for how long they hold one.
    ``max_expires_after``: for how long a rule stays armed. ``forbidden_points``: names and globs of
    which no point is hit. ``forbidden_kinds``: labels of faults. ``secret_arguments``: names that
    ``where`` cannot ask for, besides those that look secret anyway. A ``call``, and a kind of
    another package that runs code, can take any time: only forbidding it helps.
    """

    max_latency: float | None = None
    max_hang: float | None = None
    max_expires_after: float | None = None
    forbidden_points: tuple[str, ...] = ()
    forbidden_kinds: tuple[str, ...] = ()
    secret_arguments: tuple[str, ...] = ()

    @property
    def of_strangers(self) -> Limits:
        """The limits of what comes over HTTP or from a store: nothing there lasts for ever."""
        if self.max_expires_after is not None:
            return self
        return replace(self, max_expires_after=DAY_SECONDS)

    def check_outside(self, rule: Rule, name: str) -> None:
        """Raise `LimitExceeded` for what no rule from outside may say, whatever the limits."""
        if len(rule.faults) > MAX_FAULTS:
            raise LimitExceeded(
                f"{name}: {len(rule.faults)} faults, and a rule from outside has {MAX_FAULTS} at "
                "most: leave out those that do the same again"
            )
        for asked in rule.where or ():
            if looks_secret(asked, self.secret_arguments):
                raise LimitExceeded(
                    f"{name}: where asks for {show(asked)}, which may be a secret that it would "
                    "let be guessed, so only code may ask for it; ask for another argument, or "
                    "give the point a label of another name"
                )

    def check(self, rule: Rule, name: str) -> None:
        """Raise `LimitExceeded` for what ``rule``, which messages call ``name``, says too much."""
        for pattern in self.forbidden_points:
            if matches(pattern, rule.point):
                raise LimitExceeded(
                    f"{name}: CHAOSPOINT_FORBIDDEN_POINTS has {pattern!r}, so nothing from "
                    "outside acts there; name another point, or take it out where the service is "
                    "started"
                )
        for fault in rule.faults:
            if fault.kind in self.forbidden_kinds:
                raise LimitExceeded(
                    f"{name}: CHAOSPOINT_FORBIDDEN_KINDS has {fault.kind!r}; use another kind of "
                    "fault, or take it out where the service is started"
                )
        self._check_spans(rule, name)

    @property
    def bounds(self) -> tuple[float | None, float | None] | None:
        """For how many seconds a firing may delay a call, and hold it; None if neither is known."""
        if self.max_latency is None and self.max_hang is None:
            return None
        return self.max_latency, self.max_hang

    def check_lifetime(self, seconds: float | None, name: str) -> None:
        """Raise `LimitExceeded` for a rule that stays armed for too long."""
        if seconds is not None and _passes(seconds, self.max_expires_after):
            what = f"expires_after={format_duration(seconds)}"
            if self.max_expires_after == DAY_SECONDS:  # also where the variable is not set
                raise LimitExceeded(
                    f"{name}: {what} is more than the limit of 1d; CHAOSPOINT_MAX_EXPIRES_AFTER, "
                    "set where the service is started, sets another"
                )
            raise LimitExceeded(_beyond(name, what, "MAX_EXPIRES_AFTER", self.max_expires_after))

    def _check_spans(self, rule: Rule, name: str) -> None:
        self.check_lifetime(rule.expires_after, name)
        spans = [_stated(fault) for fault in rule.faults]
        delay = _sum(delay for delay, _ in spans)
        if _passes(delay, self.max_latency):
            what = f"a latency of up to {format_duration(delay)}"
            raise LimitExceeded(_beyond(name, what, "MAX_LATENCY", self.max_latency))
        # A pause may last as long as anything may, so nothing else of its rule can hold a call.
        pauses = sum(isinstance(fault, Pause) for fault in rule.faults)
        hang = _sum(hang for _, hang in spans) + pauses * (self.max_hang or 0.0)
        if _passes(hang, self.max_hang):
            what = "a hang without end" if hang == inf else f"a hang of {format_duration(hang)}"
            if pauses:
                what += ", in which a pause counts as the limit,"
            raise LimitExceeded(_beyond(name, what, "MAX_HANG", self.max_hang))

    def lifetime(self, seconds: float | None) -> float | None:
        """Return after how many seconds a rule expires that would after ``seconds``."""
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
        delays = _passes(_sum(delay for delay, _ in most), self.max_latency)
        hangs = _passes(_sum(hang for _, hang in most), self.max_hang)
        made: list[Fault] = []
        risky: list[Fault] = []
        for fault, (delay, hang) in zip(resolved, most, strict=True):
            if (delays and delay) or (hangs and hang):
                risky.append(fault)
                made.append(_Cut(tuple(risky), self.max_latency, self.max_hang))
            else:
                made.append(fault)
        return tuple(made)


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class _Cut:
    """The last of ``faults``, to which the ones before it leave what they do not use up."""

    faults: tuple[Fault, ...]
    max_latency: float | None
    max_hang: float | None

    @property
    def kind(self) -> str:
        """The label of the fault itself."""
        return self.faults[-1].kind

    def effects(self, draws: Draws) -> tuple[Effect, ...]:
        """Say what the fault does, but no longer than it may."""
        latency = inf if self.max_latency is None else self.max_latency
        hang = inf if self.max_hang is None else self.max_hang
        made: list[Effect] = []
        for fault in self.faults:
            made = []
            for effect in fault.effects(draws):
                if isinstance(effect, Sleep):
                    seconds = _at_most(effect.seconds, latency)
                    latency -= seconds
                    made.append(Sleep(seconds, effect.busy))
                elif isinstance(effect, Hold) and self.max_hang is not None:
                    endless = effect.seconds is None
                    seconds = _at_most(inf if effect.seconds is None else effect.seconds, hang)
                    hang -= seconds
                    made.append(Hold(seconds, effect.releasable))
                    if endless and not effect.releasable:
                        late = partial(TimeoutError, f"no answer for {seconds:g} s")
                        made.append(Raise(late, "TimeoutError"))
                        break  # nothing behind it would ever have acted
                else:
                    made.append(effect)
        return tuple(made)


_OWN: Final = (Burn, Failure, Hang, Latency, Off, Pause, Print, Return, Yield)
"""The kinds that do what they say; of any other nobody knows."""


def _stated(fault: FaultModel) -> tuple[float, float]:
    """Return for how many seconds a fault says that it delays, and holds, a call."""
    if isinstance(fault, Latency):
        spread = fault.jitter if fault.distribution == "uniform" else 0.0
        return fault.seconds + spread, 0.0
    if isinstance(fault, Burn):
        return fault.seconds, 0.0
    if isinstance(fault, Hang):
        return 0.0, inf if fault.seconds is None else fault.seconds
    return 0.0, 0.0


def _most(fault: FaultModel) -> tuple[float, float]:
    """Return for how many seconds a fault can delay, and hold, a call."""
    if type(fault) not in _OWN:
        return inf, inf
    if isinstance(fault, Latency) and fault.distribution != "uniform":
        return inf, 0.0
    return (0.0, inf) if isinstance(fault, Pause) else _stated(fault)


def _sum(spans: Iterable[float]) -> float:
    return round(total, 9) if (total := sum(spans)) < inf else inf  # 0.1 + 0.2 is not over 0.3


def _passes(seconds: float, limit: float | None) -> bool:
    return limit is not None and seconds > limit


def _at_most(seconds: float, limit: float) -> float:
    """Return what is left of a span; other packages may say anything, NaN and below 0 too."""
    return max(0.0, seconds) if seconds <= limit else limit


def _beyond(name: str, what: str, variable: str, limit: float | None) -> str:
    return (
        f"{name}: {what} is beyond CHAOSPOINT_{variable}={format_duration(limit or 0.0)}; write "
        "no more than that, or raise it where the service is started"
    )
