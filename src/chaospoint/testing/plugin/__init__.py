"""The pytest plugin: pytest loads it by its entry point, and it costs nothing until it is used.

Each part adds its options and has hooks of its own; what a part needs is imported when a run asks
for that part.
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
    """Add the options of all parts, in one group."""
    group = parser.getgroup("chaospoint", "fault injection (chaospoint)")
    for part in _PARTS:
        part.add_options(parser, group)


def pytest_configure(config: pytest.Config) -> None:
    """Have the parts that this run asks for take part."""
    for part in _PARTS:
        part.configure(config)
