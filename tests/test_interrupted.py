"""A signal handler may raise at any moment: nothing stays locked, transparent or half armed.

Real signals in a process of its own, for a tracer sees moments that signals never have, and misses
some that they have.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no timers that signal"
)

PROGRAM = Path(__file__).parent / "programs" / "interrupted.py"


def _run(what: str, handlers: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", PROGRAM, what, str(handlers)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "what", ["armed", "start", "glob", "arm", "fire", "explain", "switch", "fork"]
)
def test_some_hundred_handlers_leave_nothing_behind(what: str) -> None:
    _run(what, 40 if what == "fork" else 400)


@pytest.mark.ci
@pytest.mark.parametrize(
    ("what", "handlers"),
    [
        ("armed", 6_000),
        ("start", 2_000),
        ("glob", 3_000),
        ("arm", 3_000),
        ("fire", 2_000),
        ("explain", 2_000),
        ("switch", 1_500),
        ("fork", 500),
    ],
)
def test_twenty_thousand_handlers_leave_nothing_behind(what: str, handlers: int) -> None:
    _run(what, handlers)
