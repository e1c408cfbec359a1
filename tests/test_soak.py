"""Twenty seconds in which everything happens at once, with threads switched all the time.

Eight threads and an event loop call every kind of placement, while others arm, disarm, reload,
disable, enable, exclude, release, expire, and make and drop functions; and three times the process
forks in the middle of it.  No caller may get anything but what observers were told last; what can
be counted is counted exactly; a child works; and each time the storm calms down nothing is left of
it: no code of ours, no thread, no waker, no rule that ended, and no memory.
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
import traceback
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from threading import BrokenBarrierError
from typing import Any

import pytest
from helpers import PATIENCE, finish
from prometheus_client import REGISTRY
from soak.callers import number_of
from soak.scene import Scene
from soak.storm import FAULTS

from chaospoint import Armed, Point, Registry, arm
from chaospoint._kernel import fork
from chaospoint._kernel.armed_rule import ArmedRule, Pause
from chaospoint._kernel.binding import Binding
from chaospoint._kernel.chance import Schedule, decide
from chaospoint._kernel.lock import arming_lock
from chaospoint._kernel.search import Searches
from chaospoint._kernel.tally import BoundedTally, Slot, Tally
from chaospoint._patching import site, wrapper
from chaospoint._registry.notices import Overflowed, Reached, RuleArmed, RuleDisarmed

GROWTH = 1 << 20
"""Bytes that may be held at the last calm beyond those at the first."""

BLOCKS = 10_000
"""The same where nobody counts the bytes: so many pieces of memory are some 1 MiB."""

DEEDS = (
    *("arm", "disarm", "install", "put", "switch", "release", "look", "make_and_drop"),
    *("wait", "enter", "within", "await", "aenter", "awithin"),
)
KEYS = ("where", "when", "scope", "times", "probability", "skip", "max_active", "expires_after")
SOURCES = ("code", "http", "store", "env", "file")
EPOCH = (ArmedRule, Tally, BoundedTally, Slot, Pause, Binding, Searches)
"""What dies with an armed rule."""

pytestmark = [
    pytest.mark.alone,
    pytest.mark.usefixtures("restless"),
    pytest.mark.filterwarnings("ignore::chaospoint.errors.ChaosWarning"),
]


@pytest.fixture(autouse=True)
def _without_a_log() -> Iterator[None]:
    # A child that is forked while another thread writes to stderr may hang: that is CPython's.
    log = logging.getLogger("chaospoint")
    before = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(before)


needs_forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@needs_forks
@pytest.mark.ci
def test_nothing_goes_wrong_when_everything_happens_at_once() -> None:
    tracemalloc.start()
    try:
        _soak(calms=(5.0, 10.0, 15.0, 20.0), forks=(11.5, 13.5, 17.0))
    finally:
        tracemalloc.stop()


@needs_forks
def test_nothing_goes_wrong_when_it_happens_fast() -> None:
    """As above, several times as fast: nobody traces the memory."""
    _soak(calms=(2.5, 5.0), forks=(3.7,))


def _soak(calms: tuple[float, ...], forks: tuple[float, ...]) -> None:
    seed = os.environ.get("RACE_SEED") or str(random.SystemRandom().randrange(10**9))
    print(f"RACE_SEED={seed}")
    warm = Registry()
    arm("race.none*", latency=0, registry=warm).disarm()  # the metrics are there from now on
    warm.engine.housekeeper.stop()
    gc.unfreeze()  # what is counted now is counted in the end
    left = Left.now()
    gc.collect()
    gc.freeze()  # what other tests left behind would be walked through for most of the time
    try:
        Soak(seed, calms, forks).run(left)
    finally:
        gc.unfreeze()
    now = Left.now()
    assert set(now.threads) <= set(left.threads)  # one of another test may have ended meanwhile
    assert replace(now, threads=[]) == replace(left, threads=[])


class Soak:
    """One run: a storm with moments of calm, at which is looked what it has left behind."""

    def __init__(self, seed: str, calms: tuple[float, ...], forks: tuple[float, ...]) -> None:
        self.scene = scene = Scene(seed)
        self._began = 0.0
        self._calms = calms
        self._memory: list[int] = []
        self._first: tracemalloc.Snapshot | None = None
        self._fork_after = forks
        self._forks: list[float] = []
        works = [caller.go_on for caller in scene.callers]
        works += [stormer.go_on for stormer in scene.stormers[1:-1]]
        works += [lambda until: scene.fork_and_go_on(self._forks, until)]
        self._turn = threading.Barrier(len(works) + 2)
        self._threads = [threading.Thread(target=self._work, args=(one,)) for one in works]
        self._threads.append(threading.Thread(target=self._loop))

    def run(self, left: Left) -> None:
        scene, sites = self.scene, _swept()
        for thread in self._threads:
            thread.daemon = True
            thread.start()
        self._began = time.monotonic()
        self._forks += [self._began + seconds for seconds in self._fork_after]
        try:
            for calm in self._calms:
                counted = Counted.from_now(scene)
                self._wait(PATIENCE)
                self._wait(self._began + calm - time.monotonic() + 4 * PATIENCE)
                counted.end()
                assert not (wrong := scene.wrong()), "\n".join(wrong[:20])
                counted.check(scene)
                del counted
                self._check_that_nothing_is_left(left, sites)
        finally:
            self._turn.abort()
            for registry in scene.registries():
                registry.disarm()
            deadline = time.monotonic() + PATIENCE
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        self._report()

    def _work(self, go_on: Callable[[float], None]) -> None:
        try:
            for calm in self._calms:
                self._turn.wait()
                go_on(self._began + calm)
                self._turn.wait()
        except BrokenBarrierError:
            pass

    def _loop(self) -> None:
        async def main(until: float) -> None:
            tasks = (*(caller.ago_on for caller in scene.tasks), scene.stormers[-1].ago_on)
            await asyncio.gather(*(go_on(until) for go_on in tasks))

        scene = self.scene
        with asyncio.Runner() as runner:
            self._work(lambda until: runner.run(main(until)))

    def _wait(self, seconds: float) -> None:
        try:
            self._turn.wait(seconds)
        except BrokenBarrierError:
            stacks = map(traceback.format_stack, sys._current_frames().values())
            pytest.fail("a thread hangs:\n" + "\n".join(map("".join, stacks)), pytrace=False)

    def _check_that_nothing_is_left(self, left: Left, sites: tuple[int, int]) -> None:
        scene = self.scene
        assert scene.changed() == []
        assert {finish(one.call()) for one in scene.placements} == {7}
        points = [point for registry in scene.registries() for point in registry.points()]
        assert all(not point.armed and type(point) is Point for point in points)
        scene.end_keepers()
        scene.forget()
        assert _gauges() == left.gauges
        assert _swept() == sites
        alive = [one for one in _epoch() if id(one) not in left.epoch]
        rules = {id(rule) for registry in scene.registries() for rule in registry.engine.ended()}
        kinds = Counter(type(one) for one in alive)
        unknown = [one for one in alive if type(one) is ArmedRule and id(one) not in rules]
        assert not unknown, (kinds, len(rules), [_held_by(one) for one in unknown[:3]])
        assert kinds[Tally] + kinds[BoundedTally] <= len(rules), kinds
        assert len(alive) <= 2 * len(rules) <= 200, kinds  # some that expired are remembered
        del alive, unknown
        self._measure()

    def _measure(self) -> None:
        if not tracemalloc.is_tracing():
            self._memory.append(sys.getallocatedblocks())
            assert self._memory[-1] - self._memory[0] <= BLOCKS
            return
        if self._first is None:
            self._first = tracemalloc.take_snapshot()
            gc.collect()
        self._memory.append(tracemalloc.get_traced_memory()[0])
        if self._memory[-1] - self._memory[0] > GROWTH:
            grown = tracemalloc.take_snapshot().compare_to(self._first, "lineno")
            pytest.fail("more and more is held:\n" + "\n".join(map(str, grown[:20])))

    def _report(self) -> None:
        stormers, seen = self.scene.stormers, self.scene.seen()
        done = sum((stormer.done for stormer in stormers), Counter())
        asked = sum((stormer.asked for stormer in stormers), Counter())
        grown = [memory - self._memory[0] for memory in self._memory]
        print(dict(seen), dict(done), dict(asked), self.scene.children, grown, sep="\n")
        assert len(self.scene.children) == len(self._fork_after)
        assert seen["calls"] > 2000
        assert min(seen[one] for one in ("injections", "cancelled", "calm")) > 0
        assert min(done[one] for one in DEEDS) > 0
        assert min(asked[one] for one in (*FAULTS, *KEYS)) > 0


# -- what is counted ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted from one calm to the next.

    The calm rules share functions with the storm and lose nothing by it.
    """

    every: Armed
    some: Armed
    seen: Counter[str]
    injected: float

    @classmethod
    def from_now(cls, scene: Scene) -> Counted:
        keys: Any = {"latency": 0, "registry": scene.calm}
        every = arm("calm.*", every=3, **keys)
        some = arm("calm.*", probability=0.5, seed=7, times=400, **keys)
        return cls(every, some, scene.seen(), _injected())

    def end(self) -> None:
        self.every.disarm()
        self.some.disarm()

    def check(self, scene: Scene) -> None:
        """What callers got, what observers were told, and what rules counted, is the same."""
        notices, seen = scene.storm.notices, scene.seen() - self.seen
        rules = [told.rule for told in notices if isinstance(told, RuleArmed)]
        for rule in rules:
            assert rule.sleepers == rule.watchers == rule.paused == set(), rule.text
            assert not any(slot() for slot in getattr(rule.tally, "_taken", {}).values()), rule.text
        rules = _last_of_each(rules)
        fired = _check_firings(rules, [pair for one in scene.all_callers() for pair in one.fired])
        assert seen["injections"] == fired == _injected() - self.injected
        reached = sum(one.reaches for one in notices if isinstance(one, Reached))
        assert sum(rule.reaches for rule in rules) == reached
        passed = sum(one.count for one in notices if isinstance(one, Overflowed))
        assert sum(rule.overflow for rule in rules) == passed
        ends = Counter(type(one) for one in notices)
        assert ends[RuleArmed] == ends[RuleDisarmed]

        # The newer rule is tried first, and takes the place of the other where it fires.
        calm = seen["calm"]
        due = takewhile(lambda n: n <= calm, decide(Schedule(7, probability=0.5, times=400)))
        assert (self.some.reaches, self.some.injections) == (calm, sum(1 for _ in due))
        assert self.every.reaches == calm - self.some.injections
        assert self.every.injections == self.every.reaches // 3


def _last_of_each(rules: list[ArmedRule]) -> list[ArmedRule]:
    """Return one rule of each tally: what `enable` puts back goes on with the tally it had."""
    rules = sorted(rules, key=lambda rule: (rule.reaches, rule.overflow))
    return list({id(rule.tally): rule for rule in rules}.values())


def _check_firings(rules: list[ArmedRule], pairs: list[tuple[int, int]]) -> int:
    """Compare what rules counted with the numbers and ordinals that were told; return how many."""
    told: dict[int, Counter[int]] = defaultdict(Counter)
    for number, ordinal in pairs:
        told[number][ordinal] += 1
    same: dict[int, list[ArmedRule]] = defaultdict(list)
    for rule in rules:
        same[number_of(rule.text)].append(rule)
        assert rule.interrupted <= rule.injections <= rule.reaches
        assert rule.injections <= (rule.terms.schedule.times or rule.reaches)
    for number, alike in same.items():
        assert sum(rule.injections for rule in alike) == told[number].total(), alike[0].text
        # A plan that is reloaded after another has its rules armed anew, with the same mark.
        assert number == 0 or max(told[number].values(), default=0) <= len(alike)
        if len(alike) == 1:
            (rule,) = alike
            last = max(told[number], default=0)
            # What `max_active` lets pass uses up none of `times`.
            schedule = replace(rule.terms.schedule, times=None)
            due = takewhile(lambda n, last=last: n <= last, decide(schedule))
            assert set(told[number]) <= set(due), rule.text
    assert set(told) <= set(same)
    return len(pairs)


def _sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def _injected() -> float:
    (metric,) = (one for one in REGISTRY.collect() if one.name == "chaospoint_injections")
    return sum(
        sample.value
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["point"].startswith(("race.", "outer."))
    )


# -- what is left -------------------------------------------------------------------------------


def _gauges() -> list[float]:
    return [_sample("chaospoint_armed_rules", source=source) for source in SOURCES]


def _epoch() -> list[Any]:
    return [one for one in gc.get_objects() if type(one) in EPOCH]


def _held_by(rule: ArmedRule) -> str:
    holders = Counter(type(holder).__name__ for holder in gc.get_referrers(rule))
    return f"{rule.text}, which ended by {rule.why!r}, is held by {dict(holders)}"


def _swept() -> tuple[int, int]:
    """Return how many functions and wrappers are known, when those that are gone are forgotten."""
    gc.collect()
    with arming_lock:
        site.sweep()
    wrapper.wrap(Registry().point("race.sweep"), abs)  # this forgets those before it
    gc.collect()
    wrappers = sum(type(one) is wrapper.Wrapper for one in gc.get_objects())
    return len(site._sites), wrappers


@dataclass(frozen=True, slots=True)
class Left:
    """What is there beside a soak, and is to be the same behind it."""

    sites: tuple[int, int]
    epoch: set[int]
    threads: list[threading.Thread]
    engines: int
    gauges: list[float]

    @classmethod
    def now(cls) -> Left:
        sites, epoch = _swept(), {id(one) for one in _epoch()}
        return cls(sites, epoch, threading.enumerate(), len(fork.engines), _gauges())
