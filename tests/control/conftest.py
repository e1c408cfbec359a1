"""A registry with a few points, and the door, for the tests of the admin endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import documented
import pytest
from helpers import Threads
from nodes import Nodes

from chaospoint._registry.registry import Registry
from chaospoint.control.http import Request
from chaospoint.control.service import Service, Steps
from chaospoint.sources.settings import Settings
from chaospoint.stores.directory import DirectoryStore
from chaospoint.stores.memory import MemoryStore


@pytest.fixture(autouse=True)
def _documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test asks for, the answer is one that the API's document tells of."""
    steps = Service.steps

    def checked(self: Service, request: Request) -> Steps:
        response = yield from steps(self, request)
        documented.check(request, response)
        return response

    monkeypatch.setattr(Service, "steps", checked)


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


@pytest.fixture(params=["memory", "directory"])
def nodes(request: pytest.FixtureRequest, tmp_path: Path, pool: Threads) -> Iterator[Nodes]:
    """Makes the workers of one store, of each kind in turn."""
    path = tmp_path / "store"
    memory = MemoryStore()
    opens = {"memory": lambda: memory, "directory": lambda: DirectoryStore(str(path))}
    made = Nodes(opens[request.param], path)
    yield made
    made.end()


@pytest.fixture
def on_disk(tmp_path: Path, pool: Threads) -> Iterator[Nodes]:
    """Makes the workers of one store in a directory."""
    path = tmp_path / "store"
    made = Nodes(lambda: DirectoryStore(str(path)), path)
    yield made
    made.end()
