"""Measure the memory of a point, and arming and disarming at ten thousand points.

An armed function is called once before it is disarmed, as in real use; the call is not timed.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from time import perf_counter_ns

import chaospoint
from benchmarks.budget import Budget
from benchmarks.budget import Kind as Of
from benchmarks.measure import Effort, Part, quiet
from benchmarks.row import Row, Unit
from chaospoint.arming import Origin, install_plan
from chaospoint.plan import Plan, Rule, load_plan

__all__ = ["rows"]

_POINTS = 10_000
_MEASURED_POINTS = 2_000
_FEW_RULES = 100

MEMORY = Budget(Of.VALUE, 1_024.0)
GLOB = Budget(Of.VALUE, 300e6)
NAME = Budget(Of.VALUE, 100e3)
CHANGE = Budget(Of.VALUE, 1e9)

_GLOBS = 1_000


def rows() -> Iterator[Row]:
    """Yield the rows."""
    yield Row("memory", "a point with a function, disarmed", MEMORY, _memory, Unit.BYTES)
    group = f"{_POINTS:,} points, half of them on methods"
    targets = (("a glob that matches all", "bench.*", GLOB), ("one name", "bench.p5000", NAME))
    for what, target, budget in targets:
        cycles = _Cycles(target)
        yield Row(group, f"arm and disarm {what}", budget, cycles.both)
        yield Row(group, f"arm {what}", Budget(Of.VALUE), cycles.arming)
        yield Row(group, f"disarm {what}", Budget(Of.VALUE), cycles.disarming)
    yield Row(
        group,
        "arm and disarm the glob, garbage collector on",
        GLOB,
        _Cycles("bench.*", keep=_apart).both,
    )
    globs = _Globs()
    group = f"{_GLOBS:,} globs over {_POINTS:,} points"
    for change in _Globs.CHANGES:
        yield Row(group, change, CHANGE, partial(globs.taken, change))
    for rules in (1_000, 10_000):
        yield Row(
            "a plan in YAML, read and armed",
            f"each of {rules:,} rules, against each of {_FEW_RULES}",
            Budget(Of.RATIO),
            partial(_plans, rules),
            slow=rules == 10_000,
        )


def _memory(effort: Effort) -> Sequence[Part]:
    triples = []
    for _ in range(effort.few(3, 9)):
        without, with_points, again = _bytes(False), _bytes(True), _bytes(False)
        triples.append((with_points - without, without, again))
    ours, base, control = zip(*triples, strict=True)
    return (Part(ours, base, control),)


def _bytes(points: bool) -> float:
    """Return the bytes of a function, or of a function and a point with its name."""
    registry = chaospoint.Registry()
    kept: list[object] = [None] * _MEASURED_POINTS
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for nth in range(_MEASURED_POINTS):
            it = _function()
            kept[nth] = registry.point(f"bench.p{nth}")(it) if points else it
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / _MEASURED_POINTS


def _function() -> Callable[[], int]:
    def it() -> int:
        return 7

    return it


def _method(point: chaospoint.Point) -> Callable[[], int]:
    class Home:
        @point
        def method(self) -> int:
            return 7

    return Home().method


def _placed(registry: chaospoint.Registry, count: int) -> list[Callable[[], int]]:
    """Return functions and methods alternately, each with a point of its own."""
    points = [registry.point(f"bench.p{nth}") for nth in range(count)]
    return [_method(p) if number % 2 else p(_function()) for number, p in enumerate(points)]


@contextmanager
def _apart() -> Iterator[None]:
    """Leave the garbage collector on, but hide from it the objects of other rows."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _Cycles:
    """Arms and disarms; has the times of both, together and separately."""

    def __init__(
        self, target: str, keep: Callable[[], AbstractContextManager[None]] = quiet
    ) -> None:
        self._target = target
        self._keep = keep
        self._taken: list[tuple[int, int]] = []

    def both(self, effort: Effort) -> Sequence[Part]:
        """Measure, and return arming and disarming together."""
        rounds = effort.few(4, 15) if "*" in self._target else effort.few(100, 1_000)
        with self._keep():
            registry = chaospoint.Registry()
            placed = _placed(registry, _POINTS)
            cycle = partial(_cycle, self._target, placed[_POINTS // 2], registry)
            cycle()  # the first cycle imports the modules that arming needs
            self._taken = [cycle() for _ in range(2 * rounds)]
        return _halves([arming + disarming for arming, disarming in self._taken])

    def arming(self, effort: Effort) -> Sequence[Part]:
        """Return the times of arming from the last measurement."""
        if not self._taken:
            self.both(effort)
        return _halves([arming for arming, _ in self._taken])

    def disarming(self, effort: Effort) -> Sequence[Part]:
        """Return the times of disarming from the last measurement."""
        if not self._taken:
            self.both(effort)
        return _halves([disarming for _, disarming in self._taken])


def _cycle(target: str, call: Callable[[], int], registry: chaospoint.Registry) -> tuple[int, int]:
    began = perf_counter_ns()
    handle = chaospoint.arm(target, exception=TimeoutError, registry=registry)
    armed = perf_counter_ns()
    try:
        call()
    except TimeoutError:
        pass
    before = perf_counter_ns()
    handle.disarm()
    after = perf_counter_ns()
    if handle.injections != 1:
        raise RuntimeError(f"the rule at {target} did not fire")
    return armed - began, after - before


class _Globs:
    """Changes rules of many globs, about 55 of them at each point."""

    CHANGES = ("arm", "arm `*`, too", "disable", "enable", "read one rule more", "disarm all")

    def __init__(self) -> None:
        self._taken: dict[str, list[float]] = {}

    def taken(self, change: str, effort: Effort) -> Sequence[Part]:
        """Return the times of a change; each measurement serves each change once."""
        if change not in self._taken:
            self._measure(effort.few(2, 6))
        return _halves(self._taken.pop(change))

    def _measure(self, rounds: int) -> None:
        registry = chaospoint.Registry()
        placed = [registry.point(f"s{n % 100}.p{n}")(_function()) for n in range(_POINTS)]
        some = [f"s{n % 100}.*" if n < _GLOBS // 2 else f"s*.p{n % 10}*" for n in range(_GLOBS)]
        rules = [f"{glob}=1%latency(1ms)" for glob in some]
        plan, longer = (
            Plan(rules=[Rule.parse(rule) for rule in each], seed=7)
            for each in (rules, [*rules, "s1.p*=latency(0s)"])
        )
        read = partial(_read, registry)
        wide = partial(chaospoint.arm, "*", latency=0, probability=0.1, registry=registry)
        changes: tuple[Callable[[], object], ...] = (
            partial(read, plan),
            wide,
            partial(chaospoint.disable, registry=registry),
            partial(chaospoint.enable, registry=registry),
            partial(read, longer),
            partial(chaospoint.disarm, registry=registry),
        )
        self._taken = {change: [] for change in self.CHANGES}
        with quiet():
            for _ in range(max(2, rounds)):
                for kept, change in zip(self._taken.values(), changes, strict=True):
                    began = perf_counter_ns()
                    change()
                    kept.append(perf_counter_ns() - began)
        if placed[0]() != 7 or registry.rules():
            raise RuntimeError("a rule is still armed")


def _read(registry: chaospoint.Registry, plan: Plan) -> None:
    install_plan(plan, origin=Origin("file"), registry=registry, replace=True)


def _plans(rules: int, effort: Effort) -> Sequence[Part]:
    taken: tuple[list[float], ...] = ([], [], [])
    with TemporaryDirectory() as folder:
        many = _plan(Path(folder) / "many.yaml", rules)
        # Repeated so that they take as long, because a longer run is interrupted more often.
        few, again = (
            partial(_mean, _plan(Path(folder) / name, _FEW_RULES), rules // _FEW_RULES)
            for name in ("few.yaml", "again.yaml")
        )
        runs: tuple[Callable[[], float], ...] = (many, few, again)
        turns = list(zip(taken, runs, strict=True))
        with quiet():
            for nth in range(min(20, max(4, effort.few(4_000, 40_000) // rules))):
                for kept, read_and_arm in reversed(turns) if nth % 2 else turns:
                    kept.append(read_and_arm())
    ours, base, control = map(tuple, taken)
    return (Part(ours, base, control),)


def _mean(measure: Callable[[], float], times: int) -> float:
    return fmean(measure() for _ in range(times))


def _plan(file: Path, rules: int) -> Callable[[], float]:
    """Write a plan; return a function that reads and arms it and returns nanoseconds per rule."""
    registry = chaospoint.Registry()
    placed = _placed(registry, rules)
    rule = "  - {{point: bench.p{}, exception: TimeoutError, probability: 0.1}}\n"
    text = "seed: 7\nrules:\n" + "".join(rule.format(nth) for nth in range(rules))
    file.write_text(text, encoding="utf-8")

    def read_and_arm() -> float:
        began = perf_counter_ns()
        handle = chaospoint.arm(load_plan(file), registry=registry)
        taken = perf_counter_ns() - began
        handle.disarm()
        if len(handle.rules) != len(placed):
            raise RuntimeError(f"{len(handle.rules)} rules were armed")
        return taken / rules

    return read_and_arm


def _halves(taken: Sequence[float]) -> Sequence[Part]:
    """Return one part: ours is all times, base and control are every other time."""
    return (Part(tuple(taken), tuple(taken[0::2]), tuple(taken[1::2])),)
