"""A plan: an ordered list of rules with a seed, read whole or refused whole.

What comes in is a model, data or a file; what goes out is `Terms`, which the kernel runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field

from chaospoint._decide import Schedule
from chaospoint._draw import Draws, derive, draw_seed
from chaospoint._effects import Effect, Fault
from chaospoint._inside import transparently
from chaospoint._terms import Terms
from chaospoint.limits import NO_LIMITS, Limits
from chaospoint.models.document import parse_text, read_text, rule_cure, rule_line
from chaospoint.models.lookup import Trust
from chaospoint.models.model import Model
from chaospoint.models.nesting import FEWER_RULES, MAX_FILE_RULES, MAX_RULES
from chaospoint.models.placements import Placements
from chaospoint.models.plain_data import quoted
from chaospoint.models.quantities import Seed
from chaospoint.models.refusal import Refusal, name_rule
from chaospoint.models.rule import Keys, Rule, RuleKeys
from chaospoint.models.text import read_entries, read_keys, read_plan, write_rule

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Keys",
    "Plan",
    "Rule",
    "RuleKeys",
    "Trust",
    "check_from_outside",
    "compile_plan",
    "load_plan",
    "parse_plan",
    "parse_rules",
    "refuse_placements",
    "seeds",
    "shown",
    "unseeded",
]


_FAULTS = "chaospoint.faults"  # of which nothing is foreign


class _Outside(list[object]):
    """Rules that were read, of which there may be ``most``, unlike those that code makes."""

    most: float = MAX_RULES


def _read_rules(value: object) -> tuple[Rule, ...]:
    if not isinstance(value, list | tuple):
        raise Refusal("not a list", "write a list of rules; [] arms nothing", value=value)
    most = value.most if isinstance(value, _Outside) else inf
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
    """Read what may stand where a rule does: its keys, or its text with what that does not say."""
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
    """An ordered list of rules, with a seed for those that have none of their own.

    ``placements``, which only the plan file may say, puts points on functions of the program:
    ``{"shop.stock:Stock.check": "inventory.check"}``, with the module and the name in it. Raises
    `InvalidPlan` only. Frozen: share it between threads.
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
        """Return the plan that is, or is described by, ``data``; raises `Refusal` only.

        ``most``: how many rules the data may describe.
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
            outside = _Outside(rules)
            outside.most = most
            data = {**data, "rules": outside}
        return cls.checked(data)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the plan that a text says: ``a.b=5%latency(1s); c.*=2*off->raise(OSError)``.

        JSON may stand for the whole, or for each rule. Raises `InvalidPlan` with the column.
        """
        try:
            return cls.read(read_plan(text))
        except Refusal as refusal:
            if refusal.rule is None:
                refusal.of_rule("plan")
            raise refusal.invalid_plan() from None

    def __str__(self) -> str:
        """Return the canonical text, which `parse` reads back: one line."""
        if self.seed is None and not self.placements and self.rules:
            return "; ".join(map(str, self.rules))
        return quoted(self.model_dump(mode="json"))

    @classmethod
    def _called(cls, keys: Mapping[str, object]) -> str:
        del keys
        return "plan"


def parse_rules(data: Mapping[str, object] | Rule, *, point: str | None = None) -> tuple[Rule, ...]:
    """Return the rules that data from outside describes: one, or those of the text in ``rule``.

    ``point``: where they are to be put, for data that need not say it. What they ``returns`` is
    copied; code that wants the value itself calls ``Rule(...)``. Raises `InvalidPlan` only.
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
                raise Refusal("another point is meant", cure, field="point", value=rule.point)
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

    Raises `InvalidPlan` only, with the file's name and, where it is known, the line; its cause is
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


def refuse_placements(plan: Plan) -> None:
    """Raise `InvalidPlan` if the plan says placements: whoever is not the plan file calls this."""
    if plan.placements:
        raise (
            Refusal(
                "only the plan file places points",
                "put them into the file that CHAOSPOINT_CONFIG names, or decorate the functions"
                " with @chaospoint.point(...)",
                field="placements",
                value=dict(plan.placements),
            )
            .of_rule("plan")
            .invalid_plan()
        )


def compile_plan(
    plan: Plan,
    *,
    trust: Trust,
    seed: int | None = None,
    expires_after: float | None = None,
    limits: Limits = NO_LIMITS,
) -> tuple[Terms, ...]:
    """Return what the kernel runs, in the order of the plan.

    ``seed``: for rules when neither they nor the plan have one; else each draws its own.
    ``expires_after``: seconds, for rules that say nothing. An exception is found and built once
    here, as far as ``trust`` allows. Raises `InvalidPlan`, and `LimitExceeded` for a rule that
    says more than ``limits`` allow.
    """
    terms = []
    bounded = limits is not NO_LIMITS  # code's rules are not, and arming is to be quick
    for nth, (rule, known) in enumerate(zip(plan.rules, seeds(plan, seed), strict=True), 1):
        place = nth if len(plan.rules) > 1 else None
        if trust != "code":
            _check_scope(rule, place)
            limits.check_outside(rule, name_rule(rule.point, place))
        if bounded:
            limits.check(rule, name_rule(rule.point, place))
        faults, wait = _resolve(rule, place, trust, limits)
        stays = expires_after if rule.expires_after is None else rule.expires_after
        own = draw_seed() if known is None else known
        terms.append(
            Terms(
                pattern=rule.point,
                written=_text_of(rule),
                faults=faults,
                schedule=Schedule(own, rule.skip, rule.every, rule.probability, rule.times),
                seed_drawn=known is None,
                expires_after=limits.lifetime(stays),
                resolve=partial(_look_up, rule, place, trust, limits) if wait else None,
                after=rule.when == "after",
                max_active=rule.max_active,
                where=rule.where,
                scoped=rule.scope == "context",
                shown="" if rule.where is None else shown(rule),
                excluded=limits.excluded(rule.point) if bounded else (),
                bounds=limits.bounds if bounded else None,
            )
        )
    return tuple(terms)


def _check_scope(rule: Rule, place: int | None) -> None:
    if rule.scope == "context":
        cure = "leave it out; `where` selects calls by labels and arguments"
        problem = "only code that arms has a context of its own"
        refusal = Refusal(problem, cure, field="scope", value=rule.scope)
        raise refusal.of_rule(name_rule(rule.point, place)).invalid_plan()


def check_from_outside(plan: Plan) -> None:
    """Raise `InvalidPlan` for what no file, variable, store or request may say.

    Classes of modules that are not installed here are left to the process that has them.
    """
    for nth, rule in enumerate(plan.rules, 1):
        place = nth if len(plan.rules) > 1 else None
        _check_scope(rule, place)
        here = all(fault.can_resolve() for fault in rule.faults)
        if here:
            _resolve(rule, place, "deferred", NO_LIMITS)


def seeds(plan: Plan, seed: int | None = None) -> tuple[int | None, ...]:
    """Return the effective seed of each rule, None for one whose seed is to be drawn.

    ``seed``: for plans that have none.
    """
    base = seed if plan.seed is None else plan.seed
    count: dict[str, int] = {}
    found: list[int | None] = []
    for rule in plan.rules:
        if rule.seed is None and base is not None:
            key = _seed_key(rule)
            count[key] = count.get(key, 0) + 1
            # 53 bits: a larger number would not come through JavaScript and jq as it is.
            found.append(derive(base, key, count[key]) >> 10)
        else:
            found.append(rule.seed)
    return tuple(found)


def shown(rule: Rule) -> str:
    """Return the text without the seed and the values of ``where``, which may be personal."""
    return write_rule(rule, with_seed=False, with_values=False)


def unseeded(rule: Rule) -> str:
    """Return the text without the seed."""
    return write_rule(rule, with_seed=False)


def _text_of(rule: Rule) -> str | Callable[[], str]:
    """Return the text without the seed, or what writes it where that calls no foreign code."""
    ours = all(type(fault).__module__ == _FAULTS for fault in rule.faults)
    return partial(unseeded, rule) if ours else unseeded(rule)


def _seed_key(rule: Rule) -> str:
    """Return what the rule's seed is derived from: not its text, whose form may change, and nothing
    that does not concern when and how it fires."""
    parts = {"point", "faults", "probability", "skip", "every", "times"}
    return quoted(rule.model_dump(mode="json", include=parts))


def _resolve(
    rule: Rule, place: int | None, trust: Trust, limits: Limits, *, reached: bool = False
) -> tuple[tuple[Fault, ...], bool]:
    """Return the faults that the kernel runs, and whether one of them has to wait."""
    faults: list[Fault] = []
    wait = False
    try:
        for fault in rule.faults:
            if (found := fault.resolve(trust, reached=reached)) is None:
                wait = True
            elif type(found).__module__ != _FAULTS:
                _try(found)
            faults.append(fault if found is None else found)
    except Refusal as refusal:
        raise refusal.of_rule(name_rule(rule.point, place)).invalid_plan() from None
    return tuple(faults) if limits is NO_LIMITS else limits.cut(rule.faults, faults), wait


def _look_up(rule: Rule, place: int | None, trust: Trust, limits: Limits) -> tuple[Fault, ...]:
    return _resolve(rule, place, trust, limits, reached=True)[0]


def _try(fault: Fault) -> None:
    """Ask once what the fault does: kinds of other packages may be wrong."""
    try:
        effects = transparently(fault.effects, Draws(0, 1))
        wrong: list[object] = [one for one in effects if not isinstance(one, Effect)]
    except Exception as error:
        wrong = [error]
    if wrong:
        problem = f"the kind does not say what it does: {wrong[0]!r}"
        cure = "mend its effects(), which returns a tuple of chaospoint.effects"
        raise Refusal(problem, cure, field="kind", value=fault.kind)
