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
    "_environ _kernel _kernel.chance _kernel.context _kernel.effects _kernel.explanation"
    " _kernel.host_error _kernel.logger _kernel.static _kernel.takes _patching"
    " _patching.discarded _patching.unwrap _registry _registry.notices _version"
    " cli.acknowledgement cli.output cli.user control control.http control.openapi"
    " control.openapi.response_schemas control.server control.throttle models models.nesting"
    " placements placements.imports plan.secret_names plan.yaml_quotes sources startup"
    " stores.bounds stores.moments stores.store testing testing.clocks testing.exploring"
    " testing.exploring.result testing.exploring.time_limit testing.exploring.unhandled"
    " testing.kit testing.kit.block testing.plugin.progress testing.plugin.shares"
    " testing.plugin.typed workers workers.reloaders workers.uwsgi",
    "_kernel.allowance _kernel.bell _kernel.compiled_rule _kernel.ending _kernel.injection"
    " _kernel.placement _kernel.signature effects errors faults.settled models.strict_json"
    " sources.launching testing.plugin.case_reports",
    "_kernel.clock _kernel.lock _kernel.names _kernel.threads _patching.trampoline"
    " _registry.handle control.reason faults.default_message faults.signatures models.refusal"
    " observers.log observers.otel stores.acknowledging stores.files testing.exploring.table"
    " testing.plugin.seeding",
    "_kernel.fork _kernel.matching _kernel.reporting _kernel.tally _registry.index"
    " _registry.table control.problem control.server.in_flight control.server.spares"
    " faults.exception_arguments faults.exception_pattern faults.lookup models.durations"
    " models.model models.plain_data models.point_pattern models.quantities"
    " placements.targets plan.yaml_text stores.document stores.worker_files"
    " testing.clocks.fake testing.clocks.patience testing.exploring.exploration",
    "_kernel.armed_rule _kernel.binding _kernel.process _kernel.rounds _registry.fits"
    " _registry.housekeeping cli.failures faults.base faults.enum_member models.cursor"
    " observers.prometheus plan.document plan.fields plan.placements stores.halts"
    " testing.clocks.loop_time testing.kit.leftovers testing.kit.limit"
    " testing.plugin.gathered",
    "_kernel.drive _registry.checks control.pages faults.call faults.exception_spec"
    " faults.failpoints faults.hang faults.latency faults.returns observers plan.tail"
    " sources.poller stores.switching_off testing.clocks.pacer",
    "_kernel.search _registry.unreached faults.exception_choice testing.clocks.waits"
    " testing.kit.watch",
    "_patching.calls _registry.explain faults.failure testing.clocks.skipping"
    " testing.kit.held_until testing.kit.verdict",
    "_patching.site _patching.wrapper faults faults.kinds plan.limits",
    "_kernel.point placements.placing plan.shorthand sources.variables",
    "_registry.engine plan.text sources.settings",
    "_registry.registry control.access plan.rule",
    "observers.journal plan.plan stores.desired testing.coverage testing.exploring.cases",
    "cli.rule_keys cli.target control.dry_run control.openapi.request_schemas plan"
    " plan.compiling stores.directory stores.memory testing.plugin.asked"
    " testing.plugin.covering",
    "arming cli.http_target cli.tables control.audit control.inputs"
    " control.openapi.operations control.rendering stores testing.strategies",
    "cli.stopping cli.store_views cli.watching control.openapi.describe sources.reading"
    " stores.reconciler testing.exploring.case_runs testing.kit.chaos",
    "control.changes control.views testing.exploring.explore testing.plugin.checks"
    " testing.plugin.phases",
    "cli.store_target control.service testing.plugin.exploring_tests",
    "cli.bare cli.choose control.off_loop control.server.listener testing.plugin.explored",
    "cli.session control.server.admin testing.plugin.exploring",
    "cli.plans cli.writes config testing.plugin",
    "cli.app control.asgi control.wsgi startup.sitecustomize",
    "",
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
    if path.relative_to(HOUSE).parts[0] in ("_kernel", "_patching", "_registry")
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
    assert foreign == ({"wrapt"} if module == "chaospoint._patching.wrapper" else set())


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
    rooms = ("chaospoint.models", "chaospoint.faults", "chaospoint.plan")
    models = {name for name in MODULES if name.startswith(rooms)}
    others = ("sources.settings", "sources.variables", "stores.desired")
    # The endpoint's description of itself; nothing is read or answered with these.
    parts = ("response_schemas", "request_schemas", "operations", "describe")
    described = tuple(f"control.openapi.{name}" for name in parts)
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
    assert sum(sizes.values()) < 3_950, sizes
