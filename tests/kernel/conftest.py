"""Fixtures for the tests of the kernel: a registry with a fake clock, and observers."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from chaospoint import Registry
from chaospoint._kernel import reporting

from .kit import Witness


@pytest.fixture
def registry(still: Registry) -> Registry:
    """A fresh registry for which time stands still."""
    return still


@pytest.fixture
def function(registry: Registry) -> Callable[[], str]:
    """A function at ``p`` that returns ``own``."""

    @registry.point("p")
    def function() -> str:
        return "own"

    return function


@pytest.fixture
def coroutine(registry: Registry) -> Callable[[], Any]:
    """A coroutine function at ``p`` that returns ``own``."""

    @registry.point("p")
    async def coroutine() -> str:
        return "own"

    return coroutine


@pytest.fixture
def bugs() -> deque[BaseException]:
    """The bugs so far: a test that expects one clears it away."""
    return reporting.bugs


@pytest.fixture
def witness(registry: Registry) -> Witness:
    """An observer of the registry that remembers."""
    seen = Witness()
    registry.add_observer(seen)
    return seen


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log of chaospoint, from DEBUG on."""
    caplog.set_level(logging.DEBUG, logger="chaospoint")
    return caplog
