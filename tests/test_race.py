"""Ten seconds in which everything happens at once, with threads switched all the time.

Eight threads and an event loop call every kind of placement, while others arm, disarm, replace,
disable, enable, exclude, expire, and make and drop functions.  No caller may see anything but what
was asked for; what can be counted is counted exactly; and in the end nothing is left.
``RACE_SEED`` repeats the choices of a run, though not its timing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import FUNCTIONS, PATIENCE, PLACES, Boom, Witness, afinish, code_of, finish, place
from prometheus_client import REGISTRY

from chaospoint import Point, Registry, _site, _wrapper, arm, injection_of
from chaospoint._epoch import ArmedRule
from chaospoint._keeper import Keeper
from chaospoint._lock import arming
from chaospoint._notice import Reached, RuleArmed, RuleDisarmed
from chaospoint.arming import install_plan
from chaospoint.errors import NotPermitted, UnsupportedFault
from chaospoint.plan import parse_plan

SECONDS = 10.0
ASYNCHRONOUS = tuple(kind for kind in PLACES if "async" in kind or kind == "coroutine")
PATTERNS = (*(f"race.{kind.replace('_', '-')}" for kind in PLACES), "race.*", "*-method", "*")


pytestmark = pytest.mark.usefixtures("restless")


@pytest.fixture(autouse=True)
def _without_a_log() -> Iterator[None]:
    log = logging.getLogger("chaospoint")
    before = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(before)


class Placed:
    """One placement of every kind, each under a stormy point and, outside of that, a calm one."""

    def __init__(self, storm: Registry, calm: Registry) -> None:
        self.calls: dict[str, Callable[[], Any]] = {}
        self.calm_kinds = (*FUNCTIONS, "wrapped")
        for kind in PLACES:
            stormy = storm.point(f"race.{kind.replace('_', '-')}")
            self.calls[kind] = place(stormy, kind)
            if kind in self.calm_kinds:
                both: Any = _Both(calm.point("calm." + kind.partition("_")[0]), stormy)
                self.calls[f"calm {kind}"] = place(both, kind)
        self.codes = {
            name: code_of(call)
            for name, call in self.calls.items()
            if name.removeprefix("calm ") in FUNCTIONS
        }

    def patched(self) -> set[str]:
        """Return what does not run its own code."""
        return {name for name, code in self.codes.items() if code_of(self.calls[name]) is not code}


class _Both:
    """Two points as one decorator."""

    def __init__(self, outer: Point, inner: Point) -> None:
        self._outer = outer
        self._inner = inner

    def __call__(self, target: Any) -> Any:
        return self._outer(self._inner(target))


class Caller:
    """Calls placements, and judges what comes of it."""

    def __init__(self, placed: Placed, names: list[str], seed: str) -> None:
        self._calls = placed.calls
        self._names = names
        self._random = random.Random(seed)
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    def go_on(self, until: float) -> None:
        while time.monotonic() < until:
            name = self._random.choice(self._names)
            try:
                self._judge(name, finish(self._calls[name]()))
            except BaseException as error:
                self._judge(name, error)

    async def ago_on(self, until: float) -> None:
        while time.monotonic() < until:
            name = self._random.choice(self._names)
            try:
                self._judge(name, await afinish(self._calls[name]()))
            except BaseException as error:
                self._judge(name, error)

    def _judge(self, name: str, result: object) -> None:
        self.seen["calls"] += 1
        self.seen["calm"] += name.startswith("calm ")
        point = "race." + name.removeprefix("calm ").replace("_", "-")
        if isinstance(result, Boom):
            injection = injection_of(result)
            right = injection is not None and injection.point == point
            right = right and len(result.__notes__) == 1
            self.seen["exception"] += 1
        else:
            # A returned list is yielded item by item where a generator stands.
            answered = result == [8] or result == 8
            right = answered or result == 7
            self.seen["return"] += answered
        if not right:
            self.wrong.append(f"{name}: {result!r} at {point}")


class Stormer:
    """Changes what is armed."""

    def __init__(self, registry: Registry, seed: str) -> None:
        self._registry = registry
        self._random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    def go_on(self, until: float) -> None:
        deeds = (
            *(self._arm,) * 6,
            *(self._disarm,) * 2,
            self._replace_all,
            self._replace_one,
            self._switch,
            self._look,
            self._make_and_drop,
        )
        while time.monotonic() < until:
            deed = self._random.choice(deeds)
            try:
                deed()
            except (NotPermitted, UnsupportedFault) as refused:
                self.done[type(refused).__name__] += 1
            except BaseException as error:
                self.wrong.append(f"{deed.__name__}: {error!r}")
            self.done[deed.__name__.strip("_")] += 1

    def _keys(self) -> dict[str, Any]:
        chance = self._random
        keys: dict[str, Any] = chance.choice(
            (
                {"exception": "helpers.Boom"},
                {"returns": [8]},
                {"latency": 0},
                {"latency": {"seconds": 0.0005, "jitter": 0.0005}},
                {"hang": True},
            )
        )
        # A hang that nobody disarms would end the race for whoever it catches.
        lifetimes = (0.002, 0.02, 0.05) if "hang" in keys else (None, None, 0.002, 0.02)
        return {
            **keys,
            **chance.choice(({}, {"times": 3}, {"times": 300})),
            **chance.choice(({}, {"probability": 0.3}, {"skip": 5, "every": 3})),
            "expires_after": chance.choice(lifetimes),
        }

    def _arm(self) -> None:
        handle = arm(self._random.choice(PATTERNS), registry=self._registry, **self._keys())
        for _ in range(self._random.randrange(3)):
            self._disarm()
        handle.disarm()

    def _disarm(self) -> None:
        self._registry.disarm(self._random.choice(PATTERNS))

    def _install(self, patterns: list[str], source: Any, only: str | None = None) -> None:
        plan = parse_plan([{"point": pattern, **self._keys()} for pattern in patterns])
        trust: Any = "loaded" if source == "http" else "deferred"
        install_plan(
            plan, source=source, trust=trust, registry=self._registry, replace=True, only=only
        )

    def _replace_all(self) -> None:
        count = self._random.randrange(4)
        source = self._random.choice(("env", "file"))
        self._install([self._random.choice(PATTERNS) for _ in range(count)], source)

    def _replace_one(self) -> None:
        pattern = self._random.choice(PATTERNS)
        self._install([pattern], "http", pattern)

    def _switch(self) -> None:
        self._registry.disable()
        self._registry.enable()

    def _look(self) -> None:
        for rule in self._registry.rules():
            assert rule.injections <= rule.reaches
            assert rule.state
        for point in self._registry.points():
            assert "gone" not in repr((point, point.placements))
        self._registry.flush()

    def _make_and_drop(self) -> None:
        point = self._registry.point(f"race.made-{self._random.randrange(5)}")
        made = [place(point, kind) for kind in ("function", "closure", "wrapped")]
        for call in made:
            try:
                result = call()
            except Boom:
                self.seen["exception"] += 1
            else:
                assert result in (7, [8])
                self.seen["return"] += result == [8]


def _last_of_each(rules: list[ArmedRule]) -> list[ArmedRule]:
    """Return one rule of each tally: what `enable` puts back goes on with the tally it had."""
    last: dict[int, ArmedRule] = {}
    for rule in sorted(rules, key=lambda rule: rule.reaches):
        last[id(rule.tally)] = rule
    return list(last.values())


def _sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def _injected() -> float:
    (metric,) = (one for one in REGISTRY.collect() if one.name == "chaospoint_injections")
    return sum(
        sample.value
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["point"].startswith("race.")
    )


def _sites() -> tuple[int, int]:
    """Return how many functions and wrappers are known, without those that are gone."""
    gc.collect()
    with arming:
        _site.sweep()
    return len(_site._sites), len(_wrapper._graves)


@pytest.mark.filterwarnings("ignore::chaospoint.errors.ChaosWarning")
def test_nothing_goes_wrong_when_everything_happens_at_once() -> None:
    seed = os.environ.get("RACE_SEED") or str(random.SystemRandom().randrange(10**9))
    print(f"RACE_SEED={seed}")
    sites = _sites()
    storm, calm, witness = Registry(), Registry(), Witness()
    storm.add_observer(witness)
    arm("race.none*", latency=0, registry=storm).disarm()  # the metrics are there from now on
    injected, sources = _injected(), ("code", "http", "env", "file")
    gauges = [_sample("chaospoint_armed_rules", source=source) for source in sources]
    placed = Placed(storm, calm)

    every = arm("calm.*", latency=0, every=3, registry=calm)
    some = arm("calm.*", latency=0, probability=0.5, seed=7, times=400, registry=calm)

    names = list(placed.calls)
    callers = [Caller(placed, names, f"{seed}/{n}") for n in range(8)]
    awaited = [name for name in names if name.removeprefix("calm ") in ASYNCHRONOUS]
    tasks = [Caller(placed, awaited, f"{seed}/t{n}") for n in range(8)]
    stormers = [Stormer(storm, f"{seed}/s{n}") for n in range(3)]
    until = time.monotonic() + SECONDS

    async def main() -> None:
        await asyncio.gather(*(caller.ago_on(until) for caller in tasks))  # noqa: F821 - it is deleted in the end

    threads = [
        threading.Thread(target=go, daemon=True)
        for go in (
            *(lambda one=one: one.go_on(until) for one in (*callers, *stormers)),
            lambda: asyncio.run(main()),
        )
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    storm.disarm()
    every.disarm()
    some.disarm()

    done = sum((stormer.done for stormer in stormers), Counter())
    seen = sum((caller.seen for caller in (*callers, *tasks, *stormers)), Counter())
    print(dict(seen), dict(done))
    assert [wrong for one in (*callers, *tasks, *stormers) for wrong in one.wrong] == []
    assert seen["calls"] > 2000
    assert min(done.values()) > 10

    # What the callers got, what the observers were told, and what the rules counted, is the same.
    rules = _last_of_each([told.rule for told in witness.notices if isinstance(told, RuleArmed)])
    kinds = Counter(injection.fault for injection in witness.injections)
    assert (kinds["exception"], kinds["return"]) == (seen["exception"], seen["return"])
    assert sum(rule.injections for rule in rules) == len(witness.injections)
    assert _injected() - injected == len(witness.injections)
    told = sum(told.reaches for told in witness.notices if isinstance(told, Reached))
    assert sum(rule.reaches for rule in rules) == told
    for rule in rules:
        times = rule.terms.schedule.times
        assert rule.injections <= min(rule.reaches, rule.reaches if times is None else times)
        assert rule.interrupted <= rule.injections
        assert rule.sleepers == rule.watchers == set()
    ends = Counter(type(told) for told in witness.notices)
    assert ends[RuleArmed] == ends[RuleDisarmed]
    assert [_sample("chaospoint_armed_rules", source=source) for source in sources] == gauges

    # The calm rules share functions with the storm, and lose nothing by it.  The one tried first
    # is the newer; it takes a third rule's place at the ordinals at which it fires.
    assert some.reaches == seen["calm"]
    assert some.injections == 400
    assert every.reaches == seen["calm"] - 400
    assert every.injections == every.reaches // 3

    # Nothing is left: no code of ours, no thread, no site.
    assert placed.patched() == set()
    assert {finish(call()) for call in placed.calls.values()} == {7}
    assert all(not point.armed and type(point) is Point for point in storm.points())
    for registry in (storm, calm):
        keeper = registry.board.keeper._thread
        if keeper is not None:
            keeper.join(PATIENCE)
        assert registry.board.keeper._thread is None
    del placed, callers, tasks, storm, calm, registry, stormers, threads
    assert _sites() == sites


def test_a_race_over_one_name_loses_no_exception(pool: Any) -> None:
    """Arming, disarming and calling one function: each armed rule fires exactly as often as due."""
    registry = Registry()
    call = place(registry.point("bank.charge"), "function")
    own = code_of(call)
    stop = threading.Event()

    def calling() -> int:
        count = 0
        while not stop.is_set():
            try:
                assert call() == 7
            except Boom:
                count += 1
        return count

    calling_ones = [pool.submit(calling) for _ in range(8)]
    fired = 0
    for _ in range(200):
        handle = arm("bank.charge", exception=Boom, times=3, registry=registry)
        handle.wait_for(injections=3, timeout=PATIENCE)
        handle.disarm()
        fired += handle.injections
    stop.set()
    assert sum(one.result(PATIENCE) for one in calling_ones) == fired == 600
    assert code_of(call) is own
    registry.board.keeper.stop()


def test_a_rule_that_is_armed_as_the_keeper_ends_expires_all_the_same() -> None:
    """The keeper's last look and the next rule never miss each other, however often they meet."""
    registry = Registry()
    registry.point("db.query")
    for _ in range(300):
        handle = arm("db.query", latency=0, expires_after=0.001, registry=registry)
        with pytest.raises(TimeoutError, match="expired"):
            handle.wait_for(timeout=PATIENCE)
    keeper = registry.board.keeper._thread
    if keeper is not None:
        keeper.join(PATIENCE)
    assert registry.board.keeper._thread is None


def test_a_rule_that_is_armed_in_the_keepers_last_look_finds_a_keeper(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The keeper found nothing armed and is about to end, and the next rule comes just then."""
    registry = Registry()
    board, keeper = registry.board, registry.board.keeper
    registry.point("db.query")
    looked, armed_meanwhile = threading.Event(), threading.Event()
    rules = board.rules

    def looking(point: str | None = None) -> list[ArmedRule]:
        found = rules(point)
        last = sys._getframe(1).f_code is Keeper._run.__code__
        if last and not found and not looked.is_set():
            looked.set()
            armed_meanwhile.wait(PATIENCE)
        return found

    class Nudge(threading.Event):
        def set(self) -> None:
            if looked.is_set() and not armed_meanwhile.is_set():
                armed_meanwhile.set()
                thread.join(0.2)  # ends now if it is going to
            super().set()

    monkeypatch.setattr(keeper, "_look", Nudge())
    thread: threading.Thread | None = None
    first = arm("db.query", latency=0, registry=registry)
    thread = keeper._thread
    assert thread is not None
    monkeypatch.setattr(board, "rules", looking)
    first.disarm()
    keeper._look.set()
    assert looked.wait(PATIENCE)
    handle = arm("db.query", latency=0, expires_after=0.001, registry=registry)
    with pytest.raises(TimeoutError, match="expired"):
        handle.wait_for(timeout=PATIENCE)
    keeper.stop()
