"""One call at a point in every placement there is, and the story of what happened in it."""

from __future__ import annotations

import asyncio
import inspect
import json
from asyncio import Future
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from threading import Event
from typing import Any

from chaospoint import Point, Registry
from chaospoint.testing import FakeClock

WORK = "."
NOTHING = "-"
_DONE = ["done"]

_story: ContextVar[Story | None] = ContextVar("_story", default=None)


class Story:
    """What happened in one call, in order: the time that passed, the work that was done, the end.

    ``how``: ``that fails``, its work raises a `LookupError`; ``never run``, what it returns is
    thrown away; ``closed early``, of a stream only the first item is asked for. ``looped``: it
    needs an event loop. ``patient``: it waits until the clock is advanced; for others time flies.
    """

    def __init__(
        self, clock: FlyingClock, how: str | None = None, *, looped: bool, patient: bool = False
    ) -> None:
        self.how = how
        self.looped = looped
        self.patient = patient
        self.looks = 0
        self._clock = clock
        self._told_until = clock.now
        self._parts: list[str] = []

    def tell(self, part: str | None = None) -> None:
        """Note ``part``, and before it the time that passed since the last one."""
        now = self._clock.now
        if now > self._told_until:
            self._parts.append(_shown(now - self._told_until))
        self._told_until = now
        if part is not None:
            self._parts.append(part)

    def __str__(self) -> str:
        return "+".join(self._parts) or NOTHING


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:.4g}ms" if seconds < 1 else f"{seconds:.6g}s"


class FlyingClock(FakeClock):
    """Passes by itself for whoever would wait on it in a call, unless the call is a patient one.

    It passes for those, too, who do nothing but look at it.
    """

    @property
    def now(self) -> float:
        """The time, without looking at the clock."""
        return super().monotonic()

    def monotonic(self) -> float:
        story = _story.get()
        if story is not None and not story.patient:
            story.looks += 1
            if story.looks > 16:
                self.advance(1 / 128)
        return self.now

    def wait(self, woken: Event, seconds: float | None) -> None:
        if not self._flies(seconds):
            super().wait(woken, seconds)

    async def await_(self, woken: Future[None], seconds: float | None) -> None:
        if not self._flies(seconds):
            await super().await_(woken, seconds)

    def _flies(self, seconds: float | None) -> bool:
        story = _story.get()
        if story is None or story.patient:
            return False
        assert seconds is not None, "a call that may wait for ever is to `begin`"
        story.looks = 0
        self.advance(seconds)
        return True


# -- placements ---------------------------------------------------------------------------


def _work() -> list[str]:
    """Do what the call is for, and return its items."""
    story = _story.get()
    assert story is not None
    story.tell(WORK)
    if story.how == "that fails":
        raise LookupError
    return _DONE


@dataclass(frozen=True)
class Place:
    """Where a point is put, and the labels that it has there."""

    registry: Registry
    name: str
    labels: Mapping[str, object]

    def point(self, **labels: object) -> Point:
        return self.registry.point(self.name, labels={**self.labels, **labels})


def _function(place: Place) -> Callable[..., Any]:
    @place.point()
    def function(tenant: object = "nobody", amount: object = 1) -> list[str]:
        return _work()

    return function


def _coroutine(place: Place) -> Callable[..., Any]:
    @place.point()
    async def coroutine(tenant: object = "nobody", amount: object = 1) -> list[str]:
        return _work()

    return coroutine


def _generator(place: Place) -> Callable[..., Any]:
    @place.point()
    def generator(tenant: object = "nobody", amount: object = 1) -> Iterator[str]:
        yield from _work()

    return generator


def _async_generator(place: Place) -> Callable[..., Any]:
    @place.point()
    async def async_generator(tenant: object = "nobody", amount: object = 1) -> AsyncIterator[str]:
        for item in _work():
            yield item

    return async_generator


def _block(place: Place) -> Callable[..., Any]:
    def block(**labels: object) -> list[str]:
        with place.point(**labels):
            return _work()

    return block


def _async_block(place: Place) -> Callable[..., Any]:
    async def block(**labels: object) -> list[str]:
        async with place.point(**labels):
            return _work()

    return block


def _statement(place: Place) -> Callable[..., Any]:
    def statement(**labels: object) -> list[str]:
        place.point().hit(**labels)
        return _work()

    return statement


def _async_statement(place: Place) -> Callable[..., Any]:
    async def statement(**labels: object) -> list[str]:
        await place.point().ahit(**labels)
        return _work()

    return statement


PLACEMENTS: Mapping[str, Callable[[Place], Callable[..., Any]]] = {
    "function": _function,
    "coroutine": _coroutine,
    "generator": _generator,
    "async generator": _async_generator,
    "block": _block,
    "async block": _async_block,
    "statement": _statement,
    "async statement": _async_statement,
}
"""What makes a placement of each kind, with the names of its arguments or labels."""


# -- making a call ------------------------------------------------------------------------


def told(call: Callable[[], Any], story: Story, place: str | None = None) -> str:
    """Make the call, and return its story.

    ``place``: where to; in copies of this context or, in a plain thread, outside it.
    """

    async def in_a_task() -> str:
        return await asyncio.create_task(_tell(call, story))

    match place:
        case "a task":
            return asyncio.run(in_a_task())
        case "to_thread":
            return asyncio.run(asyncio.to_thread(told, call, story))
        case "a copied context":
            return copy_context().run(told, call, story)
        case "a plain thread":
            with ThreadPoolExecutor() as pool:
                return pool.submit(told, call, story).result()
    if story.looped:
        return asyncio.run(_tell(call, story))
    try:
        _tell(call, story).send(None)
    except StopIteration as end:
        return str(end.value)
    raise AssertionError("a call without an event loop waits for one")


async def _tell(call: Callable[[], Any], story: Story) -> str:
    before = _story.set(story)
    try:
        answer = await _answer(call(), story.how)
    except Exception as error:
        story.tell("x" if type(error) is OSError else type(error).__name__)
    else:
        given = json.dumps(answer, separators=(",", ":"))
        story.tell(None if answer == _DONE else f"={given}")
    finally:
        _story.reset(before)
    return str(story)


async def _answer(made: Any, how: str | None) -> object:
    """Run what a call returned to its end."""
    if how == "never run":
        if not inspect.isasyncgen(made):
            made.close()
        return _DONE
    if inspect.iscoroutine(made):
        return await made
    if inspect.isgenerator(made):
        with closing(made):
            return [next(made)] if how == "closed early" else list(made)
    if inspect.isasyncgen(made):
        async with aclosing(made):
            return [await anext(made)] if how == "closed early" else [item async for item in made]
    return made
