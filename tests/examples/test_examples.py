"""Every small example runs by itself, says what it should, and gives no warning."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

SAYS = {
    "decorate.py": """\
charged 42
failed: TimeoutError, injected at payment.charge
charged 42
injections: 1 of 2 reaches
left: 0
left: 4
""",
    "block.py": """\
found 0
1: ok
2: database is locked
3: ok
4: database is locked
injections: 2
the statement failed after the block had passed
""",
    "coroutine.py": """\
50 charges side by side: True, the loop ran on: True
disarmed, the call goes through: 1.08
a bounded hang ends in TimeoutError
""",
    "lost_answer.py": """\
a key for each attempt: charged 2 times
a key for each order: charged 1 times
""",
    "race.py": """\
without a lock: -1 apples
with a lock: 0 apples
""",
}


ON_CALL = """\
before: 40 of 40 orders are paid
the bank does not answer: 40 of 40 orders are pending
the bank is slow: 40 of 40 orders are paid
disabled: 40 of 40 orders are paid
disabled: nothing can be armed
who did what: 4 lines in the audit log
"""


@pytest.mark.parametrize("name", SAYS)
def test_an_example_says_what_it_should(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == (SAYS[name], 0), done.stderr


def test_the_stateful_example_passes_and_shows_the_plan_that_finds_the_bug(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", EXAMPLES / "stateful.py"],
        cwd=tmp_path,  # where hypothesis may keep what it found
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "state.arm(plan=Plan(\n    rules=[Rule(\n" in done.stdout
    assert "2 passed" in done.stdout


def test_every_example_is_run() -> None:
    """What pytest collects by its name is run by pytest itself."""
    here = {path.name for path in EXAMPLES.glob("*.py")}
    assert here == {*SAYS, "integration_test.py", "stateful.py"}


@pytest.mark.once
def test_on_call_arms_loads_asserts_and_disarms_with_curl_and_the_command_line() -> None:
    if missing := [name for name in ("bash", "curl") if shutil.which(name) is None]:
        if os.environ.get("CI"):
            pytest.fail(f"{missing} not installed")
        pytest.skip(f"{missing} not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", EXAMPLES / "shop" / "on_call.sh"],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == ON_CALL
