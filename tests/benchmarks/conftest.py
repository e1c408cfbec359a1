"""These tests run at the speed at which budgets were set, and no machine needs to rest."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _at_full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.row.slowness", lambda: 1.0)
    monkeypatch.setattr("benchmarks.__main__.REST_SECONDS", 0.0)
