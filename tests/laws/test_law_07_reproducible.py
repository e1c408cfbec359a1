"""Law 7. Reproducible: same seed and plan, same firing ordinals, with one thread or many."""

from __future__ import annotations

from threading import Barrier
from typing import Any

import pytest
from helpers import PATIENCE, Threads, Witness, finish, place, python

from chaospoint import Injection, Plan, Registry, Rule, arm, armed
from chaospoint._kernel.chance import decide

CALLS = 2400

pytestmark = pytest.mark.usefixtures("restless")

PLANS: dict[str, dict[str, Any]] = {
    "probability": {"probability": 0.1, "returns": 8},
    "skip, every, times": {"skip": 7, "every": 3, "times": 100, "returns": 8},
    "jitter": {"latency": {"seconds": 1e-6, "jitter": 1e-6}, "probability": 0.2},
    "failure rate": {
        "returns": 8,
        "exception": TimeoutError,
        "failure_rate": 0.3,
        "probability": 0.2,
    },
}


def _injections(keys: dict[str, Any], pool: Threads, threads: int) -> list[Injection]:
    """Make the calls in so many threads, and return what was injected, by ordinal."""
    registry, witness = Registry(), Witness()
    registry.add_observer(witness)
    call = place(registry.point("bank.charge"), "function")
    handle = arm("bank.charge", registry=registry, **keys)
    barrier = Barrier(threads)

    def some() -> None:
        barrier.wait(PATIENCE)
        for _ in range(CALLS // threads):
            try:
                finish(call())
            except TimeoutError:
                pass

    for one in [pool.submit(some) for _ in range(threads)]:
        one.result(60)
    handle.disarm()
    registry.engine.housekeeper.stop()
    assert handle.reaches == CALLS
    return sorted(witness.injections, key=lambda injection: injection.ordinal)


@pytest.mark.parametrize("name", PLANS)
def test_law_07_same_seed_same_ordinals_with_one_thread_and_with_eight(
    name: str, pool: Threads
) -> None:
    """Which reaches fire, and what each of them suffers, follows from the seed alone."""
    keys = PLANS[name]
    one = _injections({**keys, "seed": 7}, pool, 1)
    eight = _injections({**keys, "seed": 7}, pool, 8)
    assert len(one) >= 100
    assert eight == one
    if "every" not in keys:
        other = _injections({**keys, "seed": 8}, pool, 1)
        assert [injection.ordinal for injection in other] != [found.ordinal for found in one]


def test_law_07_the_faults_of_a_firing_do_not_depend_on_the_order_of_acting(
    registry: Registry,
) -> None:
    """Ten coroutines are run in the order they were made in, and backwards."""
    call = place(registry.point("bank.charge"), "coroutine")
    latency = {"seconds": 1e-6, "jitter": 1e-6}
    seen = []
    for forwards in (True, False):
        witness = Witness()
        registry.add_observer(witness)
        with armed("bank.charge", latency=latency, seed=7, registry=registry):
            made = [call() for _ in range(10)]
            for one in made if forwards else reversed(made):
                finish(one)
        registry.remove_observer(witness)
        seen.append(sorted(witness.injections, key=lambda injection: injection.ordinal))
    assert seen[0] == seen[1]


def test_law_07_every_ordinal_has_draws_of_its_own(pool: Threads) -> None:
    """Jitter and outcome differ from firing to firing, or they would be no chance at all."""
    jitter = _injections({**PLANS["jitter"], "seed": 7}, pool, 1)
    assert len({injection.latency for injection in jitter}) > len(jitter) * 0.9
    rate = _injections({**PLANS["failure rate"], "seed": 7}, pool, 1)
    failed = sum(injection.exception is not None for injection in rate)
    assert 0.2 < failed / len(rate) < 0.4


def test_law_07_rules_of_one_plan_differ_and_are_the_same_each_time(registry: Registry) -> None:
    """The seed of a plan gives each of its rules one of its own."""
    rule = Rule(point="bank.charge", returns=8, probability=0.1)
    registry.point("bank.charge")(lambda: 7)
    plan = Plan(seed=7, rules=[rule, rule, Rule(point="bank.*", returns=8, probability=0.1)])
    first = [
        list(zip(decide(armed.terms.schedule), range(50), strict=False))
        for armed in arm(plan, registry=registry).rules
    ]
    again = [
        list(zip(decide(armed.terms.schedule), range(50), strict=False))
        for armed in arm(plan, registry=registry).rules
    ]
    assert first == again
    assert len({str(ordinals) for ordinals in first}) == 3


def test_law_07_a_drawn_seed_is_logged(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a seed one is drawn; the log has it, and armed again with it the run is the same."""
    registry.point("bank.charge")
    with caplog.at_level("INFO", "chaospoint"):
        (rule,) = arm("bank.charge", latency=0, probability=0.1, registry=registry).rules
    assert f"seed {rule.seed}" in caplog.text
    (again,) = arm(
        "bank.charge", latency=0, probability=0.1, seed=rule.seed, registry=registry
    ).rules
    assert again.terms.schedule == rule.terms.schedule


def test_law_07_the_same_in_another_process_whatever_its_hash_seed() -> None:
    """Nothing depends on `hash()`, which differs from process to process."""
    program = """
        from itertools import islice
        from chaospoint import Plan
        from chaospoint._kernel.chance import decide
        from chaospoint._kernel.chance import Draws
        from chaospoint.plan.compiling import compile_plan

        rules = [{"point": "bank.*", "latency": {"seconds": 1, "jitter": 1}, "probability": 0.1}]
        (terms,) = compile_plan(Plan(seed=7, rules=rules), trust="code")
        for ordinal in islice(decide(terms.schedule), 20):
            print(ordinal, terms.faults[0].effects(Draws(terms.schedule.seed, ordinal)))
    """
    first, second = (python(program, PYTHONHASHSEED=seed).stdout for seed in ("1", "2"))
    assert first == second
    assert first.count("Sleep") == 20
