"""A rule: a point or glob, a trigger, the faults and a lifetime."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import is_
from typing import TYPE_CHECKING, Any, Required, Self, TypedDict

from pydantic import SerializeAsAny

from chaospoint.models.durations import Lifetime
from chaospoint.models.fault_model import FaultModel
from chaospoint.models.model import Model
from chaospoint.models.point_pattern import PointPattern
from chaospoint.models.quantities import Count, OptionalCount, Seed, Share, Skip
from chaospoint.models.refusal import Refusal, check_keys, name_rule
from chaospoint.models.shorthand import SHORT_KEYS, expand

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["Keys", "Rule", "RuleKeys"]


class Keys(TypedDict, total=False):
    """The keys of a rule, without the point it is put on."""

    latency: float | str | Mapping[str, object]
    exception: type[BaseException] | str | Mapping[str, object]
    failure_rate: float
    returns: Any
    hang: bool | float | str
    faults: Sequence[FaultModel | Mapping[str, object]]
    probability: float
    skip: int
    every: int
    times: int | None
    seed: int | None
    expires_after: float | str | None


class RuleKeys(Keys, total=False):
    """The keys of a rule."""

    point: Required[str]


class Rule(Model):
    """One line of a plan.

    ``Rule(point="payment.charge", latency="200ms", times=2)``: takes the keys of a rule, keeps
    ``faults`` in place of the short ones, and dumps what is set. Raises `InvalidPlan` only.
    Frozen: share it between threads.
    """

    point: PointPattern
    faults: tuple[SerializeAsAny[FaultModel], ...]
    # The remaining keys of the language (when, max_active, where, scope) join here.
    probability: Share = 1.0
    skip: Skip = 0
    every: Count = 1
    times: OptionalCount = None
    seed: Seed = None
    expires_after: Lifetime = None

    if TYPE_CHECKING:

        def __init__(self, **keys: Unpack[RuleKeys]) -> None: ...

    @classmethod
    def from_data(cls, keys: Mapping[str, object]) -> Self:
        """Return the rule that data from outside describes, sharing nothing with it.

        Raises `Refusal` only.
        """
        rule = cls.checked(keys)
        faults = tuple(fault.detached() for fault in rule.faults)
        if all(map(is_, faults, rule.faults)):
            return rule
        return rule.model_copy(update={"faults": faults})

    @classmethod
    def _canonical(cls, keys: Mapping[str, object]) -> dict[str, object]:
        check_keys(keys, (*cls.model_fields, *SHORT_KEYS))
        if "point" not in keys:
            raise Refusal("missing", "write the name of a point, or a glob", field="point")
        return expand(keys)

    @classmethod
    def _called(cls, keys: Mapping[str, object]) -> str:
        return name_rule(keys.get("point"))

    def __str__(self) -> str:
        """Return the canonical text: one line of JSON; rules that mean the same have the same."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)
