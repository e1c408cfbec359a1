"""Ways to place a point and to reach it, and other tools that tests share."""

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
"""The seconds after which a test fails because an event did not happen, on a busy machine too."""


def some_or_all(name: str, some: int, all_: int) -> pytest.MarkDecorator:
    """Run a test with some of its cases, and in CI also with all of them."""
    every = pytest.param(all_, marks=pytest.mark.ci)
    return pytest.mark.parametrize(name, [some, every], ids=["some", "all"])


def rest_in_ci(cases: Iterable[Any], *always: Any) -> list[Any]:
    """Return the cases as parameters, marked to run in CI only except those in ``always``."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=() if case in always else pytest.mark.ci,
        )
        for case in cases
    ]


SOURCE = Path(chaospoint.__file__).parents[1]
"""The folder with the package under test: src/, or site-packages where the wheel is tested."""


class Boom(Exception):
    """The exception that tests inject."""


class Standing:
    """The rules of a store, put name by name as over HTTP; each change acts at once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._terms: list[CompiledRule] = []
        self._keys = count()

    def put(self, terms: Iterable[CompiledRule], name: str) -> Armed:
        """Replace the rules on exactly ``name``; raises the same errors as arming."""
        fresh = [rule._replace(key=str(next(self._keys))) for rule in terms]
        self._registry.engine.dry_run(fresh, "http")
        self._terms = [*fresh, *(rule for rule in self._terms if rule.pattern != name)]
        armed = self._registry.replace(self._terms, source="http")
        return Armed(self._registry.engine, armed.rules[: len(fresh)])


class Witness:
    """An observer that records injections and notices."""

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
    """Runs each call in a new daemon thread, so that a failed test can end."""

    def __init__(self) -> None:
        self._started: list[Thread] = []

    def map(self, call: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Call with each item, all at once, and return the results in order."""
        return [future.result() for future in [self.submit(call, item) for item in items]]

    def submit(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Start a call, and return the future of its result."""
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
        """Wait for all threads, up to `PATIENCE` for each."""
        for thread in self._started:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a thread of the test did not end"


def finish(result: Any) -> Any:
    """Run a coroutine or generator to its end in this thread; return its result or last item.

    Other values are returned unchanged.
    """
    if inspect.iscoroutine(result):
        return asyncio.run(result)
    if inspect.isasyncgen(result):
        return asyncio.run(last(result))
    if inspect.isgenerator(result):
        *_, result = result
    return result


async def last(items: Any) -> Any:
    """Return the last item of an asynchronous generator."""
    return [item async for item in items][-1]


async def afinish(result: Any) -> Any:
    """Do the same as `finish` in this task."""
    if inspect.iscoroutine(result):
        return await result
    return await last(result) if inspect.isasyncgen(result) else finish(result)


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
"""By kind: functions that decorate a function of that kind with a point."""

PLACES = FUNCTIONS | _called((_block, _async_block, _statement, _async_statement, _wrapped))
"""By kind: functions that create a placement of that kind."""


def place(point: Point, kind: str) -> Callable[[], Any]:
    """Place ``point`` once, and return a call without arguments that reaches it and returns 7."""
    return PLACES[kind](point)


def functions(point: Point) -> dict[str, Callable[[], Any]]:
    """Place ``point`` on a function of every kind."""
    return {kind: place(point, kind) for kind in FUNCTIONS}


def places(point: Point) -> dict[str, Callable[[], Any]]:
    """Place ``point`` in every possible way."""
    return {kind: place(point, kind) for kind in PLACES}


def code_of(call: Any) -> CodeType:
    """Return the code that a function or method runs."""
    function = getattr(call, "__func__", call)
    assert isinstance(function, FunctionType)
    return function.__code__


async def tick(seconds: float = 0.0) -> None:
    """Let the event loop run, for at least ``seconds``."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    loop.call_later(seconds, done.set_result, None)
    await done


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a new event loop; raises `TimeoutError` after `PATIENCE`."""

    async def bounded() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await main

    return asyncio.run(bounded())


def python(program: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a new interpreter; if it fails, fail with its output."""
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
