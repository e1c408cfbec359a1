"""Every way to place a point and to reach it, and the few tools that tests of them share."""

from __future__ import annotations

import asyncio
import functools
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from threading import Thread
from types import CodeType, FunctionType
from typing import Any

import pytest

import chaospoint
from chaospoint import Armed, Injection, Point, Registry
from chaospoint._kernel.compiled_rule import CompiledRule

PATIENCE = 30.0
"""Seconds after which a test gives up on what has to happen, also on a busy machine."""


def some_or_all(name: str, some: int, all_: int) -> pytest.MarkDecorator:
    """Run a test with some of its cases, which always run, and with all, which run in CI."""
    every = pytest.param(all_, marks=pytest.mark.ci)
    return pytest.mark.parametrize(name, [some, every], ids=["some", "all"])


def rest_in_ci(cases: Iterable[Any], *always: Any) -> list[Any]:
    """Return the cases as parameters, all but ``always`` marked to run in CI only."""
    return [
        pytest.param(
            *(one if isinstance(one, tuple) else (one,)),
            marks=() if one in always else pytest.mark.ci,
        )
        for one in cases
    ]


SOURCE = Path(chaospoint.__file__).parents[1]
"""The folder with the package under test: src/, or site-packages where the wheel is tested."""


class Boom(Exception):
    """What tests inject."""


class Standing:
    """What stands in a store, put there name by name as over HTTP; in force at once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._terms: list[CompiledRule] = []
        self._keys = count()

    def put(self, terms: Iterable[CompiledRule], name: str) -> Armed:
        """Put rules in place of those on exactly ``name``; raises as arming does."""
        fresh = [one._replace(key=str(next(self._keys))) for one in terms]
        self._registry.engine.dry_run(fresh, "http")
        self._terms = [*fresh, *(one for one in self._terms if one.pattern != name)]
        armed = self._registry.replace(self._terms, source="http")
        return Armed(self._registry.engine, armed.rules[: len(fresh)])


class Witness:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.injections: list[Injection] = []
        self.notices: list[Any] = []

    def observe(self, injection: Injection) -> None:
        self.injections.append(injection)

    def notice(self, notice: Any) -> None:
        self.notices.append(notice)

    def of(self, kind: type) -> list[Any]:
        """Return the notices of a kind."""
        return [notice for notice in self.notices if isinstance(notice, kind)]


class Threads:
    """Runs calls in threads of their own, which do not keep a failed test from ending."""

    def __init__(self) -> None:
        self._started: list[Thread] = []

    def map(self, call: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Call with each item, all at once, and return the results in order."""
        return [future.result() for future in [self.submit(call, item) for item in items]]

    def submit(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Begin a call, and return the future of its result."""
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(call(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        thread = Thread(target=run, daemon=True)
        self._started.append(thread)
        thread.start()
        return future

    def join(self) -> None:
        """Wait for all of them, but not for ever."""
        for thread in self._started:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a thread of the test never came back"


def finish(made: Any) -> Any:
    """Run what a call returned to its end, in this thread; of a generator the last item."""
    if inspect.iscoroutine(made):
        return asyncio.run(made)
    if inspect.isasyncgen(made):
        return asyncio.run(last(made))
    if inspect.isgenerator(made):
        *_, made = made
    return made


async def last(made: Any) -> Any:
    """Return the last item of an asynchronous generator."""
    items = [item async for item in made]
    return items[-1]


async def afinish(made: Any) -> Any:
    """Run what a call returned to its end, in this task."""
    if inspect.iscoroutine(made):
        return await made
    return await last(made) if inspect.isasyncgen(made) else finish(made)


def _function(point: Point) -> Callable[[], Any]:
    @point
    def function() -> int:
        return 7

    return function


def _closure(point: Point) -> Callable[[], Any]:
    kept = 7

    @point
    def closure() -> int:
        return kept

    return closure


def _generator(point: Point) -> Callable[[], Any]:
    @point
    def generator() -> Any:
        yield 7

    return generator


def _coroutine(point: Point) -> Callable[[], Any]:
    @point
    async def coroutine() -> int:
        return 7

    return coroutine


def _async_generator(point: Point) -> Callable[[], Any]:
    @point
    async def async_generator() -> Any:
        yield 7

    return async_generator


def _method(point: Point) -> Callable[[], Any]:
    class Home:
        @point
        def method(self) -> int:
            return 7

    return Home().method


def _async_method(point: Point) -> Callable[[], Any]:
    class Home:
        @point
        async def method(self) -> int:
            return 7

    return Home().method


def _class_method(point: Point) -> Callable[[], Any]:
    class Home:
        @point
        @classmethod
        def method(cls) -> int:
            return 7

    return Home.method


def _class_method_inside(point: Point) -> Callable[[], Any]:
    class Home:
        @classmethod
        @point
        def method(cls) -> int:
            return 7

    return Home.method


def _static_method(point: Point) -> Callable[[], Any]:
    class Home:
        @point
        @staticmethod
        def method() -> int:
            return 7

    return Home.method


def _block(point: Point) -> Callable[[], Any]:
    def block() -> int:
        with point:
            return 7

    return block


def _async_block(point: Point) -> Callable[[], Any]:
    async def block() -> int:
        async with point:
            return 7

    return block


def _statement(point: Point) -> Callable[[], Any]:
    def statement() -> int:
        point.hit()
        return 7

    return statement


def _async_statement(point: Point) -> Callable[[], Any]:
    async def statement() -> int:
        await point.ahit()
        return 7

    return statement


def _wrapped(point: Point) -> Callable[[], Any]:
    return point(functools.partial(int, "7"))


def _called(makers: tuple[Callable[[Point], Callable[[], Any]], ...]) -> dict[str, Any]:
    return {maker.__name__.strip("_"): maker for maker in makers}


FUNCTIONS = _called(
    (
        _function,
        _closure,
        _generator,
        _coroutine,
        _async_generator,
        _method,
        _async_method,
        _class_method,
        _class_method_inside,
        _static_method,
    )
)
"""What makes a decorated function of each kind: patched when armed."""

PLACES = FUNCTIONS | _called((_block, _async_block, _statement, _async_statement, _wrapped))
"""What makes a placement of each kind."""


def place(point: Point, kind: str) -> Callable[[], Any]:
    """Place ``point`` once, and return a call without arguments that reaches it and returns 7."""
    return PLACES[kind](point)


def functions(point: Point) -> dict[str, Callable[[], Any]]:
    """Place ``point`` on a function of every kind."""
    return {kind: place(point, kind) for kind in FUNCTIONS}


def places(point: Point) -> dict[str, Callable[[], Any]]:
    """Place ``point`` in every way there is."""
    return {kind: place(point, kind) for kind in PLACES}


def code_of(call: Any) -> CodeType:
    """Return the code that a function or method runs."""
    function = getattr(call, "__func__", call)
    assert isinstance(function, FunctionType)
    return function.__code__


async def tick(seconds: float = 0.0) -> None:
    """Let the event loop go round, and come back after ``seconds`` at the earliest."""
    loop = asyncio.get_running_loop()
    come: asyncio.Future[None] = loop.create_future()
    loop.call_later(seconds, come.set_result, None)
    await come


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a loop of its own, and give up on it after a while."""

    async def bounded() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await main

    return asyncio.run(bounded())


def python(program: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter; fail with what it said unless it ends well."""
    path = ":".join([str(SOURCE), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(program)],
        env={"PYTHONPATH": path, "PATH": "", **variables},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done
