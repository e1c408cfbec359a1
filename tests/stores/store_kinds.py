"""Every kind of store there is: `test_store_contract` holds each to what a store has to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chaospoint.stores.directory import DirectoryStore
from chaospoint.stores.memory import MemoryStore
from chaospoint.stores.store import Store

KINDS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda path: MemoryStore(),
    "directory": lambda path: DirectoryStore(str(path / "store")),
}
"""How a store is opened, given a place of the test's own; a new kind is one line."""

SHARED = [kind for kind in KINDS if kind != "memory"]
"""Those that other processes see."""

Open = Callable[[], Store]
