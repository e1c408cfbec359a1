"""Stormers: threads and tasks that arm and disarm rules, with every key and in every way."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from chaospoint import Injection, Plan, Rule, arm, armed
from chaospoint.arming import Origin, install_plan
from chaospoint.control.changes import Changes
from chaospoint.errors import NotPermitted, UnsupportedFault
from chaospoint.plan import parse_plan
from chaospoint.plan.compiling import unseeded
from soak.callers import Asked, Caller, Storm, number_of
from soak.placements import MAKERS, Placement

__all__ = ["FAULTS", "Stormer"]


def called(injection: Injection) -> None:
    """Do nothing; rules call this."""
    assert injection.fault


async def acalled(injection: Injection) -> None:
    """Do nothing; rules await this."""
    called(injection)


def _say(mark: str, *kinds: dict[str, Any]) -> dict[str, Any]:
    """Return faults that cannot carry a mark, after one that can."""
    return {"faults": [{"kind": "print", "message": mark}, *kinds]}


def _boom(mark: str, kind: str = "helpers.Boom", **more: object) -> dict[str, Any]:
    return {"type": kind, "args": [mark], **more}


FAULTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "exception": lambda mark: {"exception": _boom(mark)},
    "list": lambda mark: {"exception": [_boom(mark), _boom(mark, "TimeoutError", weight=3)]},
    "returns": lambda mark: {"returns": [mark]},
    "rate": lambda mark: {"latency": 0.0003, "exception": _boom(mark), "failure_rate": 0.5},
    "rest": lambda mark: {"exception": _boom(mark), "failure_rate": 0.5, "returns": [mark]},
    "text": lambda mark: {"rule": f'latency(0)+panic("{mark}")'},
    "latency": lambda mark: {"latency": 0},
    "uniform": lambda mark: {"latency": {"seconds": 0.0005, "jitter": 0.0005}},
    "normal": lambda mark: {
        "latency": {"seconds": 0.0003, "jitter": 0.0003, "distribution": "normal"},
        "returns": [mark],
    },
    "lognormal": lambda mark: _say(
        mark,
        {"kind": "latency", "seconds": 0.0003, "jitter": 0.0003, "distribution": "lognormal"},
    ),
    "hang": lambda mark: {"hang": True},
    "hang for": lambda mark: _say(mark, {"kind": "hang", "seconds": 0.001}),
    "pause": lambda mark: {"faults": [{"kind": "pause"}, {"kind": "return", "value": [mark]}]},
    "yield": lambda mark: {
        "faults": [{"kind": "yield"}, {"kind": "exception", "exception": _boom(mark)}]
    },
    "delay": lambda mark: _say(mark, {"kind": "delay", "seconds": 0.0001}),
    "off": lambda mark: {"faults": [{"kind": "off"}]},
    "call": lambda mark: _say(mark, {"kind": "call", "call": called}),
    "async call": lambda mark: _say(mark, {"kind": "call", "call": acalled}),
}
ENDLESS, CODE_ONLY = ("hang", "pause"), ("call", "async call")
TENANTS: tuple[tuple[object, frozenset[str]], ...] = (
    ("acme", frozenset({"acme"})),
    (["zeta", 3], frozenset({"zeta"})),
    ("*e*", frozenset({"acme", "zeta"})),
)
PATTERNS = (*(f"race.{kind.replace('_', '-')}" for kind in MAKERS), *("race.*", "race.tenant") * 4)
PATTERNS = (*PATTERNS, "outer.*", "*-method", "*wrapped*", "*")


class _Deck:
    """Draws items in a random order, and starts again after all were drawn."""

    __slots__ = ("_cards", "_chance", "_left")

    def __init__(self, chance: random.Random, cards: Sequence[Any]) -> None:
        self._chance = chance
        self._cards = cards
        self._left: list[Any] = []

    def draw(self) -> Any:
        if not self._left:
            self._left = self._chance.sample(self._cards, len(self._cards))
        return self._left.pop()


class Stormer:
    """Arms and disarms rules, and makes calls in between."""

    __slots__ = (
        "_any_fault",
        "_chance",
        "_held",
        "_placements",
        "_quick_fault",
        "_storm",
        "_told_fault",
        "asked",
        "caller",
        "done",
        "wrong",
    )

    def __init__(self, storm: Storm, placements: list[Placement], seed: str) -> None:
        self._storm = storm
        self._placements = placements
        self._chance = random.Random(seed)
        self._held: deque[Any] = deque()
        self._any_fault = _Deck(self._chance, list(FAULTS))
        self._quick_fault = _Deck(self._chance, [one for one in FAULTS if one not in ENDLESS])
        self._told_fault = _Deck(self._chance, [one for one in FAULTS if one not in CODE_ONLY])
        self.caller = Caller(storm, placements, f"{seed}/c")
        self.done: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.wrong: list[str] = []

    def go_on(self, until: float, *, calm_down: bool = True) -> None:
        deeds = _Deck(
            self._chance,
            (
                *(self._arm,) * 6,
                *(self._disarm,) * 2,
                *(self._install,) * 3,
                *(self._let_go, self._wait, self._enter, self._put, self._switch, self._release),
                *(self._look, self._make_and_drop, self._within),
            ),
        )
        while time.monotonic() < until:
            with self._doing(deed := deeds.draw()):
                deed()
        if calm_down:
            self.calm_down()
        while self._held:
            self._let_go()

    async def ago_on(self, until: float) -> None:
        deeds = _Deck(self._chance, (self._await, self._aenter, self._awithin))
        while time.monotonic() < until:
            with self._doing(deed := deeds.draw()):
                await deed()
        self.calm_down()

    def calm_down(self) -> None:
        """Disarm; the last stormer to do so ends the storm."""
        self._storm.registry.disarm()

    @contextmanager
    def _doing(self, deed: Callable[[], Any]) -> Iterator[None]:
        try:
            yield
        except (NotPermitted, UnsupportedFault) as refused:
            self.done[type(refused).__name__] += 1
        except BaseException as error:
            self.wrong.append(f"{deed.__name__}: {error!r}")
        self.done[deed.__name__.strip("_")] += 1

    def _rule(self, *, code: bool = False, scoped: bool = False, fault: str = "") -> dict[str, Any]:
        """Return a new rule, and record it."""
        chance, number = self._chance, next(self._storm.numbers)
        fault = fault or (self._any_fault if code else self._told_fault).draw()
        tenants = None
        rule = {"point": chance.choice(PATTERNS), **FAULTS[fault](f"@{number}")}
        rule |= chance.choice(({}, {}, {"times": 3}, {"times": 300}))
        rule |= chance.choice(({}, {}, {"probability": 0.3}, {"skip": 5, "every": 3}))
        rule |= chance.choice(({}, {}, {"max_active": 1}, {"max_active": 2, "seed": 7}))
        if chance.random() < 0.2 or rule["point"] == "race.tenant":
            rule["where"], tenants = {"tenant": (wanted := chance.choice(TENANTS))[0]}, wanted[1]
        if chance.random() < 0.2:
            rule["when"] = "after"
        if scoped:
            rule["scope"] = "context"
        # A hang that is never disarmed would stop the caller for the rest of the storm.
        endless = fault in ENDLESS and not code
        lifetime = chance.choice((0.002, 0.02, 0.05) if endless else (None, None, 0.002, 0.02))
        if lifetime is not None:
            rule["expires_after"] = lifetime
        self._storm.asked[number] = Asked(rule["point"], tenants, scoped)
        self.asked.update([fault, *rule])
        return rule

    def _new(self, **more: Any) -> Any:
        rule = self._rule(code=True, **more)
        if "rule" in rule:
            return parse_plan([rule])
        return Plan(rules=[Rule(**rule)], seed=self._chance.choice((None, None, 7)))

    def _call(self, scope: int = 0) -> None:
        for _ in range(self._chance.randrange(4)):
            self.caller.call(self._chance.choice(self._placements), scope=scope)

    def _arm(self) -> None:
        self._held.append(arm(self._new(), registry=self._storm.registry))
        if len(self._held) > 3:
            self._let_go()

    def _let_go(self) -> None:
        if self._held:
            self._held.popleft().disarm()

    def _wait(self) -> None:
        handle = arm(self._new(), registry=self._storm.registry)
        try:
            handle.wait_for(injections=2, timeout=0.005)
        except TimeoutError:
            pass
        handle.disarm()

    def _enter(self) -> None:
        with armed(
            self._new(fault=self._quick_fault.draw()), registry=self._storm.registry
        ) as handle:
            self._rest()
        assert handle.injections <= handle.reaches

    def _rest(self) -> None:
        """Make a call, without own rules that would hold it for ever."""
        while self._held:
            self._let_go()
        self._call()

    def _disarm(self) -> None:
        self._storm.registry.disarm(self._chance.choice(PATTERNS))

    def _release(self) -> None:
        pattern = self._chance.choice(PATTERNS)
        with armed(self._new(fault="pause"), registry=self._storm.registry) as handle:
            try:
                handle.wait_until_paused(timeout=0.005)
            except TimeoutError:
                pass
            handle.release()
            self._storm.registry.release(pattern)

    def _install(self) -> None:
        """Reload env or file twice; the second time changes nothing."""
        chance = self._chance
        source: Any = chance.choice(("env", "file"))
        rules = [self._rule() for _ in range(chance.randrange(4))]
        plan = parse_plan(chance.choice((rules, {"seed": 7, "rules": rules})))
        registry = self._storm.registry
        with self._storm.loading:
            for _ in range(chance.randrange(1, 3)):
                install_plan(plan, origin=Origin(source), registry=registry, replace=True)
                texts = {rule.text for rule in registry.rules() if rule.source == source}
                assert texts <= set(map(unseeded, plan.rules))

    def _put(self) -> None:
        """Replace the rules on one name with a rule."""
        rule = self._rule()
        changes = Changes(self._storm.registry)
        for _ in changes.put(parse_plan([rule]), name=rule["point"], by="storm"):
            self._call()

    def _switch(self) -> None:
        self._storm.registry.disable()
        self._storm.registry.enable()

    def _look(self) -> None:
        registry = self._storm.registry
        for rule in registry.rules():
            counts = rule.injections, rule.reaches
            # A rule that was armed again counts its injections together with its successor.
            assert counts[0] <= counts[1] or rule.why is not None
            assert rule.state
            assert rule.next_ordinal != 0
        for point in registry.points():
            assert "deleted" not in repr((point, point.placements))
        assert str(self._chance.choice(registry.points()).explain())
        registry.flush()

    def _make_and_drop(self) -> None:
        self._rest()
        point = self._storm.registry.point(f"race.made-{self._chance.randrange(5)}")
        for kind in ("function", "closure", "wrapped"):
            self.caller.call(Placement(f"made {kind}", (point.name,), MAKERS[kind](point)))

    def _within(self) -> None:
        """Arm in a new context; the rule acts only there."""
        self._rest()
        copy_context().run(self._scoped)

    def _scoped(self) -> None:
        plan = self._new(scoped=True, fault="returns")
        with armed(plan, registry=self._storm.registry):
            self._call(number_of(str(plan)))

    async def _await(self) -> None:
        handle = arm(self._new(), registry=self._storm.registry)
        try:
            await handle.await_for(injections=2, timeout=0.005)
        except TimeoutError:
            pass
        handle.disarm()

    async def _aenter(self) -> None:
        plan = self._new(fault=self._quick_fault.draw())
        with armed(plan, registry=self._storm.registry):
            await self._acall(0)

    async def _awithin(self) -> None:
        """Arm in a task; the rule acts in that task and in its tasks and threads."""
        await asyncio.create_task(self._ascoped())

    async def _ascoped(self) -> None:
        plan = self._new(scoped=True, fault="returns")
        scope = number_of(str(plan))
        with armed(plan, registry=self._storm.registry):
            await self._acall(scope)
            await asyncio.create_task(self._acall(scope))
            placement = self._chance.choice(self._placements)
            await asyncio.to_thread(self.caller.call, placement, scope=scope)

    async def _acall(self, scope: int) -> None:
        awaited = [one for one in self._placements if one.awaited]
        for _ in range(self._chance.randrange(1, 4)):
            await self.caller.acall(self._chance.choice(awaited), scope=scope)
