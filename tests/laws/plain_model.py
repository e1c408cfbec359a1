"""What a rule means, written down as plainly as can be: lists, loops and no cleverness.

`test_model` compares the registry with this after every step of many histories.  It knows nothing
of epochs, tallies, patched functions or threads.  One thing it takes from the library: which
ordinals fire where chance decides (`decide`, which has a plain computation of its own beside it
in the tests of the kernel).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from functools import cache
from itertools import takewhile
from typing import Any

from chaospoint._kernel.chance import Schedule, decide

MANY = 1_000
"""More reaches, and more seconds, than any history has."""

SOURCES = ("code", "http", "env", "file")
"""In the order in which they are tried."""

RETURNING = ("function", "coroutine", "never run")
"""The kinds of placements that have a value to return: a block or a statement has none."""


class Refused(Exception):
    """Nothing was done; says which error tells so."""


@dataclass(frozen=True)
class Line:
    """One rule as somebody writes it.

    ``faults`` are pairs such as ``("latency", 2)`` and ``("exception", "KeyError")``, latency
    before outcome.
    """

    point: str
    faults: tuple[tuple[str, object], ...]
    skip: int = 0
    every: int = 1
    times: int | None = None
    probability: float = 1.0
    seed: int | None = None
    expires_after: int | None = None

    def __repr__(self) -> str:
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        said = (f"{f.name}={named[f.name]!r}" for f in fields(self) if named[f.name] != f.default)
        return f"Line({', '.join(said)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # hypothesis shows this
        printer.text(repr(self))


@dataclass(eq=False)
class PlainRule:
    """A rule that was armed, what was counted of it, and how it ended if it did."""

    line: Line
    source: str
    plan_seed: int | None
    deadline: int | None
    reaches: int = 0
    firings: int = 0
    injections: int = 0
    interrupted: int = 0
    shadowed: int = 0
    ended: str | None = None
    taken_out: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        if self.ended is not None:
            return self.ended
        return "spent" if self.firings == self.line.times else "armed"

    @property
    def identity(self) -> tuple[object, ...]:
        """The source, the effective seed and the text; among equals the place decides."""
        return self.source, self.line.seed or self.plan_seed, self.line

    def acts_at(self, point: str) -> bool:
        taken_out = any(matches(pattern, point) for pattern in self.taken_out)
        return matches(self.line.point, point) and not taken_out

    def fires(self) -> bool:
        """Say whether the reach that was counted last fires: skip, every, probability, times."""
        line, ordinal = self.line, self.reaches
        if ordinal <= line.skip:
            return False
        if (ordinal - line.skip) % line.every != 0:
            return False
        if line.probability < 1.0 and ordinal not in _drawn(line):
            return False
        return line.times is None or self.firings < line.times


@cache
def _drawn(line: Line) -> set[int]:
    assert line.seed is not None
    endless = Schedule(line.seed, line.skip, line.every, line.probability)
    return set(takewhile(lambda ordinal: ordinal <= MANY, decide(endless)))


def matches(pattern: str, text: str) -> bool:
    return fnmatchcase(text, pattern)


class PlainRegistry:
    """Points, rules, a clock and the master switch."""

    def __init__(self) -> None:
        self.now = 0
        self.enabled = True
        self.placements: dict[str, set[str]] = {}
        self.rules: dict[str, list[PlainRule]] = {source: [] for source in SOURCES}
        self.handles: list[list[PlainRule]] = []
        self.told: list[tuple[object, ...]] = []

    def armed(self) -> list[PlainRule]:
        """Sources in order; each list of rules is in the order in which they are tried."""
        rules = [rule for source in SOURCES for rule in self.rules[source]]
        return [rule for rule in rules if rule.ended is None]

    def armed_at(self, point: str) -> list[PlainRule]:
        return [rule for rule in self.armed() if rule.acts_at(point)]

    def ended(self) -> list[PlainRule]:
        """Rules of environment and file that ended, and stay so until their text changes."""
        rules = self.rules["env"] + self.rules["file"]
        return [rule for rule in rules if rule.ended is not None]

    # -- arming -------------------------------------------------------------------------------

    def arm(self, lines: Sequence[Line]) -> None:
        """Arming again adds, newest first; within a plan, plan order."""
        self._permit()
        rules = self._new(lines, "code")
        self._check(rules)
        self.rules["code"] = rules + self.rules["code"]
        self.handles.append(rules)

    def put(self, name: str, lines: Sequence[Line]) -> None:
        """Replaces the rules that were put on exactly that name; tally and deadline are new."""
        self._permit()
        rules = self._new(lines, "http")
        self._check(rules)
        _end((old for old in self.rules["http"] if old.line.point == name), "replaced")
        self.rules["http"] = rules + self.rules["http"]
        self.handles.append(rules)

    def reload(self, source: str, lines: Sequence[Line], seed: int | None) -> None:
        """What did not change goes on as it stood, or stays ended; while disabled, remember."""
        before = list(self.rules[source])
        plan, fresh = [], []
        for rule in self._new(lines, source, seed):
            same = [old for old in before if old.identity == rule.identity]
            if same:
                before.remove(same[0])
                plan.append(same[0])
            else:
                plan.append(rule)
                fresh.append(rule)
        self._check(fresh)
        _end(before, "replaced")
        if not self.enabled:
            _end(fresh, "disabled")
        self.rules[source] = plan
        self.handles.append(plan)

    def _permit(self) -> None:
        if not self.enabled:
            raise Refused("NotPermitted")

    def _new(self, lines: Iterable[Line], source: str, seed: int | None = None) -> list[PlainRule]:
        rules = []
        for line in lines:
            lasts = line.expires_after
            rules.append(PlainRule(line, source, seed, None if lasts is None else self.now + lasts))
        return rules

    def _check(self, rules: Iterable[PlainRule]) -> None:
        """A fault that no placement of the points can express is refused."""
        for rule in rules:
            if "returns" not in dict(rule.line.faults):
                continue
            there = [kinds for name, kinds in self.placements.items() if rule.acts_at(name)]
            if there and not any(kind in RETURNING for kinds in there for kind in kinds):
                raise Refused("UnsupportedFault")

    # -- disarming ----------------------------------------------------------------------------

    def release(self, nth: int) -> None:
        """A handle disarms its own rules."""
        if self.handles:
            _end(self.handles[nth % len(self.handles)], "disarmed")

    def disarm(self, pattern: str) -> int:
        """Whole, where the rule's own text matches; else the points that match are taken out.

        Also of what env, file and store hold while disabled: it does not come back.
        """
        touched = 0
        held = [one for rules in self.rules.values() for one in rules if one.ended == "disabled"]
        for rule in [*self.armed(), *(one for one in held if one.source != "code")]:
            if matches(pattern, rule.line.point):
                rule.ended = "disarmed"
                touched += 1
            else:
                touched += any(
                    rule.acts_at(name) and matches(pattern, name) for name in self.placements
                )
                rule.taken_out.append(pattern)
        return touched

    def advance(self, seconds: int) -> None:
        """A rule whose time has come disarms itself."""
        self.now += seconds
        self._expire()

    def _expire(self) -> None:
        for rule in self.armed():
            if rule.deadline is not None and rule.deadline <= self.now:
                rule.ended = "expired"

    # -- the master switch --------------------------------------------------------------------

    def disable(self) -> None:
        """Disarms everything, and refuses to arm until enabled."""
        self.enabled = False
        _end(self.armed(), "disabled")

    def enable(self) -> None:
        """All but code's rules come back as they stood, and deadlines went on meanwhile."""
        self.enabled = True
        for source in ("http", "env", "file"):
            self.rules[source] = [
                _again(rule) if rule.ended == "disabled" else rule for rule in self.rules[source]
            ]
        self._expire()

    # -- reaching -----------------------------------------------------------------------------

    def reach(self, point: str, kind: str, times: int) -> list[str]:
        """Call so often; the point, or this placement of it, may be new."""
        self.placements.setdefault(point, set()).add(kind)
        return [self._reach(point, kind) for _ in range(times)]

    def _reach(self, point: str, kind: str) -> str:
        """Try the rules in order; the first that fires acts, alone."""
        rules = [rule for rule in self.armed_at(point) if _left(rule, kind)]
        for nth, rule in enumerate(rules):
            rule.reaches += 1
            if rule.fires():
                rule.firings += 1
                for other in rules[nth + 1 :]:
                    other.shadowed += 1
                # A coroutine that is never run was reached when it was called, and no more.
                return "passed" if kind == "never run" else self._act(rule, point, kind)
        return "passed"

    def _act(self, rule: PlainRule, point: str, kind: str) -> str:
        faults = [fault for fault in _left(rule, kind) if fault[0] != "off"]
        if not faults:
            return "passed"
        rule.injections += 1
        label = "+".join("return" if name == "returns" else name for name, _ in faults)
        self.told.append((point, label, rule.reaches, rule.source))
        for name, value in faults:
            if name == "exception":
                return f"raised {value}"
            if name == "returns":
                return f"returned {value}"
            for _ in range(MANY if value is None else value):
                self.advance(1)
                if rule.ended is not None:  # woken early: the rest is dropped
                    rule.interrupted += 1
                    return "passed"
            if name == "hang":
                return "raised TimeoutError"
        return "passed"


def _left(rule: PlainRule, kind: str) -> list[tuple[str, object]]:
    """Return the faults that this kind of placement can express."""
    return [(name, v) for name, v in rule.line.faults if name != "returns" or kind in RETURNING]


def _end(rules: Iterable[PlainRule], how: str) -> None:
    for rule in rules:
        if rule.ended is None:
            rule.ended = how


def _again(rule: PlainRule) -> PlainRule:
    again = copy(rule)
    again.ended = None
    again.taken_out = list(rule.taken_out)
    return again
