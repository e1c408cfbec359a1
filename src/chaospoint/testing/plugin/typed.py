"""What the parts of the plugin ask of options as they were typed: one rule for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["json_path", "took_a_path"]


def json_path(config: pytest.Config, option: str, given: str | None) -> Path | None:
    """Return the file to write; `pytest.UsageError` where that cannot be one, before any test."""
    if given is None:
        return None
    path = config.invocation_params.dir / given
    if not given or path.is_dir():
        raise pytest.UsageError(f"{option}={given}: write the path of a file, and not a directory")
    if not path.parent.is_dir():
        raise pytest.UsageError(
            f"{option}={given}: there is no directory {path.parent}: make it first"
        )
    return path


def took_a_path(config: pytest.Config, option: str, value: str) -> bool:
    """Whether an option that may stand alone took the path behind it for its value."""
    invoked = config.invocation_params
    return option in invoked.args and (invoked.dir / value).exists()
