"""These tests run at the speed at which budgets were set."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _at_full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.row.slowness", lambda: 1.0)


@pytest.fixture(autouse=True, scope="module")
def _frozen_again() -> Iterator[None]:
    """Leave what stays to the end out of garbage collections: what measures has undone that."""
    yield
    gc.collect()
    gc.freeze()
