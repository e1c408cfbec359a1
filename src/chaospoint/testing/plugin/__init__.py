"""The pytest plugin, which pytest loads through its entry point.

Each part adds its options and its hooks, and imports what it needs only if a run uses the part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaospoint.testing.plugin import checks, covering, exploring, seeding
from chaospoint.testing.plugin.checks import chaos

if TYPE_CHECKING:
    import pytest

__all__ = ["chaos", "pytest_addoption", "pytest_configure"]

_PARTS = (seeding, checks, exploring, covering)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of all parts in one group."""
    group = parser.getgroup("chaospoint", "fault injection (chaospoint)")
    for part in _PARTS:
        part.add_options(parser, group)


def pytest_configure(config: pytest.Config) -> None:
    """Activate the parts that this run uses."""
    for part in _PARTS:
        part.configure(config)
