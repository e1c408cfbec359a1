"""A plan becomes compiled rules, which the kernel runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from chaospoint._kernel.chance import Draws, Schedule, derive, draw_seed
from chaospoint._kernel.compiled_rule import CompiledRule
from chaospoint._kernel.context import transparently
from chaospoint._kernel.effects import Effect, Fault
from chaospoint.faults.lookup import Trust
from chaospoint.models.plain_data import json_line
from chaospoint.models.refusal import Refusal, name_rule
from chaospoint.plan.limits import NO_LIMITS, Limits
from chaospoint.plan.plan import Plan
from chaospoint.plan.rule import Rule, write_rule

__all__ = [
    "check_from_outside",
    "compile_entry",
    "compile_plan",
    "refuse_placements",
    "seeds",
    "shown",
    "unseeded",
]


_FAULTS = "chaospoint.faults."  # of which nothing is foreign


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
) -> tuple[CompiledRule, ...]:
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
            CompiledRule(
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


def compile_entry(
    rule: Rule,
    *,
    seed: int | None,
    default_seed: int | None,
    expires_after: float,
    key: str,
    excluded: Sequence[str],
    limits: Limits,
) -> CompiledRule:
    """Return what the kernel runs for one entry of a store.

    ``seed``: the entry's own; without one, the rule's, ``default_seed``'s or a new one, as in
    `compile_plan`. ``expires_after``: the seconds that the entry has left. ``key`` identifies the
    entry, ``excluded`` holds the points that it leaves out. Raises as `compile_plan` does.
    """
    plan = Plan(rules=[rule])
    (compiled,) = compile_plan(plan, trust="loaded", seed=default_seed, limits=limits)
    if seed is not None:
        schedule = replace(compiled.schedule, seed=seed)
        compiled = compiled._replace(schedule=schedule, seed_drawn=False)
    return compiled._replace(
        expires_after=expires_after, key=key, excluded=(*compiled.excluded, *excluded)
    )


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
    ours = all(type(fault).__module__.startswith(_FAULTS) for fault in rule.faults)
    return partial(unseeded, rule) if ours else unseeded(rule)


def _seed_key(rule: Rule) -> str:
    """Return what the rule's seed is derived from: not its text, whose form may change, and nothing
    that does not concern when and how it fires."""
    parts = {"point", "faults", "probability", "skip", "every", "times"}
    return json_line(rule.model_dump(mode="json", include=parts))


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
            elif not type(found).__module__.startswith(_FAULTS):
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
