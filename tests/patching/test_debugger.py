"""Breakpoints in a decorated function stop in its body, armed or not; pdb itself, with words typed.

But for one by the function's name whose first call is armed: that stops at the function's head.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import SOURCE

SHOP = """
import chaospoint


@chaospoint.point("charge")
def charge(order):
    total = len(order)
    if order == "ask":
        breakpoint()
    return total
"""
PROGRAM = """
import chaospoint, shop
shop.charge("one")
chaospoint.arm("charge", latency=0{keys})
shop.charge("two")
shop.charge("three")
chaospoint.disarm()
shop.charge("four")
"""
KEYS = pytest.mark.parametrize("keys", [", skip=10**9", ""])
BODY = 7
"""The first line in the function."""


def debug(folder: Path, keys: str, *commands: str, program: str = PROGRAM) -> list[str]:
    """Run pdb with these commands, and return what it printed after ``!!``."""
    (folder / "shop.py").write_text(SHOP)
    (folder / "program.py").write_text(program.format(keys=keys))
    done = subprocess.run(
        [sys.executable, "-m", "pdb", "program.py"],
        cwd=folder,
        env={"PYTHONPATH": os.pathsep.join((str(SOURCE), str(folder))), "PATH": ""},
        input="\n".join([*commands, "q", "q"]) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout, done.stdout
    return [line.partition("!!")[2] for line in done.stdout.splitlines() if "!!" in line]


@KEYS
@pytest.mark.parametrize("when", ["before", "while"])
def test_a_breakpoint_by_line_stops_in_every_call(tmp_path: Path, keys: str, when: str) -> None:
    begin = [] if when == "before" else ["b program.py:5", "c"]
    stops = ["c", "p '!!' + order"] * (4 if when == "before" else 3)
    said = debug(tmp_path, keys, *begin, f"b shop.py:{BODY}", *stops)
    orders = ["one", "two", "three", "four"]
    assert [one.strip("'") for one in said] == orders[-len(stops) // 2 :]


@KEYS
def test_a_breakpoint_by_name_that_was_hit_before_arming_stops_in_the_body(
    tmp_path: Path, keys: str
) -> None:
    stops = ["c", "p '!!' + order, 'total' in locals()", "n", "p '!!' + str(total)"] * 4
    said = debug(tmp_path, keys, "import shop", "b shop.charge", *stops)
    assert [one.rstrip("')") for one in said if not one[0].isdigit()] == [
        f"{order}', False" for order in ("one", "two", "three", "four")
    ]
    assert [one.strip("'") for one in said if one[0].isdigit()] == ["3", "3", "5", "4"]


@KEYS
def test_a_breakpoint_by_name_first_hit_while_armed_stops_at_the_head(
    tmp_path: Path, keys: str
) -> None:
    """It stops where it stopped first: in the trampoline, with the arguments there to be seen.

    So no more once the trampoline is gone.
    """
    stops = ["c", "p '!!' + order", "s"] * 2
    said = debug(tmp_path, keys, "b program.py:5", "c", "b shop.charge", *stops, "c", "p '!!end'")
    assert [one.strip("'") for one in said] == ["two", "three", "end"]


@KEYS
def test_a_breakpoint_in_the_code_and_a_walk_up_the_stack(tmp_path: Path, keys: str) -> None:
    program = PROGRAM.replace("one", "ask").replace("two", "ask")
    walk = ["p '!!' + str(total)", "up", "p '!!' + str(sorted(locals()))[:9], '!!'", "down"]
    jump = ["!total = 9", "r", "p '!!' + str(__return__)"]
    said = debug(tmp_path, keys, *["c", *walk, *jump] * 2, program=program)
    numbers = [one.strip("'") for one in said if one.strip("'").isdigit()]
    assert numbers == ["3", "9", "3", "9"]
