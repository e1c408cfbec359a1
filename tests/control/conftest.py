"""A registry with a few points, and the door, for the tests of the admin endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from chaospoint._registry import Registry
from chaospoint.control.service import Service
from chaospoint.settings import Settings


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    yield made
    made.disarm()


@pytest.fixture
def charge(registry: Registry) -> Callable[[], str]:
    """A function at ``payment.charge``; there are a block, ``db.query``, and ``db.commit``, too."""
    registry.point("db.query", description="every query")
    registry.point("db.commit")

    @registry.point("payment.charge")
    def charge() -> str:
        return "charged"

    return charge


@pytest.fixture
def service(registry: Registry, charge: Callable[[], str]) -> Service:
    return Service.of(Settings(enabled=True), registry)
