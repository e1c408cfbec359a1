"""The kinds of faults: what a caller suffers, as frozen values that compile to effects.

=========  ==========================  ===========================================
`Latency`  ``latency``                 the call is delayed
`Failure`  ``exception``               the call raises
`Return`   ``returns``,                the call is not made, the caller gets a value, or what a
           ``returns_from``            function of your own makes for it
`Hang`     ``hang``                    the call does not come back, or too late
`Call`     ``call``                    a function of your own runs
=========  ==========================  ===========================================

Without a short key: `Off` ends the search and does nothing; `Burn` delays by keeping the
processor busy; `Print` logs; `Yield` gives up the turn; `Pause` holds until released.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import exp, log, log1p, sqrt
from operator import eq
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    BeforeValidator,
    PlainSerializer,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    field_serializer,
)
from pydantic.json_schema import SkipJsonSchema

from chaospoint import _effects
from chaospoint._draw import Draws
from chaospoint._inside import transparently
from chaospoint.errors import InjectedFault
from chaospoint.models.durations import MAX_SECONDS, Duration, OptionalDuration, seconds, written
from chaospoint.models.exception_choice import CHOICE_SCHEMA, ExceptionChoice
from chaospoint.models.exception_spec import ExceptionSpec
from chaospoint.models.fault_model import FaultModel
from chaospoint.models.lookup import Trust, can_exist
from chaospoint.models.plain_data import CODE_ONLY, check_plain, check_written, is_plain, quoted
from chaospoint.models.quantities import share
from chaospoint.models.refusal import Refusal
from chaospoint.models.signatures import awaits, needs_arguments, taken_by, takes_arguments
from chaospoint.models.verbs import Burn, Off, Pause, Print, Yield

if TYPE_CHECKING:
    from chaospoint.models.cursor import Arguments

__all__ = [
    "Burn",
    "Call",
    "Duration",
    "Failure",
    "FaultModel",
    "Hang",
    "Latency",
    "Off",
    "Pause",
    "Print",
    "Return",
    "Yield",
]


Distribution = Literal["uniform", "normal", "lognormal"]
_NORMAL = NormalDist()
_NO_DRAWS = Draws(0, 0)


def _distribution(value: object, info: ValidationInfo) -> object:
    known = get_args(Distribution)
    if not isinstance(value, str) or value not in known:
        raise Refusal("not a known distribution", f"write {' or '.join(known)}", value=value)
    if not info.data.get("jitter"):
        return "uniform"  # nothing is spread: all distributions mean the same
    if value == "lognormal" and not info.data.get("seconds"):
        cure = "write seconds above 0, or another distribution"
        raise Refusal("has no mean of 0", cure, value=value)
    return value


class Latency(FaultModel):
    """Delays the call by ``seconds``, give or take ``jitter``; below 0 counts as 0.

    ``distribution``: ``uniform`` is seconds ± jitter; for ``normal`` and ``lognormal`` they are
    mean and standard deviation.
    """

    outcome: ClassVar[bool] = False
    kind: Literal["latency"] = "latency"
    seconds: Duration
    jitter: Duration = 0.0
    distribution: Annotated[Distribution, BeforeValidator(_distribution)] = "uniform"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            seconds: float | str,
            jitter: float | str = 0.0,
            distribution: Distribution = "uniform",
        ) -> None: ...

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Read a duration, or ``{seconds, jitter, distribution}``."""
        return cls.checked(value if isinstance(value, Mapping) else {"seconds": seconds(value)})

    @classmethod
    def from_text(cls, arguments: Arguments) -> Self:
        """Read ``latency(200ms)``, or ``latency(200ms, jitter=50ms, distribution=normal)``."""
        takes = "latency(200ms, jitter=50ms)" if len(arguments.parts) > 1 else "latency(200ms)"
        bare, named = arguments.keywords(("jitter", "distribution"), takes)
        keys: dict[str, object] = {"seconds": bare.only(takes).read(seconds)}
        if "jitter" in named:
            keys["jitter"] = named["jitter"].read(seconds)
        if "distribution" in named:
            keys["distribution"] = named["distribution"].read(str)
        return cls.checked(keys)

    def to_text(self) -> str | None:
        """Write the duration, and how it is spread if it is."""
        spread = f", jitter={written(self.jitter)}" if self.jitter else ""
        if self.distribution != "uniform":
            spread += f", distribution={self.distribution}"
        return f"latency({written(self.seconds)}{spread})"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Sleep."""
        if not self.jitter:
            return (_effects.Sleep(self.seconds),)
        drawn = self._draw(draws.uniform("jitter"))
        return (_effects.Sleep(min(max(0.0, drawn), MAX_SECONDS)),)

    def _draw(self, share: float) -> float:
        """Return the latency below which this share of all latencies lies (inversion)."""
        if self.distribution == "uniform":
            return self.seconds + self.jitter * (2.0 * share - 1.0)
        deviations = _NORMAL.inv_cdf(max(share, 2.0**-54))  # the quantile of 0 is infinite
        if self.distribution == "normal":
            return self.seconds + self.jitter * deviations
        # Mean m and standard deviation s of exp(N(mu, sigma)) solved for mu and sigma.
        variance = log1p(min(self.jitter / self.seconds, 1e150) ** 2)  # more overflows
        return exp(log(self.seconds) - variance / 2 + sqrt(variance) * deviations)


ExceptionForm = (
    type[BaseException] | BaseException | str | Mapping[str, object] | Callable[..., BaseException]
)
ExceptionForms = ExceptionForm | Sequence[ExceptionForm]


def _rate(value: object) -> float | None:
    """Return the share, or None for all: both mean the same."""
    rate = 1.0 if value is None else share(value)
    return None if rate == 1.0 else rate


def _dump_choice(choice: ExceptionChoice) -> object:
    return choice.dump()


class Failure(FaultModel):
    """Raises a fresh exception; with ``rate`` for that share of the firings only.

    ``exception`` is a class, a dotted path, ``{type, args, kwargs}``, an instance as a pattern, a
    list of these with weights, or a factory. What it names is bound by `resolve`, before which
    `effects` cannot be asked.
    """

    kind: Literal["exception"] = "exception"
    exception: Annotated[
        ExceptionChoice,
        BeforeValidator(ExceptionChoice.parse),
        PlainSerializer(_dump_choice),
        WithJsonSchema(CHOICE_SCHEMA),
    ] = ExceptionChoice.parse(InjectedFault)
    rate: Annotated[
        float | None,
        BeforeValidator(_rate),
        WithJsonSchema({"type": ["number", "null"], "minimum": 0, "maximum": 1}),
    ] = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            exception: ExceptionForms = InjectedFault,
            rate: float | None = None,
        ) -> None: ...

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Read any form of the key."""
        return cls.checked({"exception": ExceptionChoice.parse(value)})

    @classmethod
    def from_text(cls, arguments: Arguments) -> Self:
        """Read ``raise``, ``raise(Type)``, ``raise(Type, "text", ...)``, ``raise("text")``, or
        any form of the key in JSON: ``raise([{"type": "OSError", "weight": 3}, "KeyError"])``."""
        parts = list(arguments.parts)
        if parts and parts[0].text.startswith(("{", "[")):
            return cls.from_key(arguments.only('raise({"type": ...})').json())
        kind: object = InjectedFault
        if parts and not parts[0].text.startswith('"'):
            kind = parts.pop(0).read(ExceptionSpec.parse).path
        return cls.from_key({"type": kind, "args": [part.json() for part in parts]})

    def to_text(self) -> str | None:
        """Write the type and its arguments, or JSON; the rate stands in the tail of the rule."""
        spec = self.exception.dump()
        if isinstance(spec, str):
            return "raise" if spec == "InjectedFault" else f"raise({spec})"
        if isinstance(spec, dict) and spec.keys() == {"type", "args"}:
            return f"raise({','.join([spec['type'], *map(quoted, spec['args'])])})"
        return f"raise({quoted(spec)})"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Raise `InvalidPlan`: its class was not looked up; what `resolve` returns can be asked."""
        del draws
        raise self._unresolved().invalid_plan()

    def resolve(self, trust: Trust, *, reached: bool = False) -> _effects.Fault | None:
        """Return the failure with its class bound; None if that waits for the first reach."""
        try:
            raised = self.exception.find(trust, reached=reached)
        except Refusal as refusal:
            raise refusal.within("exception") from None
        if raised is None:
            if reached:
                raise self._unresolved()
            return None
        return _Bound(self.kind, raised, self.rate)

    def can_resolve(self) -> bool:
        """Tell whether the modules of its classes are installed."""
        return all(map(can_exist, self.exception.paths()))

    def detached(self) -> Self:
        """Refuse arguments that are not data."""
        try:
            self.exception.check_plain()
        except Refusal as refusal:
            raise refusal.within("exception") from None
        return self

    def _unresolved(self) -> Refusal:
        cure = "resolve the fault, or let the rule be compiled"
        path = self.exception.path
        return Refusal("its class was not looked up", cure, field="exception", value=path)


@dataclass(frozen=True, slots=True)
class _Bound:
    """A failure whose class is found: each `Raise` with the share up to which it is drawn."""

    kind: str
    raised: tuple[tuple[float, _effects.Raise], ...]
    rate: float | None

    @property
    def with_arguments(self) -> bool:
        """Whether a function that builds one of them takes the arguments of the call."""
        return any(raised.with_arguments for _, raised in self.raised)

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Raise, or nothing where the rate says so."""
        if self.rate is not None and draws.uniform("outcome") >= self.rate:
            return ()
        if len(self.raised) == 1:
            return (self.raised[0][1],)
        share = draws.uniform("choice")
        return (next(raised for upto, raised in self.raised if share < upto),)


@dataclass(frozen=True, slots=True)
class _Settled:
    """A fault that runs a function, whose signature is known."""

    kind: str
    made: tuple[_effects.Effect, ...]

    @property
    def with_arguments(self) -> bool:
        """Whether the function takes the arguments of the call."""
        return any(getattr(effect, "with_arguments", False) for effect in self.made)

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Ask the function."""
        del draws
        return self.made


def _returned(value: object) -> object:
    if isinstance(value, Iterator | AsyncIterator):
        cure = "write a list, or an object whose iteration starts anew each time"
        raise Refusal("a bare iterator is used up by the first call", cure, value=value)
    check_written(value)
    return value


def _one_value(whole: str) -> str:
    if '"' in whole or len(whole) > 60:
        return "one value: a list as return([1, 2]), text that holds commas in quotes"
    return f"return({quoted(whole)})"


def _made_from(value: object) -> object:
    check_written(value)
    if not callable(value):
        cure = "give a function that returns the answer; only code can"
        raise Refusal("not callable", cure, value=value)
    return value


class Return(FaultModel):
    """Answers with ``value`` and does not make the call.

    The value itself in code; what was read as data is copied for each injection. At a generator
    it is an iterable, iterated anew each time. ``value_from``, from code only, is a function that
    makes the value anew for each injection, given the arguments of the call if it takes any; at
    asynchronous placements an awaitable that it returns is awaited. What it raises reaches the
    caller, and points are transparent in it.
    """

    kind: Literal["return"] = "return"
    value: Annotated[Any, BeforeValidator(_returned)] = None
    value_from: Annotated[SkipJsonSchema[Any], BeforeValidator(_made_from)] = None

    _copied: bool = PrivateAttr(False)

    if TYPE_CHECKING:

        def __init__(
            self, *, value: object = None, value_from: Callable[..., object] = ...
        ) -> None: ...

    @classmethod
    def _canonical(cls, keys: Mapping[str, object]) -> dict[str, object]:
        if "value_from" in keys and keys.get("value") is not None:
            cure = "leave one of them out"
            raise Refusal("a value stands beside it", cure, field="value_from", value=keys["value"])
        return super()._canonical(keys)

    @classmethod
    def from_function(cls, value: Any) -> Self:
        """Take the function that makes the value."""
        return cls.checked({"value_from": _made_from(value)})

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Take the value as it is."""
        return cls.checked({"value": _returned(value)})

    @classmethod
    def from_text(cls, arguments: Arguments) -> Self:
        """Read ``return``, ``return(json)`` or ``return(bare words)``."""
        parts = arguments.most(1, _one_value(arguments.whole))
        return cls.from_key(parts[0].json() if parts else None)

    def to_text(self) -> str | None:
        """Write plain data; only code has functions."""
        if self.value_from is not None or not is_plain(self.value):
            return f"return({CODE_ONLY})"
        return "return" if self.value is None else f"return({quoted(self.value)})"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Return."""
        del draws
        if self.value_from is None:
            return (_effects.Return(self.value, self._copied),)
        return (
            _effects.Return(
                make=self.value_from,
                needs_await=awaits(self.value_from),
                with_arguments=(asks := takes_arguments(self.value_from, optional=True)),
                takes=taken_by(self.value_from) if asks else None,
            ),
        )

    def resolve(self, trust: Trust, *, reached: bool = False) -> _effects.Fault:
        """Read the signature of a function, once."""
        del trust, reached
        return self if self.value_from is None else _Settled(self.kind, self.effects(_NO_DRAWS))

    def detached(self) -> Self:
        """Return one that owns its value and gives out copies; data holds no function."""
        if self.value_from is not None:
            raise Refusal("a function comes from code only", "arm it in code", field="value_from")
        try:
            check_plain(self.value)
        except Refusal as refusal:
            raise refusal.within("returns") from None
        if not isinstance(self.value, list | dict):
            return self
        owner = self.model_copy(update={"value": deepcopy(self.value)})
        owner._copied = True
        return owner

    @field_serializer("value", when_used="json")
    def _dump_value(self, value: object) -> object:
        return value if is_plain(value) else CODE_ONLY

    @field_serializer("value_from", when_used="json")
    def _dump_function(self, value: object) -> object:
        return None if value is None else CODE_ONLY

    def __eq__(self, other: object) -> bool:
        """Compare the values; whose they are makes no difference."""
        if not isinstance(other, Return) or self.value_from is not other.value_from:
            return False
        return bool(transparently(eq, self.value, other.value))


class Hang(FaultModel):
    """Holds the call until it is disarmed, or for ``seconds``, then `TimeoutError`."""

    kind: Literal["hang"] = "hang"
    seconds: OptionalDuration = None

    if TYPE_CHECKING:

        def __init__(self, *, seconds: float | str | None = None) -> None: ...

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Read ``true`` or a duration."""
        if value is False:
            raise Refusal("says nothing", "leave the key out, or write true", value=value)
        return cls() if value is True else cls.checked({"seconds": seconds(value)})

    @classmethod
    def from_text(cls, arguments: Arguments) -> Self:
        """Read ``hang`` or ``hang(30s)``."""
        parts = arguments.most(1, "hang, or hang(30s)")
        return cls(seconds=parts[0].read(seconds) if parts else None)

    def to_text(self) -> str | None:
        """Write the bound, if there is one."""
        return "hang" if self.seconds is None else f"hang({written(self.seconds)})"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Hold, and after a bounded hang raise."""
        del draws
        if self.seconds is None:
            return (_effects.Hold(None),)
        late = partial(TimeoutError, f"no answer for {self.seconds:g} s")
        return (_effects.Hold(self.seconds), _effects.Raise(late, "TimeoutError"))


def _called(value: object) -> object:
    if not callable(value):
        raise Refusal(
            "not callable", "give a function that takes the Injection; only code can", value=value
        )
    return value


class Call(FaultModel):
    """Runs a function of your own, given the `Injection`; from code only.

    The arguments of the call follow the `Injection` if it needs them, or takes ``*args`` or
    ``**kwargs``: ``def note(injection, order): ...``.  What it returns is ignored, what it raises
    reaches the caller.  A coroutine function is awaited, so it needs an asynchronous placement.
    """

    outcome: ClassVar[bool] = False
    kind: Literal["call"] = "call"
    call: Annotated[Any, BeforeValidator(_called)]

    if TYPE_CHECKING:

        def __init__(self, *, call: Callable[..., object]) -> None: ...

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Take the function as it is."""
        return cls.checked({"call": _called(value)})

    def to_text(self) -> str | None:
        """Only code has functions."""
        return f"call({CODE_ONLY})"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Run it."""
        del draws
        takes, needs = takes_arguments(self.call, after=1), needs_arguments(self.call, after=1)
        by = taken_by(self.call, after=1) if takes else None
        return (_effects.Run(self.call, awaits(self.call), takes, needs, by),)

    def resolve(self, trust: Trust, *, reached: bool = False) -> _effects.Fault:
        """Read the signature of the function, once."""
        del trust, reached
        return _Settled(self.kind, self.effects(_NO_DRAWS))

    def detached(self) -> Self:
        """Refuse: data holds no function."""
        raise Refusal("a function comes from code only", "arm it in code", field="call")

    @field_serializer("call", when_used="json")
    def _dump_call(self, call: object) -> object:  # noqa: ARG002
        return CODE_ONLY
