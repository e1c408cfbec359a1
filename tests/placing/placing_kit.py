"""What the tests of placements stand on: modules of their own, a clock that is set, a shop."""

from __future__ import annotations

import importlib
import itertools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
from helpers import Boom, finish

_numbers = itertools.count()


class Modules:
    """Writes modules that no other test has, and forgets them afterwards."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: list[str] = []

    def write(self, source: str, name: str = "") -> str:
        name = name or f"placed_{next(_numbers)}"
        (self._folder / f"{name}.py").write_text(dedent(source))
        importlib.invalidate_caches()
        self._written.append(name)
        return name

    def load(self, source: str) -> ModuleType:
        return importlib.import_module(self.write(source))

    def forget(self) -> None:
        for name in self._written:
            sys.modules.pop(name, None)


class Time:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def fails(call: Callable[[], Any]) -> bool:
    """Whether the call, run to its end, meets the fault that is armed."""
    try:
        finish(call())
    except Boom:
        return True
    return False


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]


SHOP = """
    import functools

    def plain(): return 1
    async def coroutine(): return 1
    def generator(): yield 1
    async def stream(): yield 1

    class Base:
        def inherited(self): return 1

    class Stock(Base):
        def method(self): return 1
        @classmethod
        def of_class(cls): return cls.__name__
        @staticmethod
        def static(): return 1
        @property
        def price(self): return 1
        class Inner:
            def deep(self): return 1

    def again(function):
        @functools.wraps(function)
        def twice():
            try:
                return function()
            except Exception:
                return function()
        return twice

    @again
    def decorated(): return 1

    @functools.cache
    def cached(): return 1

    part = functools.partial(plain)
    number = 7
    stock = Stock()
"""
