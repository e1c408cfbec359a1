"""The house: what a package imports stands on a lower floor, and no files import in a circle.

Imports for the type checker count, and so do those inside functions.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import chaospoint

HOUSE = Path(chaospoint.__file__).parent

# From the ground up; what stands on one floor does not import each other.
FLOORS = (
    "_environ _lazy _version errors",
    "_kernel",
    "_patching effects models",
    "_registry faults",
    "observers placements plan workers",
    "arming",
    "stores",
    "sources",
    "control testing",
    "cli config",
    "chaospoint __main__ startup",
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names.split()}
UPWARDS = {
    "chaospoint._environ -> _kernel",  # the variable that a wrong name is close to
    "chaospoint.errors -> _kernel",  # an error may be made anywhere, so points are transparent then
    "chaospoint.control.asgi -> config",  # a mounted app starts chaospoint
    "chaospoint.control.wsgi -> config",
}


def _name(path: Path) -> str:
    parts = ["chaospoint", *path.relative_to(HOUSE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted(HOUSE.rglob("*.py"))}

RUNTIME = {
    name: path
    for name, path in MODULES.items()
    if path.relative_to(HOUSE).parts[0] in ("_kernel", "_patching", "_registry")
}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def _imports(module: str) -> frozenset[str]:
    """Return what a module imports, wherever the statement stands, and for typing too."""
    return frozenset(_imported(_tree(MODULES[module])))


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write the whole name of what is imported"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _modules_of(module: str) -> set[str]:
    """Return the modules of the package that a module imports."""
    return {_module_of(name) for name in _imports(module) if name.split(".")[0] == "chaospoint"}


def _module_of(name: str) -> str:
    """Return the module that holds what is imported by this name."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def test_every_room_has_a_floor() -> None:
    """A new package gets its place in the listing above, and a removed one leaves it."""
    assert set(FLOOR_OF) == set(map(_room, MODULES))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_lower_floors(module: str) -> None:
    room = _room(module)
    too_high = {
        f"{module} -> {other}"
        for other in map(_room, _modules_of(module))
        if other != room and FLOOR_OF[other] >= FLOOR_OF[room]
    }
    assert too_high <= UPWARDS


def test_no_files_import_in_a_circle() -> None:
    TopologicalSorter({name: _modules_of(name) - {name} for name in MODULES}).prepare()


@pytest.mark.parametrize("module", RUNTIME)
def test_what_a_call_runs_imports_the_standard_library_only(module: str) -> None:
    """wrapt alone is allowed, and only where callables are wrapped."""
    foreign = {name.partition(".")[0] for name in _imports(module)}
    foreign -= {*sys.stdlib_module_names, "chaospoint"}
    assert foreign == ({"wrapt"} if module == "chaospoint._patching.wrapper" else set())


def test_pydantic_lives_with_the_models_only() -> None:
    users = {name for name in MODULES if any(one.startswith("pydantic") for one in _imports(name))}
    rooms = tuple(f"chaospoint.{room}." for room in ("models", "faults", "plan"))
    others = {"sources.settings", "sources.variables", "stores.desired"}
    others.add("control.access")  # the type of a secret, for the type checker alone
    # The endpoint's description of itself; nothing is read or answered with these.
    parts = ("response_schemas", "request_schemas", "operations", "describe")
    others |= {f"control.openapi.{part}" for part in parts}
    allowed = {f"chaospoint.{name}" for name in others}
    assert {name for name in users if not name.startswith(rooms)} <= allowed


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_its_law_in_its_first_lines(module: str) -> None:
    assert ast.get_docstring(_tree(MODULES[module]))


def _statements(node: ast.AST) -> int:
    """Count the statements; docstrings and imports do not count."""
    count = 0
    for child in ast.walk(node):
        if not isinstance(child, ast.stmt) or isinstance(child, ast.Import | ast.ImportFrom):
            continue
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        count += 1
    return count


def test_what_a_call_runs_is_small_enough_to_be_read() -> None:
    """Small enough for a day's reading.

    The limit was 4,000 until the engine became six modules of one noun each: every class, its
    constructor and its list of names are statements, too.
    """
    sizes = {name: _statements(_tree(path)) for name, path in RUNTIME.items()}
    assert sum(sizes.values()) < 4_050, sizes
