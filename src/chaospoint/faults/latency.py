"""A fault that delays the call."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log, log1p, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    BeforeValidator,
    ValidationInfo,
)

from chaospoint._kernel import effects as _effects
from chaospoint._kernel.chance import Draws
from chaospoint.faults.base import FaultModel
from chaospoint.models.durations import MAX_SECONDS, Duration, format_duration, parse_duration
from chaospoint.models.refusal import Refusal

if TYPE_CHECKING:
    from chaospoint.models.cursor import Arguments

__all__ = ["Latency"]


Distribution = Literal["uniform", "normal", "lognormal"]
_NORMAL = NormalDist()


def _distribution(value: object, info: ValidationInfo) -> object:
    known = get_args(Distribution)
    if not isinstance(value, str) or value not in known:
        raise Refusal("not a known distribution", f"write {' or '.join(known)}", value=value)
    if not info.data.get("jitter"):
        return "uniform"  # without jitter all distributions mean the same
    if value == "lognormal" and not info.data.get("seconds"):
        cure = "write seconds above 0, or another distribution"
        raise Refusal("needs a mean above 0", cure, value=value)
    return value


class Latency(FaultModel):
    """Delays the call by ``seconds``, varied by ``jitter``; a negative result counts as 0.

    ``distribution``: ``uniform`` draws between seconds - jitter and seconds + jitter; for
    ``normal`` and ``lognormal`` they are the mean and the standard deviation.
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
        return cls.checked(
            value if isinstance(value, Mapping) else {"seconds": parse_duration(value)}
        )

    @classmethod
    def from_text(cls, arguments: Arguments) -> Self:
        """Read ``latency(200ms)``, or ``latency(200ms, jitter=50ms, distribution=normal)``."""
        takes = "latency(200ms, jitter=50ms)" if len(arguments.parts) > 1 else "latency(200ms)"
        bare, named = arguments.keywords(("jitter", "distribution"), takes)
        keys: dict[str, object] = {"seconds": bare.only(takes).read(parse_duration)}
        if "jitter" in named:
            keys["jitter"] = named["jitter"].read(parse_duration)
        if "distribution" in named:
            keys["distribution"] = named["distribution"].read(str)
        return cls.checked(keys)

    def to_text(self) -> str | None:
        """Write the duration, and the jitter if there is one."""
        spread = f", jitter={format_duration(self.jitter)}" if self.jitter else ""
        if self.distribution != "uniform":
            spread += f", distribution={self.distribution}"
        return f"latency({format_duration(self.seconds)}{spread})"

    def effects(self, draws: Draws) -> tuple[_effects.Effect, ...]:
        """Sleep."""
        if not self.jitter:
            return (_effects.Sleep(self.seconds),)
        drawn = self._draw(draws.uniform("jitter"))
        return (_effects.Sleep(min(max(0.0, drawn), MAX_SECONDS)),)

    def _draw(self, share: float) -> float:
        """Return the quantile of the latency at ``share`` (inverse transform sampling)."""
        if self.distribution == "uniform":
            return self.seconds + self.jitter * (2.0 * share - 1.0)
        deviations = _NORMAL.inv_cdf(max(share, 2.0**-54))  # the quantile of 0 is infinite
        if self.distribution == "normal":
            return self.seconds + self.jitter * deviations
        # Mean m and standard deviation s of exp(N(mu, sigma)) solved for mu and sigma.
        variance = log1p(min(self.jitter / self.seconds, 1e150) ** 2)  # more overflows
        return exp(log(self.seconds) - variance / 2 + sqrt(variance) * deviations)
