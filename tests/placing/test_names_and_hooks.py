"""A placement means the same by every name of a thing, and under every way to import it."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import os
import posix
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from helpers import Boom
from placing_kit import SHOP, Modules, Time, fails, warnings

from chaospoint import Registry, arm, armed
from chaospoint.errors import InvalidPlan
from chaospoint.placements.placing import PATIENCE_SECONDS, Placements
from chaospoint.plan import parse_plan

# Names of the same thing


WRITTEN = """
    import functools, wrapt

    @wrapt.decorator
    def traced(wrapped, instance, args, kwargs):
        try:
            return wrapped(*args, **kwargs)
        except Exception:
            failures.append(wrapped.__name__)
            raise
    failures = []

    def again(function):
        @functools.wraps(function)
        def twice(*args):
            try:
                return function(*args)
            except Exception:
                return function(*args)
        return twice

    def plain(): return 1

    @traced
    def instrumented(): return 1

    @again
    def retried(): return 1

    @functools.cache
    def cached(): return 1

    class Client:
        @traced
        def send(self): return 1
        @again
        def resend(self): return 1
        @traced
        @classmethod
        def of(cls): return 1
"""
NAMES = {
    "plain": lambda shop: shop.plain(),
    "instrumented": lambda shop: shop.instrumented(),
    "retried": lambda shop: shop.retried(),
    "cached": lambda shop: shop.cached(),
    "Client.send": lambda shop: shop.Client().send(),
    "Client.resend": lambda shop: shop.Client().resend(),
    "Client.of": lambda shop: shop.Client.of(),
}


@pytest.mark.parametrize("qualname", NAMES)
def test_a_public_name_is_placed_like_the_one_where_it_is_written(
    qualname: str, modules: Modules, placements: Placements, registry: Registry
) -> None:
    written = modules.load(WRITTEN)
    public = modules.load(f"from {written.__name__} import *")
    vars(public)["Client"].__module__ = public.__name__  # as httpx says of its public classes
    held = {name: dict(vars(module)) for name, module in [("a", written), ("b", public)]}
    placements.put({f"{public.__name__}:{qualname}": "a", f"{written.__name__}:{qualname}": "b"})
    assert held == {name: dict(vars(module)) for name, module in [("a", written), ("b", public)]}
    [a], [b] = registry.point("a").placements, registry.point("b").placements
    assert a == b
    for name in "ab":
        rule = arm(name, exception=Boom, times=1, registry=registry)
        # A retry is around the function that is written under the name.
        assert fails(partial(NAMES[qualname], written)) is ("re" not in qualname)
        assert rule.injections == 1
        rule.disarm()


def test_what_instruments_a_function_sees_the_fault_by_either_name(
    modules: Modules, placements: Placements, registry: Registry
) -> None:
    written = modules.load(WRITTEN)
    public = modules.load(f"from {written.__name__} import Client, instrumented")
    placements.put({f"{public.__name__}:Client.send": "a", f"{public.__name__}:instrumented": "a"})
    arm("a", exception=Boom, registry=registry)
    assert fails(public.Client().send)
    assert fails(public.instrumented)
    assert written.failures == ["send", "instrumented"]


def test_a_transport_that_opentelemetry_instrumented_has_its_span(
    placements: Placements, registry: Registry
) -> None:
    httpx = pytest.importorskip("httpx")
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.httpx")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = instrumentation.HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        placements.put({"httpx:HTTPTransport.handle_request": "http.send"})
        with (
            armed("http.send", exception=httpx.ConnectTimeout, registry=registry),
            pytest.raises(httpx.ConnectTimeout),
        ):
            httpx.get("http://127.0.0.1:9/")
        [span] = exporter.get_finished_spans()
        assert [event.name for event in span.events] == ["chaospoint.injection", "exception"]
    finally:
        instrumentor.uninstrument()


BUILTINS: dict[str, tuple[ModuleType, str]] = {
    "sqlite3:connect": (sqlite3, "connect"),
    "_sqlite3:connect": (sqlite3, "connect"),
    "os:fsync": (os, "fsync"),
    "posix:fsync": (os, "fsync"),
}


@pytest.mark.parametrize("name", BUILTINS)
def test_a_builtin_is_met_by_earlier_importers_under_each_name(
    name: str,
    modules: Modules,
    placements: Placements,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, attribute = BUILTINS[name]
    for holder in (os, posix, sqlite3, sqlite3.dbapi2, sys.modules["_sqlite3"]):
        if hasattr(holder, attribute):
            monkeypatch.setattr(holder, attribute, getattr(holder, attribute))  # and put back
    shop = modules.load(f"from {module.__name__} import {attribute} as mine")
    placements.put({name: "it"})
    arm("it", exception=Boom, registry=registry)
    assert fails(lambda: shop.mine(":memory:"))
    assert fails(lambda: getattr(module, attribute)(":memory:"))


def test_a_builtin_that_everybody_has_is_replaced_in_the_named_module_alone(
    modules: Modules, placements: Placements, registry: Registry
) -> None:
    shop = modules.load("len = len\nabs = abs")
    other = modules.load("len = len")
    placements.put({f"{shop.__name__}:len": "it"})
    arm("it", exception=Boom, registry=registry)
    assert fails(lambda: shop.len(""))
    assert other.len("") == len("") == 0


def test_two_points_on_one_builtin_are_said_once_each(
    modules: Modules,
    placements: Placements,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "chaospoint")
    for holder in (os, posix):
        monkeypatch.setattr(holder, "fsync", os.fsync)
    placements.put({"os:fsync": "a", "posix:fsync": "b"})
    placements.look()
    assert len([one for one in caplog.messages if "is in place" in one]) == 2


# Methods of types in C


def test_a_method_that_a_class_inherits_from_a_type_in_c_is_replaced_in_the_class(
    placements: Placements, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "connect", socket.socket.connect)
    monkeypatch.delattr(socket.socket, "connect")  # and put back as it is: inherited
    placements.put({"socket:socket.connect": "it"})
    with socket.create_server(("127.0.0.1", 0)) as server:
        refused = ConnectionRefusedError
        with armed("it", exception=refused, registry=registry), pytest.raises(refused):
            socket.create_connection(server.getsockname())
        socket.create_connection(server.getsockname()).close()


def test_the_advice_for_a_method_in_c_works_when_followed(
    placements: Placements,
    registry: Registry,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket.socket, "connect", socket.socket.connect)
    monkeypatch.delattr(socket.socket, "connect")
    placements.put({"_socket:socket.connect": "it"})
    [said] = warnings(caplog)
    assert "name 'socket:socket.connect', or place the point on a function that calls it" in said
    placements.put({"socket:socket.connect": "it"})
    assert len(warnings(caplog)) == 1
    assert registry.point("it").placements == ("socket.connect (function, wrapped)",)


def test_a_method_that_nothing_can_replace_is_said_so(
    placements: Placements, caplog: pytest.LogCaptureFixture
) -> None:
    placements.put({"sqlite3:Connection.execute": "a"})
    [said] = warnings(caplog)
    assert "immutable type 'sqlite3.Connection', which is written in C: place the point on" in said


# Advice


ADVICE: dict[str, tuple[str, str | None]] = {
    "Stock.inherited": ("Base.inherited", None),
    "stock.method": ("Stock.method", None),
    "Stock": ("Stock.method", None),
    "Stok.method": ("Stock.method", None),
    "Stock.__init__": ("Stock.method", "name a method that the class defines"),
}


@pytest.mark.parametrize("wrong", ADVICE)
def test_what_is_advised_can_be_placed(
    wrong: str,
    modules: Modules,
    placements: Placements,
    registry: Registry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = modules.load(SHOP)
    right, words = ADVICE[wrong]
    placements.put({f"{shop.__name__}:{wrong}": "it"})
    [said] = warnings(caplog)
    quoted = right.rpartition(".")[0] if "did you mean" in said or "…" in said else right
    assert (words or quoted) in said
    caplog.clear()
    placements.put({f"{shop.__name__}:{right}": "it"})
    assert warnings(caplog) == []
    assert len(registry.point("it").placements) == 1


def test_a_base_that_cannot_be_named_is_not_advised(
    modules: Modules, placements: Placements, caplog: pytest.LogCaptureFixture
) -> None:
    shop = modules.load("""
        def made():
            class Base:
                def charge(self): return 1
            return Base
        class Bank(made()): pass
    """)
    placements.put({f"{shop.__name__}:Bank.charge": "it"})
    [said] = warnings(caplog)
    assert "override it, or decorate it in that class" in said
    assert "<locals>.Base.charge" not in said


LAZY = """
    def __getattr__(name):
        if name == "Pool":
            from {inner} import Pool
            globals()["Pool"] = Pool
            return Pool
        raise AttributeError(name)
"""
POOL = "class Pool:\n    def submit(self): return 1"


def test_a_name_that_a_module_makes_on_demand_is_placed_when_it_is_there(
    modules: Modules,
    placements: Placements,
    registry: Registry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    inner = modules.write(POOL)
    shop = modules.load(LAZY.format(inner=inner))
    placements.put({f"{shop.__name__}:Pool.submit": "it"})
    assert (warnings(caplog), inner in sys.modules) == ([], False)
    pool = shop.Pool()
    placements.look()
    [said] = warnings(caplog)
    assert "was placed while the program ran, so earlier calls did not reach it" in said
    assert f"name the module that defines it, {inner!r}" in said
    arm("it", exception=Boom, registry=registry)
    assert fails(pool.submit)


@pytest.mark.skipif(sys.version_info < (3, 15), reason="`lazy import` is new in 3.15")
def test_a_name_that_is_imported_lazily_is_not_imported_for_its_point(
    modules: Modules, placements: Placements, registry: Registry
) -> None:
    inner = modules.write(POOL)
    shop = modules.load(f"lazy from {inner} import Pool")
    placements.put({f"{shop.__name__}:Pool.submit": "it"})
    assert inner not in sys.modules
    pool = shop.Pool()
    placements.look()
    arm("it", exception=Boom, registry=registry)
    assert fails(pool.submit)


@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "ends"])
def test_a_name_that_a_module_never_makes_is_said(
    ends: bool,
    modules: Modules,
    placements: Placements,
    time: Time,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = modules.load(LAZY.format(inner="nowhere"))
    placements.put({f"{shop.__name__}:Pool.submit": "it"})
    if ends:
        placements.end()
    for time.now in (PATIENCE_SECONDS, 100.0):
        placements.look()
    [said] = warnings(caplog)
    assert "has no 'Pool' yet, and may create it on access: name the module" in said


def python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_the_advice_for_a_lazy_name_of_the_standard_library_works(
    placements: Placements, registry: Registry
) -> None:
    """The command that the message shows prints the module, and that can be placed."""
    reason = python(
        "import concurrent.futures; from chaospoint.placements.targets import find; "
        "found = find(concurrent.futures, 'concurrent.futures', 'ThreadPoolExecutor.submit'); "
        "print(found.on_demand, found.reason)"
    )
    assert reason.startswith("True module 'concurrent.futures' has no 'ThreadPoolExecutor' yet")
    command = reason.split("`")[1]
    assert command.startswith("python -c '")
    program = command.removeprefix("python -c '").removesuffix("'")
    name = f"{python(program)}:ThreadPoolExecutor.submit"
    from concurrent.futures.thread import ThreadPoolExecutor

    placements.put({name: "it"})
    arm("it", exception=Boom, registry=registry)
    with ThreadPoolExecutor(1) as pool, pytest.raises(Boom):
        pool.submit(int)


def test_a_module_that_is_installed_and_not_imported_is_no_mistake(
    placements: Placements,
    modules: Modules,
    time: Time,
    caplog: pytest.LogCaptureFixture,
    registry: Registry,
) -> None:
    caplog.set_level(logging.INFO, "chaospoint")
    name = modules.write("def get(): return 1")
    placements.put({f"{name}:get": "it", "rediss:get": "other"})
    time.now = PATIENCE_SECONDS
    placements.look()
    mine, other = caplog.records
    words = f"{name!r} is installed, and the point is placed after its import"
    assert words in mine.getMessage()
    assert mine.levelno == logging.INFO
    assert "'dis'" not in other.getMessage()
    shop = importlib.import_module(name)
    arm("it", exception=Boom, registry=registry)
    assert fails(shop.get)


@pytest.mark.parametrize("value", [{"point": "a.b"}, ["a.b"], 7, None, "", "a..b", "a b"])
def test_a_point_that_is_not_a_name_gets_advice_that_is_accepted(value: Any) -> None:
    with pytest.raises(InvalidPlan) as caught:
        parse_plan({"rules": [], "placements": {"shop:charge": value}})
    assert "glob" not in str(caught.value)
    advised = str(caught.value.cure).rpartition("such as ")[2]
    assert parse_plan({"rules": [], "placements": {"shop:charge": advised}}).placements


# Import hooks


class Loader(importlib.abc.Loader):
    """Executes what another loader has, as one that rewrites it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: Any) -> Any:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._loader.get_code(module.__name__), vars(module))
        vars(module)["rewritten"] = True


class Hook:
    """Takes every import of some modules, as the hooks of pytest and typeguard do."""

    def __init__(self, names: list[str], loader: Callable[[Any], Any]) -> None:
        self._names = names
        self._loader = loader

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> Any:
        if name not in self._names:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path)
        assert found is not None
        return importlib.util.spec_from_loader(name, self._loader(found.loader))


@pytest.fixture
def meta_path() -> Iterator[None]:
    before = [*sys.meta_path]
    yield
    sys.meta_path[:] = before


def hooked(names: list[str]) -> Hook:
    return Hook(names, Loader)


@pytest.mark.usefixtures("meta_path")
@pytest.mark.parametrize("before", [True, False], ids=["hook first", "placement first"])
def test_a_module_that_an_import_hook_loads_has_its_point_when_it_is_imported(
    before: bool, modules: Modules, placements: Placements, registry: Registry
) -> None:
    name = modules.write("def charge(): return 1")
    if before:
        sys.meta_path.insert(0, hooked([name]))
    placements.put({f"{name}:charge": "it"})
    if not before:
        sys.meta_path.insert(0, hooked([name]))
    shop = importlib.import_module(name)
    assert shop.rewritten
    assert registry.point("it").placements == (f"{name}:charge (function)",)
    assert type(shop.__loader__) is Loader
    assert shop.__spec__ is not None
    assert type(shop.__spec__.loader) is Loader


@pytest.mark.usefixtures("meta_path")
def test_a_list_of_finders_that_somebody_replaced_is_taken_over_by_the_next_placement(
    modules: Modules, placements: Placements, registry: Registry
) -> None:
    theirs = [*sys.meta_path]
    before = sys.meta_path
    sys.meta_path = theirs
    try:
        name = modules.write("def charge(): return 1")
        placements.put({f"{name}:charge": "it"})
        sys.meta_path.insert(0, hooked([name]))
        importlib.import_module(name)
        assert registry.point("it").placements
        assert [*sys.meta_path].count(sys.meta_path[1]) == 1
    finally:
        sys.meta_path = before
