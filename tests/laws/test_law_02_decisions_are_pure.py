"""Law 2. Decisions are pure; drivers act, and the two differ only by ``await``."""

from __future__ import annotations

import ast
import builtins
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

import chaospoint
from chaospoint._kernel.chance import Draws, Schedule, decide
from chaospoint._kernel.effects import Fault
from chaospoint.faults import Failure, Hang, Latency, Return

SOURCE = Path(chaospoint.__file__).parent

FAULTS: tuple[Fault, ...] = (
    Latency(seconds=0.2),
    Latency(seconds=0.2, jitter=0.1),
    Failure(exception=TimeoutError).resolve("code"),
    Failure(exception=TimeoutError, rate=0.3).resolve("code"),
    Return(value=[1]),
    Hang(),
    Hang(seconds=30),
)


@contextmanager
def _without_a_world() -> Iterator[None]:
    """Take away clocks, locks, files and the shared generator."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a decision touched the world")

    with pytest.MonkeyPatch.context() as patch:
        for module, names in (
            (time, ("monotonic", "time", "perf_counter", "time_ns", "monotonic_ns")),
            (random, ("random", "uniform", "gauss", "choice", "randrange")),
            (threading, ("Lock", "RLock", "get_ident")),
            (builtins, ("open", "print")),
        ):
            for name in names:
                patch.setattr(module, name, refuse)
        yield


def test_law_02_schedules_are_pure() -> None:
    """The same schedule gives the same ordinals, here and in every version to come."""
    schedule = Schedule(seed=7, skip=10, every=2, probability=0.3, times=8)
    with _without_a_world():
        ordinals = [list(decide(schedule)) for _ in range(2)]
    assert ordinals == [[30, 32, 34, 36, 38, 42, 44, 48]] * 2


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_law_02_effects_are_pure(fault: Fault) -> None:
    """A fault's effects follow from its fields and the draws, in any order and however often."""
    ordinals = range(1, 200)
    with _without_a_world():
        forth = [repr(fault.effects(Draws(7, n))) for n in ordinals]
        back = [repr(fault.effects(Draws(7, n))) for n in reversed(ordinals)]
    assert forth == back[::-1]


def test_law_02_decisions_leave_the_shared_generator_alone() -> None:
    """A program that seeds `random` gets the numbers it would get without chaos."""
    before = random.getstate()
    list(islice(decide(Schedule(seed=7, probability=0.3)), 100))
    for fault in FAULTS:
        fault.effects(Draws(7, 1))
    assert random.getstate() == before


@pytest.mark.parametrize("module", ["chance.py", "effects.py", "compiled_rule.py"])
def test_law_02_modules_that_decide_cannot_act(module: str) -> None:
    """No module that decides imports anything that can wait, lock, log or look at the time."""
    acting = {"asyncio", "io", "logging", "os", "socket", "sys", "threading", "time"}
    tree = ast.parse((SOURCE / "_kernel" / module).read_text())
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
        )
        if name is not None
    }
    assert imported & acting == set()


class _AwaitsLeftOut(ast.NodeTransformer):
    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        return ast.FunctionDef(**{name: getattr(node, name) for name in node._fields})

    def visit_Await(self, node: ast.Await) -> ast.AST:
        return self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        names = {
            "_await": "_wait",
            "_arun": "_run",
            "_acomputed": "_computed",
            "_atake_steps": "_take_steps",
        }
        return ast.Name(names.get(node.id, node.id), node.ctx)

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        return None if node.arg == "in_task" else node


def test_law_02_the_drivers_differ_only_by_await() -> None:
    """Leave out ``async`` and ``await``, and `adrive` reads as `drive` does."""
    tree = ast.parse((SOURCE / "_kernel/drive.py").read_text())
    drivers = {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for pair in (("drive", "adrive"), ("_take_steps", "_atake_steps")):
        drive, adrive = (
            [ast.dump(_AwaitsLeftOut().visit(line)) for line in drivers[name].body[1:]]
            for name in pair
        )
        assert adrive == drive


def test_law_02_only_the_drivers_sleep_and_raise() -> None:
    """Effects are carried out in one module: no other looks at what kind of effect it has got,
    except `binding`, which tells what an injection is going to be, `placement`, which knows what
    each kind can express, and `allowance`, which shortens what the driver is about to do to what
    its limits leave."""
    looking = {
        path.stem
        for path in (SOURCE / "_kernel").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id in {"Sleep", "Hold", "Raise"}
    }
    assert looking == {"allowance", "binding", "drive", "effects", "placement"}
