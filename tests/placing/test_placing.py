"""Points that a plan file puts on functions: what gets them, what cannot, and what is said."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers import Boom, Threads
from placing_kit import SHOP, Modules, Time, fails, warnings

from chaospoint import Registry, arm, config
from chaospoint._kernel.context import in_chaospoint
from chaospoint._registry.explain import states
from chaospoint.arming import Origin, install_plan
from chaospoint.errors import InvalidPlan
from chaospoint.placements.placing import PATIENCE_SECONDS, Placements
from chaospoint.plan import Plan, load_plan, parse_plan
from chaospoint.plan.compiling import refuse_placements
from chaospoint.plan.placements import MAX_PLACEMENTS
from chaospoint.sources.settings import Settings
from chaospoint.testing import FakeClock

CALLS: dict[str, Callable[[Any], Callable[[], Any]]] = {
    "plain": lambda shop: shop.plain,
    "coroutine": lambda shop: shop.coroutine,
    "generator": lambda shop: shop.generator,
    "stream": lambda shop: shop.stream,
    "Stock.method": lambda shop: shop.Stock().method,
    "Stock.of_class": lambda shop: shop.Stock.of_class,
    "Stock.static": lambda shop: shop.Stock.static,
    "Stock.Inner.deep": lambda shop: shop.Stock.Inner().deep,
    "cached": lambda shop: shop.cached,
    "part": lambda shop: shop.part,
}


@pytest.mark.parametrize("imported", [True, False], ids=["imported before", "imported after"])
@pytest.mark.parametrize("qualname", CALLS)
def test_a_named_function_has_the_point(
    qualname: str, imported: bool, modules: Modules, placements: Placements, registry: Registry
) -> None:
    name = modules.write(SHOP)
    if imported:
        importlib.import_module(name)
    placements.put({f"{name}:{qualname}": "shop.it"})
    assert (name in sys.modules) is imported
    call = CALLS[qualname](importlib.import_module(name))
    with_fault = arm("shop.it", exception=Boom, registry=registry)
    assert fails(call)
    with_fault.disarm()
    assert not fails(call)


def test_a_method_of_a_class_keeps_its_class(
    modules: Modules, placements: Placements, registry: Registry
) -> None:
    shop = modules.load(SHOP)
    before = dict(vars(shop.Stock))
    placements.put({f"{shop.__name__}:Stock.{name}": "shop.it" for name in ("of_class", "static")})
    arm("shop.it", latency=0, registry=registry)
    assert dict(vars(shop.Stock)) == before
    assert shop.Stock.of_class() == "Stock"
    assert len(registry.point("shop.it").placements) == 2


def test_a_name_stands_for_the_function_written_under_it_behind_its_decorators(
    modules: Modules, placements: Placements, registry: Registry
) -> None:
    """As a decorator next to the ``def`` would have it: here the retry meets the fault."""
    shop = modules.load(SHOP)
    held = shop.decorated
    placements.put({f"{shop.__name__}:decorated": "shop.it"})
    armed = arm("shop.it", exception=Boom, times=1, registry=registry)
    assert shop.decorated is held
    assert shop.decorated() == 1
    assert (armed.reaches, armed.injections) == (2, 1)


def test_a_function_that_only_copies_the_looks_of_another_has_the_point_itself(
    modules: Modules, placements: Placements, registry: Registry
) -> None:
    theirs = modules.load("def fetch(): return 1")
    shop = modules.load(f"""
        import functools
        from {theirs.__name__} import fetch as original

        @functools.wraps(original)
        def fetch(): return original() + 1
        alias = fetch
    """)
    placements.put({f"{shop.__name__}:fetch": "shop.it", f"{shop.__name__}:alias": "shop.alias"})
    arm("shop.it", exception=Boom, registry=registry)
    assert fails(shop.fetch)
    assert fails(shop.alias)
    assert theirs.fetch() == 1


def test_what_decorates_a_function_of_another_module_has_the_point_and_not_that_function(
    modules: Modules, placements: Placements, registry: Registry
) -> None:
    theirs = modules.load("def fetch(): return 1")
    shop = modules.load(f"""
        import functools, {theirs.__name__} as theirs

        def again(function):
            @functools.wraps(function)
            def twice(): return function()
            return twice
        fetch = again(theirs.fetch)
    """)
    placements.put({f"{shop.__name__}:fetch": "shop.it"})
    arm("shop.it", exception=Boom, registry=registry)
    assert fails(shop.fetch)
    assert theirs.fetch() == 1


def test_chaospoint_itself_keeps_what_it_has_imported(
    modules: Modules,
    placements: Placements,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = modules.load(SHOP)
    ours = ModuleType("chaospoint.ours")
    vars(ours)["part"] = before = shop.part
    monkeypatch.setitem(sys.modules, "chaospoint.ours", ours)
    placements.put({f"{shop.__name__}:part": "shop.it"})
    assert shop.part is not before
    assert vars(ours)["part"] is before


def test_a_builtin_is_replaced_wherever_it_was_imported_to(
    modules: Modules, placements: Placements, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import math

    monkeypatch.setattr(math, "cbrt", math.cbrt)  # and put back
    shop = modules.load("from math import cbrt as root\nlength = len")
    placements.put({"math:cbrt": "math.root", f"{shop.__name__}:length": "shop.length"})
    arm("math.root", exception=Boom, registry=registry)
    arm("shop.length", exception=Boom, registry=registry)
    assert fails(lambda: shop.root(8))
    assert fails(lambda: math.cbrt(8))
    assert fails(lambda: shop.length(""))
    assert len("") == 0
    assert "shop.length" not in repr(vars(sys.modules["builtins"])["len"])


def test_names_that_others_have_imported_earlier_are_caught(
    modules: Modules, placements: Placements, registry: Registry
) -> None:
    shop = modules.load(SHOP)
    other = modules.load(f"from {shop.__name__} import plain, part as mine")
    placements.put({f"{shop.__name__}:{name}": "shop.it" for name in ("plain", "part")})
    arm("shop.it", exception=Boom, registry=registry)
    assert fails(other.plain)
    assert fails(other.mine)


@pytest.mark.parametrize("name", ["plain", "part"])
def test_a_point_is_placed_once_whoever_has_placed_it(
    name: str, modules: Modules, placements: Placements, registry: Registry
) -> None:
    shop = modules.load(SHOP)
    point = registry.point("shop.it")
    vars(shop)[name] = decorated = point(vars(shop)[name])
    for _ in range(3):
        placements.put({f"{shop.__name__}:{name}": "shop.it"})
        placements.look()
    assert vars(shop)[name] is decorated
    armed = arm("shop.it", latency=0, registry=registry)
    placements.look()
    vars(shop)[name]()
    assert armed.reaches == 1
    assert len(point.placements) == 1


@pytest.mark.parametrize("name", ["plain", "part", "cached", "decorated"])
def test_looking_again_changes_nothing(
    name: str, modules: Modules, placements: Placements, registry: Registry
) -> None:
    shop = modules.load(SHOP)
    placements.put({f"{shop.__name__}:{name}": "shop.it"})
    held = vars(shop)[name]
    armed = arm("shop.it", latency=0, registry=registry)
    for _ in range(3):
        placements.look()
    assert vars(shop)[name] is held
    held()
    assert armed.reaches == 1


WRONG = {
    "plane": "has no 'plane': did you mean 'plain'?",
    "Stock.metod": "class '{name}:Stock' has no 'metod': did you mean 'method'?",
    "Stok.method": "has no 'Stok': did you mean 'Stock'?",
    "zzz": "has no 'zzz': correct the name; no similar name is there",
    "number": "it is not a function but 'int', which cannot be called",
    "Stock.price": "it is a property, which is not called",
    "Stock": "it is a class, and replacing it would break `except`, pickling and subclasses: "
    "name a method that it defines, such as 'Stock.method'",
    "Stock.inherited": "'inherited' is inherited: name '{name}:Base.inherited'",
    "stock.method": "'stock' in {name} is not a class but an object: name the method of its class, "
    "'{name}:Stock.…'",
}


@pytest.mark.parametrize("imported", [True, False], ids=["imported before", "imported after"])
@pytest.mark.parametrize("qualname", WRONG)
def test_what_cannot_be_placed_is_one_warning_with_the_cure(
    qualname: str,
    imported: bool,
    modules: Modules,
    placements: Placements,
    time: Time,
    caplog: pytest.LogCaptureFixture,
    registry: Registry,
) -> None:
    name = modules.write(SHOP)
    if imported:
        importlib.import_module(name)
    placements.put({f"{name}:{qualname}": "shop.it", f"{name}:plain": "shop.plain"})
    importlib.import_module(name)
    for time.now in (5.0, PATIENCE_SECONDS, 100.0):
        placements.look()
    [said] = warnings(caplog)
    assert said.startswith(f"placement '{name}:{qualname}' of point 'shop.it' cannot be made: ")
    assert WRONG[qualname].format(name=name) in said
    assert registry.find("shop.it") is None
    assert registry.point("shop.plain").placements == (f"{name}:plain (function)",)


def test_a_method_of_a_builtin_class_cannot_be_replaced(
    placements: Placements, caplog: pytest.LogCaptureFixture
) -> None:
    placements.put({"collections:deque.append": "it"})
    [said] = warnings(caplog)
    assert "immutable type" in said
    assert "place the point on a function that calls it" in said


def test_nothing_of_the_program_runs_when_looking(
    modules: Modules, placements: Placements, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a module's ``__getattr__`` nor what proxies answer when asked who they are."""
    shop = modules.load("""
        ran = []
        def __getattr__(name): ran.append(name); raise AttributeError(name)
        class Proxy:
            def __call__(self): return 1
            @property
            def __class__(self): ran.append("__class__"); raise RuntimeError
            def __getattr__(self, name): ran.append(name); raise RuntimeError
        proxy = Proxy()
        inside = Proxy()
    """)
    name = shop.__name__
    placements.put({f"{name}:lazy": "a", f"{name}:proxy.x": "b"})
    time.now = PATIENCE_SECONDS
    placements.look()
    assert shop.ran == []
    assert len(warnings(caplog)) == 2


def test_an_import_that_fails_fails_as_ever_and_the_next_one_is_placed(
    modules: Modules, placements: Placements, registry: Registry
) -> None:
    name = modules.write("raise LookupError('mine')")
    placements.put({f"{name}:charge": "shop.it"})
    with pytest.raises(LookupError, match="mine"):
        importlib.import_module(name)
    modules.write("def charge(): return 'charged'", name)
    shop = importlib.import_module(name)
    arm("shop.it", exception=Boom, registry=registry)
    assert fails(shop.charge)


def test_a_bug_of_ours_does_not_break_the_import_of_the_program(
    modules: Modules,
    placements: Placements,
    monkeypatch: pytest.MonkeyPatch,
    expected_bugs: list[BaseException],
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    name = modules.write("def charge(): return 'charged'")
    placements.put({f"{name}:charge": "shop.it"})
    monkeypatch.setattr("chaospoint.placements.placing.find", broken)
    assert importlib.import_module(name).charge() == "charged"


def test_points_are_transparent_while_points_are_placed(
    modules: Modules, placements: Placements, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(
        "chaospoint.placements.placing._put", lambda *_: seen.append(in_chaospoint.get())
    )
    name = modules.write("def charge(): pass\ndef refund(): pass")
    placements.put({f"{name}:charge": "a"})
    importlib.import_module(name)
    placements.put({f"{name}:charge": "a", f"{name}:refund": "b"})
    assert seen == [True, True]
    assert not in_chaospoint.get()


def test_a_module_that_is_being_imported_gets_its_points_when_it_is_there(
    modules: Modules, placements: Placements, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """The first point of a program may start chaospoint in the middle of any import."""
    vars(sys)["placements_of_a_test"] = placements
    name = modules.write("""
        import sys
        def again(function): return lambda: function()
        def charge(): return 'charged'
        name = __name__
        sys.placements_of_a_test.put({f"{name}:charge": "shop.it", f"{name}:late": "shop.late"})
        charge = again(charge)
        def late(): return 1
    """)
    try:
        shop = importlib.import_module(name)
    finally:
        del vars(sys)["placements_of_a_test"]
    placements.look()
    assert warnings(caplog) == []
    armed = arm("shop.*", latency=0, registry=registry)
    assert (shop.charge(), shop.late()) == ("charged", 1)
    assert armed.reaches == 2


def test_a_module_that_is_reloaded_is_placed_again(
    modules: Modules, placements: Placements, registry: Registry
) -> None:
    shop = modules.load(SHOP)
    names = ("plain", "part", "Stock.method")
    placements.put({f"{shop.__name__}:{name}": "shop.it" for name in names})
    arm("shop.it", exception=Boom, registry=registry)
    importlib.reload(shop)
    assert not fails(shop.plain)
    placements.look()
    assert [fails(CALLS[name](shop)) for name in names] == [True] * 3


def test_a_placement_removed_from_the_plan_stays_in_place_and_is_logged(
    modules: Modules,
    placements: Placements,
    registry: Registry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "chaospoint")
    shop, later = modules.load(SHOP), modules.write(SHOP)
    placements.put({f"{shop.__name__}:plain": "shop.it", f"{later}:plain": "shop.later"})
    placements.put({f"{shop.__name__}:coroutine": "shop.it"})
    [removed] = [text for text in caplog.messages if "removed from the plan" in text]
    assert f"{shop.__name__}:plain" in removed
    arm("shop.it", exception=Boom, registry=registry)
    assert fails(shop.plain)
    assert fails(shop.coroutine)
    importlib.import_module(later)
    assert registry.find("shop.later") is None


def test_nothing_is_placed_any_more_after_the_end(
    modules: Modules, placements: Placements, registry: Registry
) -> None:
    name = modules.write(SHOP)
    placements.put({f"{name}:plain": "shop.it"})
    placements.end()
    importlib.import_module(name)
    assert registry.find("shop.it") is None


@pytest.mark.parametrize(
    ("wanted", "level", "words"),
    [
        ("{near}", logging.WARNING, "did you mean '{name}'?"),
        ("{name}.far.away", logging.WARNING, "correct the name"),
        ("qwxzvk.jq", logging.INFO, "correct the name, unless the module is imported later"),
    ],
)
def test_a_module_that_is_never_imported_is_said_once_after_a_while(
    wanted: str,
    level: int,
    words: str,
    modules: Modules,
    placements: Placements,
    time: Time,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Quietly where it looks like another program's, as in the processes that serve one."""
    caplog.set_level(logging.INFO, "chaospoint")
    name = modules.load("").__name__
    module = wanted.format(name=name, near=name.replace("placed", "plaxed"))
    placements.put({f"{module}:charge": "shop.it"})
    time.now = PATIENCE_SECONDS - 0.1
    placements.look()
    assert caplog.records == []
    for time.now in (PATIENCE_SECONDS, 100.0):
        placements.look()
    [record] = caplog.records
    assert record.levelno == level
    assert f"in 10 s no module {module!r} was imported" in record.getMessage()
    assert words.format(name=name) in record.getMessage()


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("{name}.Stock:method", "{name}:Stock.method", "'{name}.Stock' is a class and not a mod"),
        ("{name}.Stock.Row:sell", "{name}:Stock.Row.sell", "'{name}.Stock' is a class and not a"),
        ("{name}:part.Stock.method", "placed_part:Stock.method", "'part' in {name} is a module"),
    ],
)
def test_a_colon_in_another_place_is_said_at_once_with_a_cure_that_works(
    wrong: str,
    right: str,
    said: str,
    modules: Modules,
    placements: Placements,
    registry: Registry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = """
        class Stock:
            def method(self): return 1
            class Row:
                def sell(self): return 1
    """
    modules.write(source, "placed_part")
    name = modules.load("import placed_part as part; from placed_part import Stock").__name__
    wrong, right = wrong.format(name=name), right.format(name=name)
    placements.put({wrong: "shop.it"})
    [line] = warnings(caplog)
    assert said.format(name=name) in line
    assert line.endswith(f": write '{right}'")
    placements.look()
    placements.end()
    assert len(warnings(caplog)) == 1
    placements.put({right: "shop.it"})
    assert len(registry.point("shop.it").placements) == 1


def test_a_class_taken_for_a_module_is_said_once_its_module_is_imported(
    modules: Modules, placements: Placements, caplog: pytest.LogCaptureFixture
) -> None:
    name = modules.write(SHOP)
    placements.put({f"{name}.Stock:method": "shop.it"})
    placements.look()
    assert warnings(caplog) == []
    importlib.import_module(name)
    placements.end()  # before it is overdue
    [line] = warnings(caplog)
    assert line.endswith(f": write '{name}:Stock.method'")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def test_a_function_of_the_script_is_placed_late_and_that_is_said(
    script: ModuleType,
    placements: Placements,
    registry: Registry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    placements.put({"__main__:charge": "shop.it"})
    placements.look()
    assert warnings(caplog) == []
    exec("def charge(): return 1", vars(script))
    placements.look()
    [said] = warnings(caplog)
    assert "was placed while the script ran, so earlier calls did not reach it" in said
    assert "move 'charge' to a module that it imports, or decorate it" in said
    arm("shop.it", exception=Boom, registry=registry)
    assert fails(script.charge)


def test_a_function_of_the_script_that_is_there_is_placed_without_a_word(
    script: ModuleType, placements: Placements, caplog: pytest.LogCaptureFixture
) -> None:
    exec("def charge(): return 1", vars(script))
    placements.put({"__main__:charge": "shop.it"})
    placements.end()
    assert warnings(caplog) == []


def test_a_script_that_ended_before_it_was_seen_is_said_and_another_program_is_not(
    script: ModuleType, placements: Placements, caplog: pytest.LogCaptureFixture
) -> None:
    placements.put({"__main__:charge": "shop.it", "__main__:nowhere": "shop.other"})
    exec("def charge(): return 1", vars(script))
    placements.end()
    [said] = warnings(caplog)
    assert "'__main__:charge'" in said
    assert "the script ended before its module could be inspected" in said


def test_many_threads_that_import_and_look_place_once(
    modules: Modules, placements: Placements, registry: Registry, pool: Threads, restless: None
) -> None:
    name = modules.write(SHOP)
    wanted = {f"{name}:plain": "shop.it", f"{name}:part": "shop.part"}

    def work(nth: int) -> None:
        if nth % 2:
            importlib.import_module(name)
        placements.put(wanted)
        placements.look()

    pool.map(work, range(16))
    shop = importlib.import_module(name)
    armed = arm("shop.*", latency=0, registry=registry)
    shop.plain()
    assert armed.reaches == 1
    shop.part()
    assert armed.reaches == 3  # the part calls the function
    assert len(registry.point("shop.part").placements) == 1


# In plans


def test_a_plan_with_placements_reads_back_equal() -> None:
    plan = Plan(rules=[], placements={"shop.stock:Stock.check": "inventory.check"})
    assert plan.placements == {"shop.stock:Stock.check": "inventory.check"}
    assert str(plan) == '{"placements": {"shop.stock:Stock.check": "inventory.check"}, "rules": []}'
    assert Plan.parse(str(plan)) == plan
    assert parse_plan(plan.model_dump()) == plan
    armed = Plan(rules=[{"point": "a", "latency": 1}], placements={"shop:f": "a"})
    assert Plan.parse(str(armed)) == armed
    assert "placements" not in Plan(rules=[]).model_dump()


@pytest.mark.parametrize(
    ("placements", "words"),
    [
        ([], "placements=[]: not a mapping"),
        ({"shop.charge": "a"}, "the name in it; write 'shop:charge'"),
        ({"charge": "a"}, "the name in it; write the module, a colon"),
        ({"shop.stock.check": "a"}, "the name in it; write 'shop.stock:check'"),
        ({"shop.Stock": "a"}, "the name in it; write 'shop:Stock'"),
        ({"Shop.check": "a"}, "the name in it; write 'Shop:check'"),
        (
            {"shop.Stock.check": "a"},
            "write 'shop:Stock.check' if 'Stock' is a class, or 'shop.Stock:check' if it is a",
        ),
        (
            {"shop.stock.Stock.Row.check": "a"},
            "write 'shop.stock:Stock.Row.check' if 'Stock' is a class, or "
            "'shop.stock.Stock.Row:check' if it is a module",
        ),
        ({"shop:": "a"}, "placements['shop:']: not the name of a function"),
        ({":charge": "a"}, "not the name of a function"),
        ({"shop:a b": "a"}, "not the name of a function"),
        ({"shop:a:b": "a"}, "not the name of a function"),
        ({"shop..x:a": "a"}, "not the name of a function"),
        ({1: "a"}, "not the name of a function"),
        ({"shop:f.<locals>.g": "a"}, "a function defined inside another cannot be found by name"),
        ({"chaospoint._kernel.drive:drive": "a"}, "points cannot be placed in chaospoint itself"),
        ({"shop:charge": "payment.*"}, "a glob is not the name of a point"),
        ({"shop:charge": "Payment"}, "placements['shop:charge']='Payment': uppercase letters"),
        ({"shop:charge": None}, "not the name of a point"),
        ({f"shop:f{n}": "a" for n in range(MAX_PLACEMENTS + 1)}, "1001 placements"),
    ],
)
def test_placements_that_mean_nothing_are_refused_by_name(placements: Any, words: str) -> None:
    with pytest.raises(InvalidPlan) as caught:
        parse_plan({"rules": [], "placements": placements})
    assert words in str(caught.value)
    assert (caught.value.field or "").startswith("placements")
    assert caught.value.cure


@pytest.mark.parametrize("suffix", [".yaml", ".toml", ".json"])
def test_a_file_says_placements(suffix: str, tmp_path: Path) -> None:
    texts = {
        ".yaml": 'placements:\n  "shop:charge": payment.charge\nrules: []\n',
        ".toml": 'rules = []\n[placements]\n"shop:charge" = "payment.charge"\n',
        ".json": '{"placements": {"shop:charge": "payment.charge"}, "rules": []}',
    }
    path = tmp_path / f"plan{suffix}"
    path.write_text(texts[suffix])
    assert load_plan(path).placements == {"shop:charge": "payment.charge"}


def test_only_the_file_places_points(registry: Registry) -> None:
    plan = Plan(rules=[{"point": "a", "latency": 1}], placements={"shop:charge": "a"})
    for attempt in (
        lambda: refuse_placements(plan),
        lambda: arm(plan, registry=registry),
        lambda: install_plan(plan, origin=Origin("http"), registry=registry),
    ):
        with pytest.raises(
            InvalidPlan, match="only the plan file may have placements; write them in"
        ):
            attempt()
    assert registry.rules() == ()


# From the file


class Service:
    """chaospoint, started with a plan file, whose poller a test turns by hand."""

    def __init__(self, path: Path, registry: Registry) -> None:
        self._path, self._registry = path, registry

    def write(self, placements: dict[str, str], **rules: str) -> None:
        data = {"placements": placements, "rules": [f"{k}={v}" for k, v in rules.items()]}
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(data))
        new.replace(self._path)

    def start(self, **more: Any) -> None:
        config.start(Settings(enabled=True, config=self._path, **more), registry=self._registry)
        self._poller.rounds.stop()

    def turn(self) -> bool:
        return self._poller.poll()

    @property
    def _poller(self) -> Any:
        running = config._running
        assert running is not None
        assert running._sources.poller is not None
        return running._sources.poller


@pytest.fixture
def service(tmp_path: Path, registry: Registry) -> Iterator[Service]:
    yield Service(tmp_path / "plan.json", registry)
    config.stop()


def test_the_rules_of_a_file_find_the_points_it_places(
    modules: Modules, service: Service, caplog: pytest.LogCaptureFixture, registry: Registry
) -> None:
    shop = modules.load(SHOP)
    registry.point("another.one")  # so that a rule without a point would be remarked on
    service.write({f"{shop.__name__}:plain": "shop"}, shop="raise(LookupError)")
    service.start()
    assert warnings(caplog) == []
    with pytest.raises(LookupError):
        shop.plain()


def test_a_rule_for_a_point_to_come_is_not_said_to_have_none(
    modules: Modules,
    tmp_path: Path,
    still: Registry,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One placement is made at once, so there is a point; the others come with their modules."""
    there, later = modules.load(SHOP).__name__, modules.write(SHOP)
    service = Service(tmp_path / "plan.json", still)
    rules = {"shop.later": "raise(LookupError)", "shop.l*": "off", "own.point": "off"}
    service.write({f"{there}:plain": "shop.there", f"{later}:plain": "shop.later"}, **rules)
    service.start(points="shop.latr=off")
    assert warnings(caplog) == []  # nor of the points of the program, none of which is there yet
    why = {one.point: one.why for one in states(still.engine, still.rules())}
    assert (
        why["shop.later"]
        == why["shop.l*"]
        == (f"point 'shop.later' is not placed yet: the plan puts it on '{later}:plain'")
    )
    clock.advance(10)
    still.engine.remind()
    assert sorted(warnings(caplog)) == [
        "no point is named 'own.point' yet: the rule waits for one (armed by file)",
        "no point is named 'shop.latr' yet: the rule waits for one; the nearest: shop.later, "
        "shop.there (armed by env)",
    ]
    importlib.import_module(later)
    with pytest.raises(LookupError):
        sys.modules[later].plain()
    caplog.clear()
    config.stop()  # a run may end before the reminder
    ended = [said for said in warnings(caplog) if "no point is named" in said]
    assert len(ended) == 2
    assert not any("shop.later=raise" in said for said in warnings(caplog))


def test_a_placement_added_later_reaches_a_module_imported_long_ago(
    modules: Modules, service: Service
) -> None:
    shop = modules.load(SHOP)
    service.write({}, shop="raise(LookupError)")
    service.start()
    assert shop.plain() == 1
    service.write({f"{shop.__name__}:plain": "shop"}, shop="raise(LookupError)")
    assert service.turn()
    with pytest.raises(LookupError):
        shop.plain()
    service.write({}, shop="raise(LookupError)")
    assert service.turn()
    with pytest.raises(LookupError):
        shop.plain()


def test_a_wrong_placement_refuses_no_rule(
    modules: Modules, service: Service, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    shop = modules.load(SHOP)
    service.write({f"{shop.__name__}:plane": "shop"}, other="off")
    service.start()
    assert [rule.text for rule in registry.rules()] == ["other=off"]
    assert any("did you mean 'plain'?" in said for said in warnings(caplog))


def test_a_file_whose_rules_are_refused_places_nothing(
    modules: Modules, service: Service, registry: Registry
) -> None:
    shop = modules.load(SHOP)
    service.write({f"{shop.__name__}:plain": "shop"}, shop="raise(LookupErrr)")
    service.start()
    assert registry.find("shop") is None


def test_the_variable_cannot_place_points(
    service: Service, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    service.write({})
    service.start(points='{"rules": ["a=off"], "placements": {"shop:charge": "a"}}')
    assert registry.rules() == ()
    assert any("only the plan file may have placements" in said for said in warnings(caplog))


def test_the_pollers_thread_looks_for_what_came_in_other_ways(
    modules: Modules, tmp_path: Path
) -> None:
    from threading import Event

    from chaospoint.sources.poller import Poller

    looked = Event()
    poller = Poller(
        tmp_path / "none.json",
        lambda _: None,
        lambda _: None,
        lambda *_: None,
        after_round=looked.set,
        interval_seconds=0.001,
    )
    poller.rounds.start()
    assert looked.wait(10)
    poller.rounds.stop()


def test_the_sources_look_each_round(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.write({})
    service.start()
    service._poller.rounds.stop()
    looks: list[Placements] = []
    monkeypatch.setattr(Placements, "look", lambda one: looks.append(one))
    service._poller._round()
    running = config._running
    assert running is not None
    assert looks == [running._sources._placements]


def test_what_was_never_imported_is_said_at_the_end_of_a_short_program(
    modules: Modules, placements: Placements, caplog: pytest.LogCaptureFixture
) -> None:
    name = modules.load("").__name__
    placements.put({f"{name.replace('placed', 'plaxed')}:charge": "shop.it"})
    placements.end()
    [record] = caplog.records
    assert name in record.getMessage(), "the nearest there is"
