"""Finalizers run in the middle of anything, and may do anything: the process survives them.

On CPython 3.11 the garbage collector runs in the middle of ``ContextVar.set``, and a finalizer that
sets a variable there makes the interpreter crash, so this runs in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "programs" / "finalizers.py"


@pytest.mark.parametrize("seconds", [3, pytest.param(20, marks=[pytest.mark.ci, pytest.mark.once])])
def test_finalizers_reach_points_and_arm_and_disarm(seconds: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", PROGRAM, str(seconds)],
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 20
