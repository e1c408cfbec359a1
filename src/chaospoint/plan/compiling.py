"""Compile the rules of a plan to the form that the kernel runs."""

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


_FAULTS = "chaospoint.faults."  # the package of the built-in kinds


def refuse_placements(plan: Plan) -> None:
    """Raise `InvalidPlan` if the plan has placements; for every source but the plan file."""
    if plan.placements:
        raise (
            Refusal(
                "only the plan file may have placements",
                "write them in the file that CHAOSPOINT_CONFIG names, or decorate the functions"
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
    """Return the compiled rules, in the order of the plan.

    ``seed``: used if neither a rule nor the plan has one; without it each rule draws its own.
    ``expires_after``: the default lifetime in seconds. Exceptions are looked up and built once,
    as far as ``trust`` allows. Raises `InvalidPlan`, and `LimitExceeded` for a rule that exceeds
    ``limits``.
    """
    compiled = []
    bounded = limits is not NO_LIMITS  # arming from code has no limits and must be fast
    for nth, (rule, known) in enumerate(zip(plan.rules, seeds(plan, seed), strict=True), 1):
        place = nth if len(plan.rules) > 1 else None
        if trust != "code":
            _check_scope(rule, place)
            limits.check_outside(rule, name_rule(rule.point, place))
        if bounded:
            limits.check(rule, name_rule(rule.point, place))
        faults, wait = _resolve(rule, place, trust, limits)
        lifetime = expires_after if rule.expires_after is None else rule.expires_after
        own = draw_seed() if known is None else known
        compiled.append(
            CompiledRule(
                pattern=rule.point,
                written=_text_of(rule),
                faults=faults,
                schedule=Schedule(own, rule.skip, rule.every, rule.probability, rule.times),
                seed_drawn=known is None,
                expires_after=limits.lifetime(lifetime),
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
    return tuple(compiled)


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
    """Return the compiled rule of one entry of a store.

    ``seed``: the seed of the entry; if None, that of the rule, ``default_seed`` or a new one, as in
    `compile_plan`. ``expires_after``: the seconds that the entry has left. ``key`` identifies the
    entry; ``excluded``: names and globs of points that it leaves out. Raises like `compile_plan`.
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
        cure = "leave the key out; `where` selects calls by labels and arguments"
        problem = "only rules that code arms can be limited to a context"
        refusal = Refusal(problem, cure, field="scope", value=rule.scope)
        raise refusal.of_rule(name_rule(rule.point, place)).invalid_plan()


def check_from_outside(plan: Plan) -> None:
    """Raise `InvalidPlan` for a rule that no file, variable, store or request may contain.

    Exceptions of modules that are not installed here are left to the process that has them.
    """
    for nth, rule in enumerate(plan.rules, 1):
        place = nth if len(plan.rules) > 1 else None
        _check_scope(rule, place)
        if all(fault.can_resolve() for fault in rule.faults):
            _resolve(rule, place, "deferred", NO_LIMITS)


def seeds(plan: Plan, seed: int | None = None) -> tuple[int | None, ...]:
    """Return the effective seed of each rule, or None if it has to be drawn.

    ``seed``: the default for a plan without one.
    """
    base = seed if plan.seed is None else plan.seed
    count: dict[str, int] = {}
    derived: list[int | None] = []
    for rule in plan.rules:
        if rule.seed is None and base is not None:
            key = _seed_key(rule)
            count[key] = count.get(key, 0) + 1
            # 53 bits, because JavaScript and jq would round a larger number.
            derived.append(derive(base, key, count[key]) >> 10)
        else:
            derived.append(rule.seed)
    return tuple(derived)


def shown(rule: Rule) -> str:
    """Return the text of a rule without its seed and without the values of ``where``."""
    return write_rule(rule, with_seed=False, with_values=False)


def unseeded(rule: Rule) -> str:
    """Return the text of a rule without its seed."""
    return write_rule(rule, with_seed=False)


def _text_of(rule: Rule) -> str | Callable[[], str]:
    """Return the text without the seed, or a function that writes it without foreign code."""
    built_in = all(type(fault).__module__.startswith(_FAULTS) for fault in rule.faults)
    return partial(unseeded, rule) if built_in else unseeded(rule)


def _seed_key(rule: Rule) -> str:
    """Return the text from which the seed of a rule is derived.

    It is not the text of the rule, whose form may change, and holds only keys that decide when and
    how the rule fires.
    """
    parts = {"point", "faults", "probability", "skip", "every", "times"}
    return json_line(rule.model_dump(mode="json", include=parts))


def _resolve(
    rule: Rule, place: int | None, trust: Trust, limits: Limits, *, reached: bool = False
) -> tuple[tuple[Fault, ...], bool]:
    """Return the faults that the kernel runs, and whether the look-up of one has to wait."""
    faults: list[Fault] = []
    wait = False
    try:
        for fault in rule.faults:
            if (resolved := fault.resolve(trust, reached=reached)) is None:
                wait = True
            elif not type(resolved).__module__.startswith(_FAULTS):
                _try(resolved)
            faults.append(fault if resolved is None else resolved)
    except Refusal as refusal:
        raise refusal.of_rule(name_rule(rule.point, place)).invalid_plan() from None
    return tuple(faults) if limits is NO_LIMITS else limits.cut(rule.faults, faults), wait


def _look_up(rule: Rule, place: int | None, trust: Trust, limits: Limits) -> tuple[Fault, ...]:
    return _resolve(rule, place, trust, limits, reached=True)[0]


def _try(fault: Fault) -> None:
    """Check the effects of one injection: kinds of other packages may be wrong."""
    try:
        effects = transparently(fault.effects, Draws(0, 1))
        wrong: list[object] = [effect for effect in effects if not isinstance(effect, Effect)]
    except Exception as error:
        wrong = [error]
    if wrong:
        problem = f"effects() of this kind is wrong: {wrong[0]!r}"
        cure = "correct it to return a tuple of chaospoint.effects"
        raise Refusal(problem, cure, field="kind", value=fault.kind)
