"""Functions come and go while their point is armed: each is found, and nothing of it is kept."""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import signal
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE, Boom, python, run
from patching_kit import ARMED, STATES, labelled, patched, state

import chaospoint
from chaospoint import Registry
from chaospoint._patching import site

every_state = pytest.mark.parametrize("name", STATES)


def sites(registry: Registry) -> int:
    """Return how many sites the points of a registry have, those of the dead left out."""
    with site.arming_lock:
        site.sweep()
    return sum(len(point.core.sites) for point in registry.points())


# -- held by others ----------------------------------------------------------------------


@every_state
def test_every_reference_to_the_function_reaches_the_point(registry: Registry, name: str) -> None:
    """``from shop import charge`` before arming, tables, callbacks, all of them."""
    called: list[str] = []

    @labelled(registry)
    def charge(how: str = "plain") -> None:
        called.append(how)

    module = types.ModuleType("shop")
    module.charge = charge
    table = {"charge": charge}
    space: dict[str, Any] = {}
    sys.modules["shop_of_test"] = module
    try:
        exec("from shop_of_test import charge", space)
    finally:
        del sys.modules["shop_of_test"]

    class Dying:
        pass

    dying = Dying()
    weakref.finalize(dying, charge, "finalize")
    timer = threading.Timer(0, charge, ["timer"])

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        loop.call_soon(charge, "call_soon")
        loop.call_later(0, charge, "call_later")
        loop.call_soon_threadsafe(charge, "threadsafe")
        task = loop.create_task(asyncio.to_thread(charge, "to_thread"))
        task.add_done_callback(lambda _: done.set())
        await done.wait()
        await loop.run_in_executor(None, charge, "executor")

    before = signal.signal(signal.SIGUSR1, lambda *_: charge("signal"))
    try:
        with state(registry, name) as armed:
            table["charge"]("table")
            space["charge"]("imported")
            module.charge("module")
            del dying
            timer.start()
            timer.join(PATIENCE)
            signal.raise_signal(signal.SIGUSR1)
            list(map(charge, ["map"]))
            run(main())
            # A timer and an executor do not copy the context.
            elsewhere = 2 if name == "scoped" else 0
            assert {handle.reaches for handle in armed} <= {len(called) - elsewhere}
    finally:
        signal.signal(signal.SIGUSR1, before)
    by_hand = ["table", "imported", "module", "finalize", "timer", "signal", "map"]
    by_loop = ["call_soon", "call_later", "threadsafe", "to_thread", "executor"]
    assert sorted(called) == sorted(by_hand + by_loop)


def test_a_handler_of_signals_that_is_decorated_itself(registry: Registry) -> None:
    seen = []

    @registry.point("p")
    def handler(number: int, frame: types.FrameType | None) -> None:
        seen.append((number, frame is not None and frame.f_code.co_name))

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert signal.getsignal(signal.SIGUSR1) is handler
        with chaospoint.armed("p", registry=registry, latency=0, when="after") as armed:
            signal.raise_signal(signal.SIGUSR1)
        with (
            chaospoint.armed("p", registry=registry, exception=Boom),
            pytest.raises(Boom),
        ):
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    here = "test_a_handler_of_signals_that_is_decorated_itself"
    assert (seen, armed.injections) == ([(signal.SIGUSR1, here)], 1)


def test_exit_functions_of_the_program_reach_the_point() -> None:
    said = python(
        """
        import atexit, threading
        import chaospoint

        @chaospoint.point("p")
        def last(word):
            print(word, armed.reaches)

        class Dying:
            @chaospoint.point("p")
            def __del__(self):
                last("del")

        atexit.register(last, "atexit")
        threading._register_atexit(last, "threads are done")
        kept = Dying()
        armed = chaospoint.arm("p", latency=0)
        """
    ).stdout
    assert said.splitlines()[:2] == ["threads are done 1", "atexit 2"]


# -- gone --------------------------------------------------------------------------------


@every_state
def test_thousands_of_nested_functions_leave_nothing(registry: Registry, name: str) -> None:
    point = labelled(registry)
    with state(registry, name) as armed:
        before = sites(registry)
        reaches = 0
        for n in range(2000):

            @point
            def nested(a: int, *, k: int = n) -> int:
                return a + k

            if n % 100 == 0:
                assert nested(1) == n + 1
                reaches += 1
        seen = weakref.ref(nested)
        del nested
        assert seen() is None
        assert sites(registry) == before
        assert {handle.reaches for handle in armed} <= {reaches}
    assert len(point.core.sites) <= 1


@every_state
def test_a_class_that_is_deleted_leaves_nothing(registry: Registry, name: str) -> None:
    point = labelled(registry)

    class Base:
        @point
        def plain(self) -> int:
            return 1

        @classmethod
        @point
        def made(cls) -> Any:
            return cls()

    with state(registry, name):
        assert Base.made().plain() == 1
        seen = weakref.ref(Base), weakref.ref(Base.plain)
        del Base
        gc.collect()
        assert [one() for one in seen] == [None, None]
        assert sites(registry) == 0


@pytest.mark.parametrize("name", ARMED)
@pytest.mark.parametrize("kind", ["class cell", "recursive", "holds itself"])
def test_a_function_that_refers_to_itself_is_kept_until_it_is_disarmed(
    registry: Registry, name: str, kind: str
) -> None:
    """The garbage collector does not see into code, where the clone is kept while armed."""
    point = labelled(registry)

    def make() -> Any:
        if kind == "class cell":

            class Child(dict):
                @point
                def __len__(self) -> int:
                    return super().__len__()

            assert len(Child(a=1)) == 1
            return Child.__len__

        if kind == "recursive":

            @point
            def down(n: int) -> int:
                return n and down(n - 1)

            assert down(3) == 0
            return down

        def held() -> object:
            return kept

        kept = [held]
        return point(held)

    with state(registry, name):
        seen = weakref.ref(make())
        gc.collect()
        assert seen() is not None
    gc.collect()
    assert seen() is None
    assert sites(registry) == 0


@every_state
def test_arguments_results_and_errors_are_released(registry: Registry, name: str) -> None:
    class Thing:
        pass

    @labelled(registry)
    def function(thing: Any, *rest: Any, **named: Any) -> Any:
        if named.get("fails"):
            raise Boom
        return Thing()

    gc.collect()
    gc.disable()
    try:
        with state(registry, name):
            thing = Thing()
            seen = [weakref.ref(thing), weakref.ref(function(thing, thing, named=thing))]
            with pytest.raises(Boom):
                function(thing, fails=True)
            del thing
            if name in ARMED:
                gc.collect()  # of the error's own frames
            assert [one() for one in seen] == [None, None]
    finally:
        gc.enable()


# -- made anew ---------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Any]]:
    """Write a module of this version, and return it imported, or reloaded."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "reloaded_shop.py"

    def load(version: int) -> Any:
        file.write_text(
            "from chaospoint import Registry\n"
            "try:\n    REGISTRY\nexcept NameError:\n    REGISTRY = Registry()\n"
            f"@REGISTRY.point('p', labels={{'tenant': 'acme'}})\ndef charge(): return {version}\n"
        )
        importlib.invalidate_caches()
        known = sys.modules.get("reloaded_shop")
        return importlib.reload(known) if known else importlib.import_module("reloaded_shop")

    yield load
    shop = sys.modules.pop("reloaded_shop")
    shop.REGISTRY.engine.housekeeper.stop()


@pytest.mark.parametrize("name", ARMED)
def test_a_module_that_is_reloaded_while_armed(module: Callable[[int], Any], name: str) -> None:
    shop = module(1)
    old = shop.charge
    with state(shop.REGISTRY, name) as armed:
        assert module(22) is shop
        new = shop.charge
        assert (old(), new(), patched(old), patched(new)) == (1, 22, True, True)
        assert {handle.reaches for handle in armed} == {2}
        assert len(shop.REGISTRY.point("p").placements) == 2
        seen = weakref.ref(old)
        del old
        assert seen() is None
        assert len(shop.REGISTRY.point("p").placements) == 1
    assert (shop.charge(), patched(shop.charge)) == (22, False)


def test_a_generator_that_was_begun_goes_on_whatever_is_armed_or_disarmed(
    registry: Registry,
) -> None:
    @registry.point("p")
    def items(n: int) -> Iterator[int]:
        yield from range(n)

    before = items(3)
    assert next(before) == 0
    with chaospoint.armed("p", registry=registry, latency=0, when="after") as armed:
        during = items(3)
        assert [next(before), next(during)] == [1, 0]
    assert [list(before), list(during)] == [[2], [1, 2]]
    assert armed.reaches == 0
    closing = functools.partial(items, 3)
    with chaospoint.armed("p", registry=registry, latency=0):
        made = closing()
        assert next(made) == 0
    made.close()
    assert list(made) == []
