"""What changes or fires is interrupted at every opcode; nothing stays locked, armed or transparent.

A normal run interrupts some opcodes, CI more of them, and others on each version of Python. All of
them take long: ``python tests/programs/at_every_opcode.py BaseException 0``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill") or sys.implementation.name != "cpython",
    reason="the program asks functions of CPython's C library for signals, and forks",
)

PROGRAM = Path(__file__).parents[1] / "programs" / "at_every_opcode.py"
RAISING = ("Exception", "BaseException", "KeyboardInterrupt", "SetAsyncExc")
CHANGING = ("disarm", "disable")


def _interrupt(how: str, much: int, *whats: str) -> int:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", PROGRAM, how, str(much), *whats],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return sum(json.loads(line)["tries"] for line in done.stdout.splitlines())


@pytest.mark.parametrize("how", RAISING)
def test_nothing_is_left_where_something_is_raised(how: str) -> None:
    assert _interrupt(how, 12) > 150


@pytest.mark.parametrize("how", CHANGING)
def test_a_handler_disarms_or_disables_in_the_middle_of_anything(how: str) -> None:
    assert _interrupt(how, 12) > 150


@pytest.mark.parametrize(
    ("seconds", "tries"), [(5, 300), pytest.param(60, 3_000, marks=pytest.mark.ci)]
)
def test_real_signals_leave_nothing_behind(seconds: int, tries: int) -> None:
    """These come in the middle of C code and of the standard library, too."""
    assert _interrupt("signals", seconds) > tries


@pytest.mark.ci
@pytest.mark.parametrize("how", RAISING + CHANGING)
def test_nothing_is_left_at_more_opcodes(how: str) -> None:
    assert _interrupt(how, 60) > 900


@pytest.mark.ci
def test_an_interrupted_wait_of_a_test_leaves_no_watcher() -> None:
    """At all opcodes: CPython 3.12 and 3.13 leave the jump of a loop out of the `try` around it."""
    assert _interrupt("BaseException", 0, "wait", "async wait") > 1_500
