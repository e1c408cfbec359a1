"""Measure importing chaospoint against importing four modules of the standard library.

Each import runs in a new interpreter, which times the import and not its own start.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence

from benchmarks.budget import Budget
from benchmarks.budget import Kind as Of
from benchmarks.measure import Effort, Part
from benchmarks.row import Row

__all__ = ["rows"]

IMPORT = Budget(Of.RATIO, 2.0)
_OURS = "chaospoint"
_BASE = "threading, re, random, logging"
_PROGRAM = """
from time import perf_counter_ns
began = perf_counter_ns()
import {modules}
print(perf_counter_ns() - began)
"""


def rows() -> Iterator[Row]:
    """Yield the row."""
    yield Row("start", f"import {_OURS}, against import {_BASE}", IMPORT, _sample)


def _sample(effort: Effort) -> Sequence[Part]:
    for modules in (_OURS, _BASE):
        _import(modules)  # compiles the modules
    taken: tuple[list[int], ...] = ([], [], [])
    turns = list(zip(taken, (_OURS, _BASE, _BASE), strict=True))
    for nth in range(effort.few(25, 60)):
        for kept, modules in reversed(turns) if nth % 2 else turns:
            kept.append(_import(modules))
    ours, base, control = map(tuple, taken)
    return (Part(ours, base, control),)


def _import(modules: str) -> int:
    done = subprocess.run(
        [sys.executable, "-I", "-c", _PROGRAM.format(modules=modules)],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return int(done.stdout)
