"""Callers that check every result against the armed rules and against the observers' records.

Every rule of a storm has a number and carries it as a mark, ``@17``, in its exception, its value or
its message. So every effect names its rule, and the caller checks whether that rule may act: at
this point, for this tenant, in this context, at this time, and as the last one reported.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import inf
from threading import Lock
from typing import Any

from helpers import afinish, finish, last, tick

from chaospoint import Injection, Registry, injection_of
from chaospoint._registry.notices import RuleDisarmed
from soak.placements import Placement

__all__ = ["Asked", "Caller", "Storm", "number_of"]

telling: ContextVar[list[Injection] | None] = ContextVar("telling", default=None)


def number_of(text: str) -> int:
    """Return the number in a mark, or 0 where there is none."""
    found = re.search(r"@(\d+)", text)
    return int(found[1]) if found else 0


@dataclass(slots=True)
class Asked:
    """The effects that one rule may have, and the time of its end."""

    pattern: str
    tenants: frozenset[str] | None
    scoped: bool
    ended: float = inf


@dataclass(frozen=True, slots=True)
class Storm:
    """A registry under load, the records about it, and its observer."""

    registry: Registry
    asked: dict[int, Asked] = field(default_factory=dict)
    notices: list[Any] = field(default_factory=list)
    strays: list[Injection] = field(default_factory=list)  # told outside of a call
    loading: Lock = field(default_factory=Lock)  # held by who loads a plan anew
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def observe(self, injection: Injection) -> None:
        told = telling.get()
        (self.strays if told is None else told).append(injection)

    def notice(self, notice: Any) -> None:
        self.notices.append(notice)
        # Rules of env and file may be armed again, and reported in another order.
        if isinstance(notice, RuleDisarmed) and notice.rule.source == "code":
            asked = self.asked.get(number_of(notice.rule.text))
            if asked is not None:
                asked.ended = time.monotonic()


@dataclass(frozen=True, slots=True)
class _Begun:
    """A current call."""

    placement: Placement
    scope: int
    at: float
    told: list[Injection]


class Caller:
    """Calls placements, and checks the results."""

    __slots__ = ("_chance", "_placements", "_runner", "_storm", "fired", "seen", "wrong")

    def __init__(self, storm: Storm, placements: list[Placement], seed: str) -> None:
        self._storm = storm
        self._placements = placements
        self._chance = random.Random(seed)
        self._runner: asyncio.Runner | None = None
        self.seen: Counter[str] = Counter()
        self.fired: list[tuple[int, int]] = []  # number and ordinal of what was told
        self.wrong: list[str] = []

    def go_on(self, until: float) -> None:
        with asyncio.Runner() as self._runner:
            while time.monotonic() < until:
                self.call(self._chance.choice(self._placements))

    async def ago_on(self, until: float) -> None:
        awaited = [one for one in self._placements if one.awaited]
        while time.monotonic() < until:
            way = self._chance.random()
            if way < 0.05:
                await asyncio.to_thread(self.call, self._chance.choice(self._placements))
            else:
                # If a call is cancelled before it runs, its injection is not counted.
                placement = self._chance.choice(awaited)
                await self.acall(placement, cancel=way > 0.95 and not placement.calm)

    def call(self, placement: Placement, *, scope: int = 0) -> None:
        begun = self._begin(placement, scope)
        try:
            self._judge(begun, self._finish(placement.call()))
        except BaseException as error:
            self._judge(begun, error)

    async def acall(self, placement: Placement, *, scope: int = 0, cancel: bool = False) -> None:
        begun = self._begin(placement, scope)
        try:
            if cancel:
                task = asyncio.ensure_future(_awaitable(placement.call()))
                for _ in range(self._chance.randrange(3)):
                    await tick()
                task.cancel()
                self._judge(begun, await task)
            else:
                self._judge(begun, await afinish(placement.call()))
        except BaseException as error:
            self._judge(begun, error, cancelled=cancel)

    def _finish(self, made: Any) -> Any:
        if self._runner is None:
            return finish(made)
        made = _awaitable(made)
        if inspect.iscoroutine(made):
            return self._runner.run(made, context=copy_context())
        return finish(made)

    def _begin(self, placement: Placement, scope: int) -> _Begun:
        told: list[Injection] = []
        telling.set(told)
        return _Begun(placement, scope, time.monotonic(), told)

    def _judge(self, begun: _Begun, result: object, *, cancelled: bool = False) -> None:
        placement, told = begun.placement, begun.told
        self.seen["calls"] += 1
        self.seen["calm"] += placement.calm
        for injection in told:
            number = number_of(injection.rule)
            self.fired.append((number, injection.ordinal))
            self.seen["injections"] += 1
            if problem := self._out_of_place(injection, number, begun):
                self.wrong.append(f"{placement.name}: {problem}: {injection}")
        if cancelled and isinstance(result, asyncio.CancelledError):
            self.seen["cancelled"] += 1
        elif not _due(result, told):
            self.wrong.append(f"{placement.name}: {result!r} after {told}")

    def _out_of_place(self, injection: Injection, number: int, begun: _Begun) -> str | None:
        if injection.point not in begun.placement.points:
            return "another point"
        if not number:
            return None
        asked = self._storm.asked.get(number)
        if asked is None:
            return "nobody asked for it"
        if not fnmatchcase(injection.point, asked.pattern):
            return f"asked for at {asked.pattern}"
        if asked.tenants is not None and begun.placement.tenant not in asked.tenants:
            return f"asked for tenants {asked.tenants}"
        if asked.scoped and begun.scope != number:
            return "asked for in another context"
        return "was disarmed before" if asked.ended < begun.at else None


def _awaitable(made: Any) -> Any:
    return last(made) if hasattr(made, "__aiter__") else made


def _due(result: object, told: list[Injection]) -> bool:
    """Whether this result follows from the reported injections.

    The last outcome that could not be interrupted decides; a later one may have been woken early.
    """
    allowed: list[Injection | None] = []
    for injection in reversed(told):
        if injection.exception is not None or "return" in injection.fault:
            allowed.append(injection)
        if injection.fault in ("exception", "return"):
            break
    else:
        allowed.append(None)
    if isinstance(result, BaseException):
        injected = injection_of(result)
        marks = number_of(str(result)), number_of(injected.rule if injected else "")
        alike = marks[0] in (0, marks[1]) and len(getattr(result, "__notes__", ())) == 1
        return alike and injected is not None and injected in allowed
    if result == 7:
        return None in allowed
    # A generator yields the items of a returned list one by one.
    number = number_of(str(result[0] if isinstance(result, list) and result else result))
    returned = {number_of(one.rule) for one in allowed if one and "return" in one.fault}
    return number != 0 and number in returned
