"""A program that both chaospoint and OpenTelemetry start: each has a ``sitecustomize``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import rest_in_ci

pytest.importorskip("opentelemetry.instrumentation.auto_instrumentation")

PLAN = 'placements: {"textwrap:shorten": text.shorten}\nrules: ["text.shorten=return(chaos)"]\n'
# What OpenTelemetry does at its start is seen in the class of its provider.
APP = """
import textwrap
from opentelemetry import trace
print(textwrap.shorten("a b", 9), type(trace.get_tracer_provider()).__module__)
"""
PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "app.py"], check=True)
"""
SPAWNING = """
import multiprocessing, runpy
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=runpy.run_path, args=["app.py"])
    process.start()
    process.join()
"""
LAUNCHING = """
import os, sys
os.execve(sys.executable, [sys.executable, "parent.py"], {**os.environ, "A": "b"})
"""

CHAOS = ["chaospoint", "run", "--plan", "plan.yaml", "--"]
OTEL = ["opentelemetry-instrument"]
ORDERS = {
    "chaospoint last": [*OTEL, *CHAOS],
    "chaospoint first": [*CHAOS, *OTEL],
}
CASES = [
    *((order, program) for order in ORDERS for program in ("app.py", "parent.py")),
    ("chaospoint first", "spawning.py"),
    ("chaospoint first", "launching.py"),
]


def words_of(*words: str) -> list[str]:
    """Return the words with the commands of the environment that runs the tests."""
    folder = Path(sys.executable).parent
    return [shutil.which(word, path=str(folder)) or word for word in words]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "plan.yaml": PLAN,
        "app.py": APP,
        "parent.py": PARENT,
        "spawning.py": SPAWNING,
        "launching.py": LAUNCHING,
    }.items():
        (tmp_path / name).write_text(text)
    if shutil.which(OTEL[0], path=str(Path(sys.executable).parent)) is None:
        pytest.skip("opentelemetry-distro is not installed")
    return tmp_path


@pytest.mark.parametrize(
    ("order", "program"),
    rest_in_ci(CASES, ("chaospoint last", "parent.py"), ("chaospoint first", "launching.py")),
)
def test_both_start_in_every_order_and_in_child_processes(
    order: str, program: str, folder: Path
) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    off = {f"OTEL_{name}_EXPORTER": "none" for name in ("TRACES", "METRICS", "LOGS")}
    done = subprocess.run(
        words_of(*ORDERS[order], "python", program),
        cwd=folder,
        env={"PATH": path, **off},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "chaos opentelemetry.sdk.trace\n", done.stderr
    assert "Traceback" not in done.stderr
