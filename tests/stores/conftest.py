"""Stores for tests, in places of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_kinds import KINDS, Open

from chaospoint.stores.directory import DirectoryStore


@pytest.fixture
def open_one(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the store of a kind, the same one each time if it is shared."""
    return lambda: KINDS[request.param](tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store may be; there is nothing yet."""
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> DirectoryStore:
    """A store in a directory that is not there yet."""
    return DirectoryStore(str(path))


@pytest.fixture
def written(store: DirectoryStore, path: Path) -> Path:
    """The directory of that store, with a document of generation 1."""
    store.update(lambda one: one.enable(by="ops", now=1.0))
    return path
