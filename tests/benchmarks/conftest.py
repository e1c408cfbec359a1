"""These tests run at the speed at which budgets were set."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _at_full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.row.slowness", lambda: 1.0)
