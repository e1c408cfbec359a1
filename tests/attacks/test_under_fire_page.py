"""The page on behavior under fire names a test for each promise, and each test exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/under-fire.md").read_text()
NAMED = re.findall(r"`(tests/[\w/.]+)`", PAGE)


def test_each_promise_has_its_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "test |" not in line]
    assert len(rows) > 10
    assert [row for row in rows if "`tests/" not in row] == []


def test_each_named_test_exists() -> None:
    assert [name for name in NAMED if not (ROOT / name).exists()] == []
