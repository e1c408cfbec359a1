"""Plans: ordered lists of rules with a seed, from code, data, text or a file.

A plan is refused as a whole if one of its rules is invalid.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field

from chaospoint.models.model import Model
from chaospoint.models.nesting import FEWER_RULES, MAX_FILE_RULES, MAX_RULES
from chaospoint.models.plain_data import json_line
from chaospoint.models.quantities import Seed
from chaospoint.models.refusal import Refusal, name_rule
from chaospoint.plan.document import parse_text, read_text, rule_cure, rule_line
from chaospoint.plan.placements import Placements
from chaospoint.plan.rule import Rule
from chaospoint.plan.text import read_entries, read_keys, read_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Plan", "load_plan", "parse_plan", "parse_rules"]


class _Loaded(list[object]):
    """Rules that were read from outside code, at most ``most`` of them."""

    most: float = MAX_RULES


def _read_rules(value: object) -> tuple[Rule, ...]:
    if not isinstance(value, list | tuple):
        raise Refusal("not a list", "write a list of rules; [] arms nothing", value=value)
    most = value.most if isinstance(value, _Loaded) else inf
    rules: list[Rule] = []
    for nth, item in enumerate(value, 1):
        if max(len(value), len(rules)) > most:
            break
        try:
            rules += _read_item(item)
        except Refusal as refusal:
            point = item.get("point") if isinstance(item, Mapping) else None
            raise refusal.of_rule(name_rule(point, nth), nth) from None
    if max(len(value), len(rules)) > most:
        raise Refusal(f"more than {most} rules", FEWER_RULES)
    return tuple(rules)


def _read_item(item: object) -> list[Rule]:
    """Read one item of ``rules``: keys, the text of rules, or text with further keys."""
    if isinstance(item, Rule):
        return [item]
    if isinstance(item, str):
        try:
            return [Rule.from_data(keys) for keys in read_entries(item)]
        except Refusal as refusal:
            raise (refusal if refusal.field else refusal.within("rule", item)) from None
    if not isinstance(item, Mapping):
        cure = "write {point: ..., latency: ...}, or the text of a rule"
        raise Refusal("not a rule", cure, field="rule", value=item)
    return [Rule.from_data(keys) for keys in read_keys(item)]


class Plan(Model):
    """An ordered list of rules, with a seed for the rules that have none.

    ``placements``, allowed in the plan file only, puts points on functions of the program:
    ``{"shop.stock:Stock.check": "inventory.check"}``, by module and name. Raises `InvalidPlan`
    only. Frozen, so threads can share it.
    """

    seed: Seed = None
    placements: Placements = Field(default={})
    rules: Annotated[tuple[Rule, ...], BeforeValidator(_read_rules)]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            rules: Sequence[Rule | Mapping[str, Any]],
            seed: int | None = None,
            placements: Mapping[str, str] = ...,
        ) -> None: ...

    @classmethod
    def read(cls, data: object, *, most: int = MAX_RULES) -> Self:
        """Return the plan that ``data`` is or describes; raises `Refusal` only.

        ``most``: the most rules that the data may describe.
        """
        if isinstance(data, cls):
            return data
        if isinstance(data, list | tuple):
            data = {"rules": data}
        if not isinstance(data, Mapping):
            raise Refusal("not a plan", "write {rules: [...]}", field="plan", value=data)
        if "rules" not in data:
            cure = "write {rules: [...]}; `rules: []` arms nothing"
            if "point" in data:
                cure = "a single rule is a plan as [{point: ...}] or {rules: [{point: ...}]}"
            raise Refusal("missing", cure, field="rules")
        rules = data["rules"]
        if isinstance(rules, list | tuple):
            loaded = _Loaded(rules)
            loaded.most = most
            data = {**data, "rules": loaded}
        return cls.checked(data)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the plan in a text: ``a.b=5%latency(1s); c.*=2*off->raise(OSError)``.

        The whole text, or each rule, may be JSON. Raises `InvalidPlan` with the column.
        """
        try:
            return cls.read(read_plan(text))
        except Refusal as refusal:
            if refusal.rule is None:
                refusal.of_rule("plan")
            raise refusal.invalid_plan() from None

    def __str__(self) -> str:
        """Return the canonical text on one line, which `parse` reads back."""
        if self.seed is None and not self.placements and self.rules:
            return "; ".join(map(str, self.rules))
        return json_line(self.model_dump(mode="json"))

    @classmethod
    def _label(cls, keys: Mapping[str, object]) -> str:
        del keys
        return "plan"


def parse_rules(data: Mapping[str, object] | Rule, *, point: str | None = None) -> tuple[Rule, ...]:
    """Return the rules that data from outside describes: one, or several in the text ``rule``.

    ``point``: the point of the rules, which the data may then leave out. Values of ``returns`` are
    copied; `Rule` keeps the object itself. Raises `InvalidPlan` only.
    """
    named: object = point
    try:
        if isinstance(data, Mapping) and point is not None:
            data = {"point": point, **data}
        rules = tuple(_read_item(data))
        for rule in rules:
            named = rule.point
            if point is not None and rule.point != point:
                cure = f"leave the key out, or write {point!r}"
                raise Refusal(
                    "not the point of this request", cure, field="point", value=rule.point
                )
    except Refusal as refusal:
        if named is None and isinstance(data, Mapping):
            named = data.get("point")
        raise refusal.of_rule(name_rule(named)).invalid_plan() from None
    return rules


def parse_plan(data: object) -> Plan:
    """Return the plan that the data describes: ``{seed, rules: [...]}`` or a list of rules.

    A `Plan` is returned as it is. Raises `InvalidPlan` only.
    """
    try:
        return Plan.read(data)
    except Refusal as refusal:
        if refusal.rule is None:
            refusal.of_rule("plan")
        raise refusal.invalid_plan() from None


def load_plan(path: str | Path) -> Plan:
    """Return the plan in a ``.yaml``, ``.yml``, ``.toml`` or ``.json`` file of 1 MiB at most.

    Raises `InvalidPlan` only, with the name of the file and the line if it is known; its cause is
    an `OSError` if the file could not be read.
    """
    path = Path(path)
    text = ""
    try:
        text = read_text(path)
        return Plan.read(parse_text(text, path.suffix), most=MAX_FILE_RULES)
    except Refusal as refusal:
        line = refusal.line
        if refusal.nth is not None:
            line = rule_line(text, path.suffix, refusal.nth)
            if cure := rule_cure(text, path.suffix, refusal):
                refusal.quoting(cure, "put the rule in quotes")
        at = f"{path}, line {line}" if line else str(path)
        unread = refusal.__cause__ if isinstance(refusal.__cause__, OSError) else None
        raise refusal.invalid_plan(at=at) from unread
