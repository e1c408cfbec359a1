"""``start`` in whole programs: in forks, under load, and in the middle of an import."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

PROGRAMS = Path(__file__).with_name("programs")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


# Python 3.12 and newer warn of a fork beside other threads. They count those of the system, where a
# thread of ours that was ended for the fork can exist for a moment longer.
WARNINGS = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def run(*command: str, **variables: str) -> str:
    """Run a program in which every warning is an error; return what it printed and logged."""
    clean = {name: value for name, value in os.environ.items() if "CHAOSPOINT" not in name}
    result = subprocess.run(
        [sys.executable, *WARNINGS, *command],
        cwd=PROGRAMS,
        env=clean | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@forks
def test_a_forked_child_polls_serves_no_inherited_socket_and_the_parent_goes_on(
    tmp_path: Path,
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('[{"point": "payment.charge", "exception": "KeyError"}]')
    printed = run("fork.py", str(free_port()), str(plan))
    assert printed.endswith("fine\n")
    taken = [line for line in printed.splitlines() if "is in use" in line]
    assert taken
    assert all(line.startswith("INFO ") for line in taken), "in a child it is no surprise"
    assert "Exception ignored" not in printed


@forks
def test_forks_under_load_lose_no_answer_and_leave_no_lock() -> None:
    assert run("fork_under_load.py", str(free_port())) == "fine\n"


@pytest.mark.parametrize(
    ("suffix", "plan"),
    [
        ("yaml", "rules:\n  - {point: a.b, latency: 1s, exception: sqlite3.Error}\n"),
        pytest.param("json", '[{"point": "a.b", "latency": 1}]', marks=pytest.mark.ci),
        pytest.param(
            "toml",
            '[[rules]]\npoint = "a.b"\nexception = "httpx.ConnectError"\n',
            marks=pytest.mark.ci,
        ),
    ],
)
def test_the_threads_need_no_import_while_the_program_imports(
    suffix: str, plan: str, tmp_path: Path
) -> None:
    """A module that is being imported starts us, and waits for answers and reloads."""
    printed = run(
        "-c",
        "import halfway",
        CHAOSPOINT_ENABLED="true",
        CHAOSPOINT_ADMIN=f"127.0.0.1:{free_port()}",
        CHAOSPOINT_CONFIG=str(tmp_path / f"plan.{suffix}"),
        TEXTS=json.dumps([plan, "bad"]),
    )
    assert "imported late: []" in printed


@forks
def test_metrics_are_those_of_all_processes_in_multiprocess_mode(tmp_path: Path) -> None:
    printed = run("multiprocess_metrics.py", PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    lines = [line for line in printed.splitlines() if line.startswith("chaospoint_injections")]
    assert lines == ['chaospoint_injections_total{fault="return",point="payment.charge"} 2.0']


def test_a_reply_under_way_is_out_before_the_process_ends() -> None:
    clean = {name: value for name, value in os.environ.items() if "CHAOSPOINT" not in name}
    with subprocess.Popen(
        [sys.executable, *WARNINGS, "leave.py"],
        cwd=PROGRAMS,
        env=clean,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        answer = httpx.post(f"{url}/v1/disable", timeout=30)
        assert answer.status_code == 200
        assert answer.json()["enabled"] is False
        assert program.wait(30) == 0
