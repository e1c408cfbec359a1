"""pytest under ``chaospoint run``: modules that pytest rewrites, and repeating a case."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from helpers import SOURCE, rest_in_ci

from chaospoint import __version__

SHOPLIB = """
def charge():
    return "charged"
"""
TESTS = """
import shoplib

def test_charge():
    assert shoplib.charge() == "charged"

def test_nothing():
    pass
"""
PLAN = {"placements": {"shoplib:charge": "shop.charge"}, "rules": []}
REWRITES = "import pytest; pytest.register_assert_rewrite('shoplib')"
INI = "[pytest]\nfilterwarnings = error\n"


pytestmark = pytest.mark.once


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with tests, a module that pytest rewrites, and a plan that names a function of it.

    chaospoint is installed in it as by a wheel: its files are listed, and pytest reads the list.
    """
    for name, text in {
        "shoplib.py": SHOPLIB,
        "test_shop.py": TESTS,
        "conftest.py": REWRITES,
        "pytest.ini": INI,
        "plan.json": json.dumps(PLAN),
    }.items():
        (tmp_path / name).write_text(text)
    site = tmp_path / "site"
    info = site / f"chaospoint-{__version__}.dist-info"
    info.mkdir(parents=True)
    (site / "chaospoint").symlink_to(SOURCE / "chaospoint")
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: chaospoint\nVersion: {__version__}\n"
    )
    (info / "entry_points.txt").write_text("[pytest11]\nchaospoint = chaospoint.testing.plugin\n")
    files = (SOURCE / "chaospoint").rglob("*.py")
    (info / "RECORD").write_text("".join(f"{path.relative_to(SOURCE)},,\n" for path in files))
    return tmp_path


def run(
    project: Path, words: Iterable[str], variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    words = [sys.executable if word == "python" else word for word in words]
    if words[0] == "chaospoint":
        words = [sys.executable, "-m", *words]
    return subprocess.run(
        words,
        cwd=project,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(project / "site"), **(variables or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


LAUNCHED = ["chaospoint", "run", "--plan", "plan.json", "--", "python", "-m", "pytest"]
QUIET = ["-p", "no:randomly", "-p", "no:ordeal", "-p", "no:asyncio", "-p", "no:cacheprovider"]


def test_warnings_may_be_errors_and_the_first_test_reaches_a_rewritten_module(
    project: Path,
) -> None:
    done = run(project, [*LAUNCHED, *QUIET, "--chaos-explore", "--chaos-explore-latency=none"])
    assert "shop.charge#1 raise(InjectedFault): failed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "already imported" not in done.stdout + done.stderr


TYPED: dict[str, tuple[list[str], list[str]]] = {
    "settings": (
        ["--assert=plain", "-s", "-Wdefault", "-o", "xfail_strict=true", "--import-mode", "append"],
        ["--assert=plain", "-s", "-Wdefault", "-o", "xfail_strict=true", "--import-mode", "append"],
    ),
    "letters in one word": (["-vsW", "default"], ["-s", "-W", "default"]),
    "what chooses, tells and spreads": (
        ["-k", "charge or nothing", "-v", "-rA", "--tb=short", "--maxfail", "9", "-n", "0"],
        [],
    ),
}


@pytest.mark.parametrize("name", rest_in_ci(TYPED, "settings"))
def test_the_printed_command_repeats_the_case(name: str, project: Path) -> None:
    typed, kept = TYPED[name]
    explore = ["--chaos-explore=shop.*", "--chaos-explore-latency=none"]
    done = run(project, [*LAUNCHED, *QUIET, *typed, "test_shop.py", *explore])
    printed = [line.strip() for line in done.stdout.splitlines()]
    commands = {line for line in printed if line.startswith("chaospoint run")}
    assert {line.removeprefix("repeat it: ") for line in printed if "repeat it" in line} == commands
    assert len(commands) == 2, done.stdout + done.stderr
    words = shlex.split(min(commands))
    assert words[: len(LAUNCHED)] == LAUNCHED
    at = words.index("test_shop.py::test_charge")
    assert words[len(LAUNCHED) : at] == [*QUIET, *kept]
    again = run(project, words)
    assert again.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 case at 1 reach, 1 not handled" in again.stdout


def test_a_case_that_is_not_there_is_an_error(project: Path) -> None:
    """As if the command ran without the plan that places its point."""
    words = ["python", "-m", "pytest", *QUIET, "--chaos-explore"]
    done = run(project, [*words, "--chaos-explore-case=shop.charge#1 raise(InjectedFault)"])
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "no test has the case 'shop.charge#1 raise(InjectedFault)'" in done.stdout


def test_a_launch_without_a_plan_is_repeated_without_one(project: Path) -> None:
    (project / "test_shop.py").write_text("def test_fails(chaos): assert False")
    launched = [word for word in LAUNCHED if word not in ("--plan", "plan.json")]
    done = run(project, [*launched, *QUIET], {"CHAOSPOINT_CONFIG": "plan.json"})
    command = next(line for line in done.stdout.splitlines() if line.startswith("repeat it"))
    assert command.startswith("repeat it: chaospoint run -- python -m pytest -p no:randomly")
