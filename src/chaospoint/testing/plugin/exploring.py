"""Exploration under pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["add_options", "configure"]


def add_options(parser: pytest.Parser, group: pytest.OptionGroup) -> None:
    """Add the options."""


def configure(config: pytest.Config) -> None:
    """Take part in this run, if its options ask for it."""
