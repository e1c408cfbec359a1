"""Fixtures of the tests of placements."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from placing_kit import Modules, Time

from chaospoint import Registry
from chaospoint.placements.placing import Placements


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a reload in the same second is seen
    made = Modules(tmp_path)
    yield made
    made.forget()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def placements(registry: Registry, time: Time) -> Placements:
    return Placements(registry, now=time)
