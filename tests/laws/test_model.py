"""The registry against a plain model of what rules mean, over thousands of random histories."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import count, product
from typing import Any

import pytest
from helpers import Standing, Witness, finish, place, some_or_all, tick
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_model import MANY, Line, PlainRegistry, PlainRule, Refused

from chaospoint import Plan, Registry, Rule
from chaospoint._kernel.bell import Bell, TaskBell
from chaospoint.errors import ChaosError
from chaospoint.faults import Off
from chaospoint.plan.compiling import compile_plan, unseeded
from chaospoint.testing import FakeClock

POINTS = ("pay.a", "pay.b", "ship.a")
PATTERNS = (*POINTS, "pay.*", "*.a", "*")
KINDS = (*["function"] * 4, "coroutine", "never run", "block", "statement", "async_statement")

READ_AGAIN = ("env", "file")
"""Rules of these come back as others when enabled, so their handles are not compared."""

WORTH_SEEING = {
    *("passed", "raised KeyError", "raised TimeoutError", "returned one"),
    *("NotPermitted", "UnsupportedFault"),
    *("armed", "spent", "expired", "disarmed", "disabled", "replaced"),
}
"""What the histories have to come by, or they would prove little."""

Step = tuple[Any, ...]
"""The name of a method that both sides have, and what it is given."""


# -- the library, as the plain model is asked ---------------------------------------------------


class Clock(FakeClock):
    """Time passes while a call sleeps: second by second, and in each the keeper has a look."""

    def __init__(self) -> None:
        super().__init__()
        self.look: Callable[[], None] = lambda: None

    def _pass(self, done: Callable[[], bool], seconds: float | None) -> Iterator[None]:
        for second in count():
            if done() or second == seconds:
                return
            assert second < MANY, "nobody wakes the sleeper"
            self.advance(1)
            self.look()
            yield

    def wait(self, woken: Bell, seconds: float | None) -> None:
        for _ in self._pass(woken.is_set, seconds):
            pass

    async def await_(self, woken: TaskBell, seconds: float | None) -> None:
        for _ in self._pass(woken.is_set, seconds):
            await tick()


class RealRegistry:
    """A registry of its own, without a thread: what the keeper does is done when time passes."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.registry = Registry(clock=self.clock)
        self.registry.engine.housekeeper.stop()
        self.clock.look = self.registry.engine.expire
        self.witness = Witness()
        self.registry.add_observer(self.witness)
        self.standing = Standing(self.registry)
        self.handles: list[Any] = []
        self.calls: dict[tuple[str, str], Callable[[], Any]] = {}

    def arm(self, lines: Sequence[Line]) -> None:
        terms = compile_plan(_plan(lines), trust="code")
        self.handles.append(self.registry.install(terms, source="code"))

    def put(self, name: str, lines: Sequence[Line]) -> None:
        terms = compile_plan(_plan(lines), trust="loaded")
        self.handles.append(self.standing.put(terms, name))

    def reload(self, source: Any, lines: Sequence[Line], seed: int | None) -> None:
        terms = compile_plan(_plan(lines, seed), trust="deferred")
        self.handles.append(self.registry.replace(terms, source=source))

    def release(self, nth: int) -> None:
        if self.handles:
            self.handles[nth % len(self.handles)].disarm()

    def disarm(self, pattern: str) -> int:
        return self.registry.disarm(pattern)

    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.registry.engine.expire()

    def disable(self) -> None:
        self.registry.disable()

    def enable(self) -> None:
        self.registry.enable()

    def reach(self, point: str, kind: str, times: int) -> list[str]:
        return [self._reach(point, kind) for _ in range(times)]

    def _reach(self, point: str, kind: str) -> str:
        placed = "coroutine" if kind == "never run" else kind
        if (point, placed) not in self.calls:
            self.calls[point, placed] = place(self.registry.point(point), placed)
        made = None
        try:
            made = self.calls[point, placed]()
            if kind == "never run":
                made.close()
                return "passed"
            value = finish(made)
        except Exception as error:
            return f"raised {type(error).__name__}"
        return "passed" if value == 7 else f"returned {value}"


def _plan(lines: Sequence[Line], seed: int | None = None) -> Plan:
    return Plan(seed=seed, rules=[_rule(line) for line in lines])


@cache
def _rule(line: Line) -> Rule:
    keys: dict[str, Any] = {**vars(line), **dict(line.faults)}
    del keys["faults"]
    if "off" in keys:
        del keys["off"]
        keys["faults"] = [Off()]
    if "hang" in keys:
        keys["hang"] = keys["hang"] or True
    return Rule(**keys)


@cache
def _text(line: Line) -> str:
    return unseeded(_rule(line))


# -- what both are asked after every step -------------------------------------------------------


def _do(side: Any, step: Step) -> object:
    name, *given = step
    try:
        return getattr(side, name)(*given)
    except Refused as refused:
        return str(refused)
    except ChaosError as error:
        return type(error).__name__


def _look_at_plain(plain: PlainRegistry) -> dict[str, object]:
    def row(rule: PlainRule) -> tuple[object, ...]:
        left = None if rule.ended or rule.deadline is None else rule.deadline - plain.now
        return (
            *(rule.source, _text(rule.line), rule.state, left),
            *(rule.reaches, rule.injections, rule.shadowed, rule.interrupted),
        )

    return {
        "time": plain.now,
        "enabled": plain.enabled,
        "armed": [row(rule) for rule in plain.armed()],
        "armed at": {name: [row(rule) for rule in plain.armed_at(name)] for name in POINTS},
        "ended": [row(rule) for rule in plain.ended()],
        "handles": [
            (
                sum(rule.reaches for rule in rules),
                sum(rule.injections for rule in rules),
                sum(rule.interrupted for rule in rules),
                [row(rule) for rule in rules],
            )
            for rules in plain.handles
            if not any(rule.source != "code" for rule in rules)
        ],
        "told": plain.told,
    }


def _look_at_real(real: RealRegistry) -> dict[str, object]:
    def row(rule: Any) -> tuple[object, ...]:
        left = None if rule.why else rule.seconds_left
        return (
            *(rule.source, rule.text, rule.state, left),
            *(rule.reaches, rule.injections, rule.shadowed, rule.interrupted),
        )

    registry = real.registry
    return {
        "time": real.clock.monotonic(),
        "enabled": registry.enabled,
        "armed": [row(rule) for rule in registry.rules()],
        "armed at": {name: [row(rule) for rule in registry.rules(name)] for name in POINTS},
        "ended": [row(rule) for rule in registry.engine.ended() if rule.source in READ_AGAIN],
        "handles": [
            (one.reaches, one.injections, one.interrupted, [row(rule) for rule in one.rules])
            for one in real.handles
            if not any(rule.source != "code" for rule in one.rules)
        ],
        "told": [(i.point, i.fault, i.ordinal, i.source) for i in real.witness.injections],
    }


# -- histories ----------------------------------------------------------------------------------

FAULTS = (
    (("exception", "KeyError"),),
    (("exception", "OSError"),),
    (("returns", "one"),),
    (("returns", "two"),),
    (("off", None),),
    (("latency", 1),),
    (("latency", 2), ("exception", "KeyError")),
    (("latency", 2), ("returns", "two")),
    (("hang", 2),),
    (("hang", None),),
)


@st.composite
def _lines(draw: st.DrawFn) -> Line:
    line = Line(
        point=draw(st.sampled_from(PATTERNS)),
        faults=draw(st.sampled_from(FAULTS)),
        skip=draw(st.sampled_from([0, 0, 0, 1, 2])),
        every=draw(st.sampled_from([1, 1, 1, 2, 3])),
        times=draw(st.sampled_from([None, 1, 2, 3])),
        probability=draw(st.sampled_from([1.0, 1.0, 0.5])),
        seed=draw(st.sampled_from([None, 7, 8])),
        expires_after=draw(st.sampled_from([None, None, 2, 6])),
    )
    if line.probability < 1:
        line = replace(line, seed=line.seed or 9)
    if line.faults == (("hang", None),):
        line = replace(line, expires_after=line.expires_after or 5)  # nobody else ends it
    return line


SIMPLE: dict[str, Sequence[Step]] = {
    "switch": [*[("enable",)] * 3, *[("disable",)] * 2],
    "disarm": [("disarm", pattern) for pattern in PATTERNS],
    "release": [("release", nth) for nth in range(5)],
    "advance": [("advance", seconds) for seconds in (1, 3, 5)],
    "reach": [("reach", *how) for how in product(POINTS, KINDS, (1, 2, 3))],
}
OFTEN = (
    *("switch", "disarm", "release", "advance"),  # the first does least: shrinking goes there
    *("switch", "arm", "put", "put"),
    *["reload"] * 3,
    *["reach"] * 9,
)


@st.composite
def _histories(draw: st.DrawFn) -> list[Step]:
    """A handful of rules, and steps with these rules only, so that equal ones meet."""
    line = st.sampled_from(draw(st.lists(_lines(), min_size=2, max_size=5)))
    arm = st.tuples(st.just("arm"), st.lists(line, min_size=1, max_size=3))
    put = st.builds(lambda line, n: ("put", line.point, [line] * n), line, st.integers(0, 2))
    reload = st.tuples(
        st.just("reload"),
        st.sampled_from(["file", "env"]),
        st.lists(line, max_size=4),
        st.sampled_from([None, None, 1]),
    )
    steps = {
        "arm": arm,
        "put": put,
        "reload": reload,
        **{name: st.sampled_from(s) for name, s in SIMPLE.items()},
    }
    step = st.sampled_from(OFTEN).flatmap(steps.__getitem__)
    return [draw(reload), draw(arm), *draw(st.lists(step, min_size=10, max_size=28))]


@pytest.mark.filterwarnings("ignore::chaospoint.errors.ChaosWarning")
@some_or_all("histories", 500, 2_500)
def test_the_registry_does_as_the_plain_model_does(
    histories: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, logger="chaospoint")
    steps: list[int] = []
    seen: set[object] = set()

    @settings(
        max_examples=histories,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(_histories())
    def compare(history: list[Step]) -> None:
        real, plain = RealRegistry(), PlainRegistry()
        for nth, step in enumerate(history, 1):
            did, due = _do(real, step), _do(plain, step)
            assert did == due, f"step {nth}: {step}"
            found, meant = _look_at_real(real), _look_at_plain(plain)
            for what in meant:
                assert found[what] == meant[what], f"{what} after step {nth}: {step}"
            seen.update(did if isinstance(did, list) else [did])
            seen.update(rule.state for rules in plain.handles for rule in rules)
        steps.append(len(history))

    compare()
    assert len(steps) >= histories
    assert sum(steps) >= 10 * histories
    assert seen >= WORTH_SEEING
