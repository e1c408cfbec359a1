"""The house: a module imports only from lower floors, and the kernel only the standard library."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import chaospoint

HOUSE = Path(chaospoint.__file__).parent

FLOORS = (
    # The kernel. Values, chance, time, and what may go wrong.
    "_version _inside",
    "errors",
    "_draw _decide _effects _environ _host_error _injection _names _scope _static _takes _unwrap",
    "_bell _index _lock _logger _notice _remark _table _terms _trampoline _where effects",
    "_clock _ending _fork _say _signature _start",
    "_allowance _bug _fits _tally",
    "_process",
    # What lives while something is armed, and the handle of it.
    "_aim _armed _epoch _keeper",
    "_check _drive",
    "_searches _unreached",
    "_explain",
    # How a callable becomes a placement.
    "_calls",
    "_site _wrapper",
    "_point",
    # What is armed, and on what; the way in.
    "_board",
    "_registry",
    # The models: pydantic lives here. They compile to what the kernel runs.
    "models models.nesting models.refusal models.secret_names models.yaml_quotes",
    "models.durations models.lookup models.model models.plain_data models.point_pattern"
    " models.quantities models.signatures"
    " models.strict_json models.yaml_text",
    "models.condition models.cursor models.default_message models.document models.enum_member"
    " models.exception_arguments models.exception_pattern models.fault_model models.placements",
    "models.exception_spec",
    "models.exception_choice models.tail models.verbs",
    "faults",
    "models.kinds",
    "models.shorthand models.variables",
    "models.text",
    "models.rule",
    "limits",
    "plan",
    # Who is told, and what code arms with.
    "observers.log observers.otel observers.prometheus",
    "observers",
    "arming",
    # Points placed from outside.
    "imports targets",
    "placing rounds",
    # What comes from outside: where it is kept, ...
    "stores.moments",
    "stores.store",
    "stores.desired",
    "stores.files stores.memory stores.writing",
    "stores.document",
    "stores.halts stores.worker_files",
    "stores.directory stores.switching_off",
    "stores",
    # ... and how it is asked and told.
    "control control.answers control.bodies control.guesses control.messages"
    " control.metrics control.pages control.reconciler control.replies control.spares"
    " poller reminder",
    "control.dry_run control.journal control.operations control.problem control.state settings",
    "control.audit control.body control.door control.openapi control.query control.reason sources",
    "control.changes control.views",
    "control.service",
    "control.listener control.off_loop",
    "control.server",
    "reloaders uwsgi_workers",
    "config",
    "control.asgi control.wsgi launch startup startup.sitecustomize",
    # Test helpers stand on whatever they like, and nothing stands on them but the front door.
    "testing",
    "testing._block testing._fake_clock testing._leftovers testing._patience testing._strategies"
    " testing._verdict testing._watch",
    "testing._coverage testing._limit testing._loop_time",
    "testing._pacer",
    "testing._held_until",
    "testing._waits",
    "testing._skipping_clock",
    "testing._chaos",
    # ... and exploration.
    "testing._cases testing._exploration_table testing._time_limit testing._unhandled",
    "testing._exploration",
    "testing._striking",
    "testing._explore",
    "testing.plugin.phases testing.plugin.progress testing.plugin.shares testing.plugin.typed",
    "testing.plugin.case_reports testing.plugin.covering testing.plugin.gathered"
    " testing.plugin.seeding",
    "testing.plugin.asked",
    "testing.plugin.exploring_tests",
    "testing.plugin.explored",
    "testing.plugin.exploring",
    "testing.plugin.checks",
    "testing.plugin",
    "",
    # The command line, which nothing imports.
    "cli.acknowledgement cli.failure cli.output cli.rule_keys cli.target cli.user",
    "cli.stopping",
    "cli.http_target cli.store_views cli.tables",
    "cli.store_target cli.watching",
    "cli.bare cli.choose",
    "cli.session",
    "cli.plans cli.writes",
    "cli.app",
    "cli",
    "__main__",
)

FLOOR_OF = {
    ("chaospoint." + name).rstrip("."): floor
    for floor, names in enumerate(FLOORS)
    for name in names.split() or [""]
}


def _name(path: Path) -> str:
    parts = ["chaospoint", *path.relative_to(HOUSE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted(HOUSE.rglob("*.py"))}

KERNEL = {
    name: path
    for name, path in MODULES.items()
    if path.parent == HOUSE and path.name.startswith("_") and not path.name.startswith("__")
}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _imports(node: ast.AST) -> Iterator[str]:
    """Yield what is imported at runtime, wherever it stands: lazily counts, for typing does not."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        for line in node.orelse:
            yield from _imports(line)
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "write the whole name of what is imported"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imports(child)


def _module_of(name: str) -> str:
    """Return the module that holds what is imported by this name."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def test_every_module_has_a_floor() -> None:
    """A new module gets its place in the listing above, and a removed one leaves it."""
    assert set(FLOOR_OF) == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_lower_floors(module: str) -> None:
    ours = {
        _module_of(name)
        for name in _imports(_tree(MODULES[module]))
        if name.partition(".")[0] == "chaospoint"
    }
    too_high = {name for name in ours if FLOOR_OF[name] >= FLOOR_OF[module]}
    assert too_high == set()


@pytest.mark.parametrize("module", KERNEL)
def test_the_kernel_imports_the_standard_library_only(module: str) -> None:
    """wrapt alone is allowed, and only where callables are wrapped."""
    foreign = {name.partition(".")[0] for name in _imports(_tree(KERNEL[module]))}
    foreign -= {*sys.stdlib_module_names, "chaospoint"}
    assert foreign == ({"wrapt"} if module == "chaospoint._wrapper" else set())


@pytest.mark.parametrize("module", KERNEL)
def test_the_kernel_imports_the_kernel_only(module: str) -> None:
    """The models compile to what the kernel runs, and the kernel never sees them."""
    ours = {name for name in _imports(_tree(KERNEL[module])) if name.startswith("chaospoint")}
    allowed = {*KERNEL, "chaospoint.errors"}
    assert {_module_of(name) for name in ours} <= allowed


def test_pydantic_lives_with_the_models_only() -> None:
    users = {
        name
        for name, path in MODULES.items()
        if any(found.startswith("pydantic") for found in _imports(_tree(path)))
    }
    models = {name for name in MODULES if name.startswith("chaospoint.models")}
    others = ("faults", "plan", "settings", "stores.desired")
    # The endpoint's description of itself; nothing is read or answered with these.
    parts = ("answers", "bodies", "operations", "openapi")
    described = tuple(f"control.{name}" for name in parts)
    assert users <= {*models, *(f"chaospoint.{name}" for name in (*others, *described))}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_its_law_in_its_first_lines(module: str) -> None:
    assert ast.get_docstring(_tree(MODULES[module]))


def _statements(node: ast.AST) -> int:
    """Count the statements: docstrings, imports and lists of names are none."""
    count = 0
    for child in ast.walk(node):
        if not isinstance(child, ast.stmt) or isinstance(child, ast.Import | ast.ImportFrom):
            continue
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        count += 1
    return count


def test_the_kernel_is_small_enough_to_be_read() -> None:
    """Small enough for a day's reading."""
    sizes = {name: _statements(_tree(path)) for name, path in KERNEL.items()}
    assert sum(sizes.values()) < 3_870, sizes
