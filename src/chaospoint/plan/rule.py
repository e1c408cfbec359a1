"""Rules: a point or glob, the trigger, the faults and the lifetime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from operator import is_
from typing import TYPE_CHECKING, Any, Literal, Required, Self, TypedDict, get_type_hints

from pydantic import SerializeAsAny

from chaospoint.faults.base import FaultModel
from chaospoint.faults.failure import ExceptionForms, Failure
from chaospoint.faults.kinds import is_kind
from chaospoint.models.durations import Lifetime, format_lifetime
from chaospoint.models.model import Model, fields_of
from chaospoint.models.plain_data import json_line
from chaospoint.models.point_pattern import PointPattern
from chaospoint.models.quantities import (
    Count,
    OptionalCount,
    Seed,
    Share,
    Skip,
)
from chaospoint.models.refusal import Refusal, check_keys, close_to, name_key, name_rule
from chaospoint.plan.fields import Scope, When, Where, detached_where
from chaospoint.plan.shorthand import SHORT_KEYS, expand
from chaospoint.plan.tail import _write_name, _write_value, share_text
from chaospoint.plan.text import read_entries

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["Keys", "Rule", "RuleKeys", "write_rule", "write_tail"]


# Names that other libraries use for these keys; a refusal suggests the key.
_SYNONYMS = {
    **dict.fromkeys(("error", "errors", "raises", "raise", "side_effect"), "exception"),
    **dict.fromkeys(("return", "return_value", "value"), "returns"),
    **dict.fromkeys(("count", "max_times", "limit"), "times"),
    **dict.fromkeys(("delay", "sleep", "wait"), "latency"),
    **dict.fromkeys(("rate", "chance", "percent"), "probability"),
    **dict.fromkeys(("ttl", "expires", "duration"), "expires_after"),
    **dict.fromkeys(("labels", "match", "filter"), "where"),
}


class Keys(TypedDict, total=False):
    """The keys of a rule without ``point``."""

    latency: float | str | Mapping[str, object]
    exception: ExceptionForms
    failure_rate: float | str
    returns: Any
    returns_from: Callable[..., object]
    hang: bool | float | str
    call: Callable[..., object]
    faults: Sequence[FaultModel | Mapping[str, object]]
    when: Literal["before", "after"]
    probability: float | str
    skip: int
    every: int
    times: int | None
    max_active: int | None
    where: Mapping[str, object]
    scope: Literal["process", "context"]
    seed: int | None
    expires_after: float | str | None


class RuleKeys(Keys, total=False):
    """The keys of a rule."""

    point: Required[str]


class Rule(Model):
    """One rule of a plan.

    ``Rule(point="payment.charge", latency="200ms", times=2)`` takes the keys of a rule and keeps
    ``faults`` in place of the short keys. Dumps contain only the fields that are set. Raises
    `InvalidPlan` only. Frozen, so threads can share it.
    """

    point: PointPattern
    faults: tuple[SerializeAsAny[FaultModel], ...]
    when: When = "before"
    probability: Share = 1.0
    skip: Skip = 0
    every: Count = 1
    times: OptionalCount = None
    max_active: OptionalCount = None
    where: Where = None
    scope: Scope = "process"
    seed: Seed = None
    expires_after: Lifetime = None

    if TYPE_CHECKING:

        def __init__(self, **keys: Unpack[RuleKeys]) -> None: ...

    @classmethod
    def from_data(cls, keys: Mapping[str, object]) -> Self:
        """Return the rule that data from outside describes; it shares nothing with the data.

        Raises `Refusal` only.
        """
        _check_data(keys)
        rule = cls.checked(keys)
        where = detached_where(rule.where)
        faults = tuple(fault.detached() for fault in rule.faults)
        if where is None and all(map(is_, faults, rule.faults)):
            return rule
        return rule.model_copy(update={"faults": faults, "where": where})

    @classmethod
    def _canonical(cls, keys: Mapping[str, object]) -> dict[str, object]:
        known = (*fields_of(cls), *SHORT_KEYS)
        for key in keys:
            if key in known:
                continue
            if key == "rule":
                cure = "in code, write arm(Rule.parse('point=...'))"
                raise Refusal("this key works in files and over HTTP only", cure, field=key)
            if key in _SYNONYMS:
                cure = f"did you mean {_SYNONYMS[key]!r}?"
                raise Refusal("unknown key", cure, field=key, value=keys[key])
            if is_kind(key):
                cure = f"write faults: [{{kind: {key}}}]"
                raise Refusal(
                    "this kind of fault has no key of its own", cure, field=key, value=keys[key]
                )
        check_keys(keys, known)
        if "point" not in keys:
            raise Refusal("missing", "write the name of a point, or a glob", field="point")
        return expand(keys)

    @classmethod
    def _label(cls, keys: Mapping[str, object]) -> str:
        return name_rule(keys.get("point"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the rule in a text such as ``payment.charge=30%latency(200ms)``.

        Also reads the result of ``str(rule)``. Raises `InvalidPlan` with the column, also for text
        with several rules.
        """
        try:
            return cls.from_data(_only(read_entries(text)))
        except Refusal as refusal:
            if refusal.rule is None:
                refusal.of_rule("rule")
            raise refusal.invalid_plan() from None

    def __str__(self) -> str:
        """Return the canonical text: the text form, or one line of JSON if there is none.

        Rules with the same meaning have the same text. `parse` reads it back, unless it contains
        ``<code only>`` in place of a value that only code can give.
        """
        return write_rule(self)


def _signature() -> Signature:
    """Return the signature of `Rule`; ``...`` marks an optional keyword without a default value."""
    fields = Rule.model_fields
    point = Parameter("point", Parameter.KEYWORD_ONLY, annotation=str)
    others = [
        Parameter(
            key,
            Parameter.KEYWORD_ONLY,
            default=... if key not in fields or fields[key].is_required() else fields[key].default,
            annotation=annotation,
        )
        for key, annotation in get_type_hints(Keys).items()
    ]
    return Signature([point, *others])


# pydantic's own lists the fields with their validators, and none of the short keys.
Rule.__signature__ = _signature()

_CODE_KEYS = ("returns_from", "call")
_DATA_KEYS = (
    "point",
    "rule",
    *(key for key in (*SHORT_KEYS, "faults") if key not in _CODE_KEYS),
    *(key for key in fields_of(Rule) if key not in ("point", "faults")),
)


def _check_data(keys: Mapping[str, object]) -> None:
    """Refuse the keys that data cannot contain."""
    for key, value in keys.items():
        if key in _CODE_KEYS:
            cure = "arm the rule in code, or leave the key out"
            raise Refusal("only code can give a function", cure, field=key, value=value)
        if key in _DATA_KEYS or key in _SYNONYMS or is_kind(key):
            continue
        near = isinstance(key, str) and close_to(key, _DATA_KEYS)
        if isinstance(key, str) and isinstance(value, str) and "point" not in keys and not near:
            cure = f"write the text of a rule: {key}={value}"
            raise Refusal("not a key of a rule", cure, field=name_key(key), value=value)
        check_keys(keys, _DATA_KEYS)
    if not any(key in keys for key in (*SHORT_KEYS, "faults")):
        cure = "write a rule such as latency(200ms) as its text, or one of "
        cure += ", ".join(key for key in SHORT_KEYS if key not in _CODE_KEYS)
        raise Refusal("a rule needs a fault", cure, field="faults", value=[])


def _only(rules: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    if len(rules) == 1:
        return rules[0]
    cure = "give one rule, or use Plan.parse for '->' and ';'"
    raise Refusal(f"{len(rules)} rules, expected one", cure)


def write_tail(rule: Rule, rate: float | None, *, with_seed: bool, with_values: bool) -> str:
    """Return the tail of the rule with a space before it, or an empty text without a tail.

    ``rate``: the rate of its exception; ``with_values``: without it, values of ``where`` are ``…``.
    """
    parts = [
        f"{_write_name(name)}={_write_value(wanted) if with_values else '…'}"
        for name, wanted in sorted((rule.where or {}).items())
    ]
    if rate is not None:
        parts.append(f"failure_rate={share_text(rate)}")
    if rule.skip:
        parts.append(f"skip={rule.skip}")
    if rule.every != 1:
        parts.append(f"every={rule.every}")
    if rule.max_active is not None:
        parts.append(f"max_active={rule.max_active}")
    if rule.when != "before":
        parts.append(f"when={rule.when}")
    if rule.scope != "process":
        parts.append(f"scope={rule.scope}")
    if rule.seed is not None and with_seed:
        parts.append(f"seed={rule.seed}")
    if rule.expires_after is not None:
        parts.append(f"expires_after={format_lifetime(rule.expires_after)}")
    return f" [{', '.join(parts)}]" if parts else ""


def write_rule(rule: Rule, *, with_seed: bool = True, with_values: bool = True) -> str:
    """Return the rule in text form, or as one line of JSON if one of its faults has no text.

    ``with_values``: without it, values of ``where`` are ``…``.
    """
    faults = []
    rate = None
    for fault in rule.faults:
        if (text := fault.to_text()) is None:
            return _write_json(rule, with_seed=with_seed, with_values=with_values)
        faults.append(text)
        if isinstance(fault, Failure):
            rate = fault.rate
    text = f"{rule.point}="
    if rule.probability != 1.0:
        text += share_text(rule.probability)
    if rule.times is not None:
        text += f"{rule.times}*"
    text += "+".join(faults)
    if rate is None and rule.model_fields_set <= _WITHOUT_TAIL:
        return text
    return text + write_tail(rule, rate, with_seed=with_seed, with_values=with_values)


_WITHOUT_TAIL = {"point", "faults", "probability", "times"}


def _write_json(rule: Rule, *, with_seed: bool, with_values: bool) -> str:
    data = rule.model_dump(mode="json", exclude=None if with_seed else {"seed"})
    if rule.where is not None and not with_values:
        data["where"] = dict.fromkeys(rule.where, "…")
    return json_line(data)
