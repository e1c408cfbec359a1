"""The page that says what holds under fire names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/under-fire.md").read_text()
NAMED = re.findall(r"`(tests/[\w/.]+)`", PAGE)


def test_each_promise_has_its_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "test |" not in line]
    assert len(rows) > 10
    assert [row for row in rows if "`tests/" not in row] == []


def test_each_test_is_there() -> None:
    assert [name for name in NAMED if not (ROOT / name).exists()] == []
