"""Law 4: a signal handler that raises leaves no lock held, whichever block it interrupts.

CPython 3.14 may leave ``with lock`` with the lock held, if the lock is one of `threading`; every
CPython may do so at a loop that stands directly in such a block.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import chaospoint

HOME = Path(chaospoint.__file__).parent
FILES = sorted(HOME.rglob("*.py"))

LOCKS = {"Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "allocate_lock"}
MODULES = ("threading", "_thread")
ALLOWED = {
    # Locks of `threading`, by file, and why a signal handler leaves none of them held.
    "_kernel/bell.py": {"allocate_lock"},  # it is taken to wait, and anybody may release it
    "stores/reconciler.py": {"Lock"},  # taken by an iteration, and never in a `with`
    "control/server/listener.py": {"Semaphore"},  # only threads of ours take it
    "control/server/in_flight.py": {"Condition"},  # over a lock of ours, which is what blocks take
    "testing/clocks/fake.py": {"Condition"},
    "testing/clocks/loop_time.py": {"Event"},
}
LOOPS = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def _name(file: Path) -> str:
    return file.relative_to(HOME).as_posix()


def _of_threading(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            found |= {one.name for one in node.names if one.name in LOCKS}
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in MODULES:
            found |= {node.attr} & LOCKS
    return found


def _is_lock(node: ast.expr) -> bool:
    named = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return named in ("_guard", "_reporting") or named.endswith("lock")


def _loops(node: ast.AST) -> list[int]:
    found = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, SCOPES):
            continue
        if isinstance(child, LOOPS):
            found.append(child.lineno)
        found += _loops(child)
    return found


def _loops_under_locks(tree: ast.AST) -> list[int]:
    return [
        line
        for block in ast.walk(tree)
        if isinstance(block, ast.With) and any(_is_lock(item.context_expr) for item in block.items)
        for statement in block.body
        for line in _loops(ast.Module([statement], []))
    ]


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_all_with_blocks_use_our_lock(file: Path) -> None:
    found = _of_threading(ast.parse(file.read_text()))
    if _name(file) == "_kernel/lock.py":
        found -= {"RLock"}  # the base class of ours
    assert found == ALLOWED.get(_name(file), set()), (
        "use chaospoint._kernel.lock.Lock, or say above why no signal handler leaves this one held"
    )


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_no_loop_stands_in_a_block_under_a_lock(file: Path) -> None:
    assert _loops_under_locks(ast.parse(file.read_text())) == [], "call a function that loops"


def test_the_search_for_private_names_finds_some() -> None:
    text = "import threading\nwith a, self._lock:\n    if x:\n        y = [z for z in x]\n"
    assert _loops_under_locks(ast.parse(text)) == [4]
    assert _of_threading(ast.parse(text + "threading.Lock()")) == {"Lock"}
