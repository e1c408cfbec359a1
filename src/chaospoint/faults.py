"""The kinds of faults: what a caller suffers, as frozen values that compile to effects.

=========  ==========================  ===========================================
`Latency`  ``latency``                 the call is delayed
`Failure`  ``exception``               the call raises
`Return`   ``returns``                 the call is not made, the caller gets a value
`Hang`     ``hang``                    the call does not come back, or too late
=========  ==========================  ===========================================
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, PlainSerializer, PrivateAttr, field_serializer

from chaospoint import _effects
from chaospoint.errors import InjectedFault
from chaospoint.models.durations import Duration, OptionalDuration, seconds
from chaospoint.models.exception_spec import ExceptionSpec
from chaospoint.models.fault_model import FaultModel
from chaospoint.models.lookup import Trust
from chaospoint.models.plain_data import CODE_ONLY, check_plain, is_plain
from chaospoint.models.quantities import share
from chaospoint.models.refusal import Refusal

if TYPE_CHECKING:
    from chaospoint._draw import Draws

__all__ = ["Failure", "FaultModel", "Hang", "Latency", "Return"]


def _distribution(value: object) -> object:
    # normal and lognormal join here.
    if value != "uniform":
        raise Refusal("not a known distribution", "write uniform", value=value)
    return value


class Latency(FaultModel):
    """Delays the call by ``seconds``, give or take ``jitter``; below 0 counts as 0."""

    outcome: ClassVar[bool] = False
    kind: Literal["latency"] = "latency"
    seconds: Duration
    jitter: Duration = 0.0
    distribution: Annotated[Literal["uniform"], BeforeValidator(_distribution)] = "uniform"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            seconds: float | str,
            jitter: float | str = 0.0,
            distribution: Literal["uniform"] = "uniform",
        ) -> None: ...

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Read a duration, or ``{seconds, jitter, distribution}``."""
        return cls.checked(value if isinstance(value, Mapping) else {"seconds": seconds(value)})

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Sleep."""
        if not self.jitter:
            return (_effects.Sleep(self.seconds),)
        spread = self.jitter * (2.0 * draws.uniform("jitter") - 1.0)
        return (_effects.Sleep(max(0.0, self.seconds + spread)),)


def _rate(value: object) -> float | None:
    """Return the share, or None for all: both mean the same."""
    rate = 1.0 if value is None else share(value)
    return None if rate == 1.0 else rate


def _dump_spec(spec: ExceptionSpec) -> object:
    return spec.dump()


class Failure(FaultModel):
    """Raises a fresh exception; with ``rate`` for that share of the firings only.

    ``exception`` is a class, a dotted path or ``{type, args, kwargs}``. Its class is bound by
    `resolve`, before which `effects` cannot be asked.
    """

    kind: Literal["exception"] = "exception"
    exception: Annotated[
        ExceptionSpec, BeforeValidator(ExceptionSpec.parse), PlainSerializer(_dump_spec)
    ] = ExceptionSpec.parse(InjectedFault)
    rate: Annotated[float | None, BeforeValidator(_rate)] = None

    _raised: tuple[_effects.Raise, ...] = PrivateAttr(())

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            exception: type[BaseException] | str | Mapping[str, object] = InjectedFault,
            rate: float | None = None,
        ) -> None: ...

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Read a class, a path or ``{type, args, kwargs}``."""
        return cls.checked({"exception": ExceptionSpec.parse(value)})

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Raise, or nothing where the rate says so."""
        if not self._raised:
            raise self._unresolved().invalid_plan()
        if self.rate is None or draws.uniform("outcome") < self.rate:
            return self._raised
        return ()

    def resolve(self, trust: Trust, *, reached: bool = False) -> Self:
        """Return the failure with its class bound, unless that waits for the first reach."""
        try:
            raised = self.exception.find(trust, reached=reached)
        except Refusal as refusal:
            raise refusal.within("exception") from None
        if raised is None:
            if reached:
                raise self._unresolved()
            return self
        bound = self.model_copy()
        bound._raised = (raised,)
        return bound

    @property
    def resolved(self) -> bool:
        """Whether the class is bound."""
        return bool(self._raised)

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


def _returned(value: object) -> object:
    if isinstance(value, Iterator | AsyncIterator):
        cure = "write a list, or an object whose iteration starts anew each time"
        raise Refusal("a bare iterator is used up by the first call", cure, value=value)
    if isinstance(value, str) and value == CODE_ONLY:
        cure = "give the value in code"
        raise Refusal("stands for a value that was not written down", cure, value=value)
    return value


class Return(FaultModel):
    """Answers with ``value`` and does not make the call.

    The value itself in code; what was read as data is copied for each injection. At a generator
    it is an iterable, iterated anew each time.
    """

    kind: Literal["return"] = "return"
    value: Annotated[Any, BeforeValidator(_returned)] = None

    _copied: bool = PrivateAttr(False)

    if TYPE_CHECKING:

        def __init__(self, *, value: object = None) -> None: ...

    @classmethod
    def from_key(cls, value: Any) -> Self:
        """Take the value as it is."""
        return cls.checked({"value": _returned(value)})

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Return."""
        del draws
        return (_effects.Return(self.value, self._copied),)

    def detached(self) -> Self:
        """Return one that owns its value and gives out copies."""
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

    def __eq__(self, other: object) -> bool:
        """Compare the values; whose they are makes no difference."""
        return isinstance(other, Return) and bool(self.value == other.value)


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

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Hold, and after a bounded hang raise."""
        del draws
        if self.seconds is None:
            return (_effects.Hold(None),)
        late = partial(TimeoutError, f"no answer for {self.seconds:g} s")
        return (_effects.Hold(self.seconds), _effects.Raise(late, "TimeoutError"))
