"""Functions go to other processes by their names as ever, and what is armed stays behind."""

from __future__ import annotations

import copy
import marshal
import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import cloudpickle
import patched_things
import pytest
from helpers import PATIENCE, finish, python
from patched_things import Basket, Coin, Counted
from patching_kit import ARMED, IDLE, STATES, function_of, labelled, patched, state

import chaospoint
from chaospoint import Registry

every_state = pytest.mark.parametrize("name", STATES)
METHODS = [
    name for name in ("spawn", "forkserver") if name in multiprocessing.get_all_start_methods()
]
NOT_BY_VALUE = "has a chaos point that is armed, so its code cannot be pickled by value"

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "function": patched_things.double,
    "coroutine": patched_things.adouble,
    "generator": patched_things.items,
    "async generator": patched_things.aitems,
}
METHODS_OF = (Basket(3).double, Basket.of, Basket.half, Basket.double, Coin.HEADS.shown)


@pytest.fixture
def here() -> Iterator[Registry]:
    """The registry of the module that other processes import."""
    yield patched_things.HERE
    patched_things.HERE.disarm()


# -- by reference ------------------------------------------------------------------------


@every_state
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_functions_are_pickled_by_their_names(here: Registry, name: str, protocol: int) -> None:
    with state(here, name if name != "asks" else "armed"):
        for function in FUNCTIONS.values():
            for module in (pickle, cloudpickle):
                data = module.dumps(function, protocol=protocol)
                assert pickle.loads(data) is function
                assert len(data) < 100


@every_state
def test_methods_and_instances_are_pickled(here: Registry, name: str) -> None:
    with state(here, name if name != "asks" else "armed"):
        for method in METHODS_OF:
            again = pickle.loads(pickle.dumps(method))
            assert function_of(again) is function_of(method)
            assert type(again) is type(method)
        basket = pickle.loads(pickle.dumps(Basket(4)))
        assert (basket, basket.double()) == (Basket(4), 8)
        assert pickle.loads(pickle.dumps(Coin.HEADS)) is Coin.HEADS
        assert pickle.loads(pickle.dumps(Counted())).number == 20
        assert copy.copy(Counted()).number == 20


@every_state
def test_copies_of_a_function_are_the_function(registry: Registry, name: str) -> None:
    @labelled(registry)
    def function() -> int:
        return 7

    with state(registry, name):
        assert copy.copy(function) is copy.deepcopy(function) is function
        assert copy.deepcopy({"call": function})["call"]() == 7


# -- other processes ---------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_new_process_is_not_armed(here: Registry, method: str) -> None:
    context = multiprocessing.get_context(method)
    with chaospoint.armed("p", registry=here, returns="armed") as armed:
        assert patched_things.double(3) == "armed"
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            calls = {
                "where": pool.submit(patched_things.where, 3),
                "double": pool.submit(patched_things.double, 3),
                "method": pool.submit(Basket(4).double),
                "class method": pool.submit(Basket.of, 5),
                "static method": pool.submit(Basket.half, 8),
                "enum": pool.submit(Coin.HEADS.shown),
                "armed there": pool.submit(patched_things.count_while_armed, 6),
            }
            said = {kind: call.result(PATIENCE) for kind, call in calls.items()}
        doubled, pid, is_armed, rules = said.pop("where")
        assert (doubled, is_armed, rules) == (6, False, 0)
        assert pid != os.getpid()
        assert said == {
            "double": 6,
            "method": 8,
            "class method": Basket(5),
            "static method": 4,
            "enum": "heads",
            "armed there": (12, 1),
        }
        assert armed.reaches == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_decorated_function_is_the_target_of_a_process(here: Registry, method: str) -> None:
    context = multiprocessing.get_context(method)
    with chaospoint.armed("p", registry=here, exception=OSError) as armed:
        process = context.Process(target=patched_things.double, args=(3,))
        process.start()
        process.join(PATIENCE)
        assert process.exitcode == 0
        assert armed.reaches == 0


# -- by value ----------------------------------------------------------------------------


def closure(point: Any, kind: str) -> Callable[[int], Any]:
    kept = 3

    def function(a: int, *, k: int = 2) -> int:
        return a + k + kept

    async def coroutine(a: int, *, k: int = 2) -> int:
        return a + k + kept

    def generator(a: int, *, k: int = 2) -> Iterator[int]:
        yield a + k + kept

    made = {"function": function, "coroutine": coroutine, "generator": generator}[kind]
    decorated: Callable[[int], Any] = point(made)
    return decorated


@pytest.mark.parametrize("kind", ["function", "coroutine", "generator"])
@pytest.mark.parametrize("name", ["never armed", "disarmed"])
def test_a_closure_is_pickled_by_value_while_disarmed(
    registry: Registry, kind: str, name: str
) -> None:
    made = closure(labelled(registry), kind)
    with state(registry, name):
        data = cloudpickle.dumps(made)
    with chaospoint.armed("p", registry=registry, latency=0) as armed:
        again = pickle.loads(data)
        assert not patched(again)
        assert finish(again(1)) == 6
        assert armed.reaches == 0
        assert finish(made(1)) == 6
        assert armed.reaches == 1


@pytest.mark.parametrize("kind", ["function", "coroutine", "generator"])
@pytest.mark.parametrize("name", ARMED)
def test_pickling_a_closure_by_value_while_armed_raises_a_clear_error(
    registry: Registry, kind: str, name: str
) -> None:
    """Its code holds what is armed in this process: locks, counters, a context variable."""
    made = closure(labelled(registry), kind)
    with state(registry, name):
        with pytest.raises(TypeError, match=NOT_BY_VALUE) as refusal:
            cloudpickle.dumps(made)
        assert made.__qualname__ in str(refusal.value)
        assert finish(made(1)) == 6
    assert finish(pickle.loads(cloudpickle.dumps(made))(1)) == 6


def test_a_function_of_the_main_module_is_pickled_by_value_too() -> None:
    said = python(
        """
        import pickle
        import chaospoint, cloudpickle

        @chaospoint.point("p")
        def double(number):
            return 2 * number

        class Home:
            @chaospoint.point("p")
            def double(self, number):
                return double(number)

        for thing in (double, Home, Home()):
            with chaospoint.armed("p", latency=0):
                assert pickle.loads(pickle.dumps(thing)) is not None  # by name, here
                try:
                    cloudpickle.dumps(thing)
                except TypeError as error:
                    print(error)
        again = pickle.loads(cloudpickle.dumps(double))
        assert again is not double and again(4) == 8
        again = pickle.loads(cloudpickle.dumps(Home()))
        assert again.double(4) == 8
        """,
        "-W",
        "ignore",
    ).stdout
    assert said.count(NOT_BY_VALUE) == 3
    assert "double has a chaos point" in said
    assert "Home.double has a chaos point" in said


@pytest.mark.parametrize("name", ARMED)
def test_code_is_not_marshalled_while_armed(registry: Registry, name: str) -> None:
    def function() -> int:
        return 7

    labelled(registry)(function)
    data = marshal.dumps(function.__code__)
    with state(registry, name), pytest.raises(ValueError, match="unmarshallable"):
        marshal.dumps(function.__code__)
    assert marshal.loads(data) == function.__code__
    assert marshal.dumps(function.__code__)


@pytest.mark.parametrize("name", [*IDLE, "acts"])
def test_another_interpreter_unpickles_what_was_pickled_while_armed(
    here: Registry, name: str
) -> None:
    with state(here, name if name != "asks" else "armed"):
        data = pickle.dumps((patched_things.double, Basket(2).double))
    said = python(
        f"""
        import pickle
        function, method = pickle.loads({data!r})
        print(function(4), method())
        """,
    )
    assert said.stdout.split() == ["8", "4"], sys.path
