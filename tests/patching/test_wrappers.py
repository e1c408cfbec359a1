"""Decorators above and below a point, and mocks around it, work as they do without one."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from helpers import Boom, finish
from patching_kit import ARMED, STATES, labelled, patched, state

import chaospoint
from chaospoint import Registry

every_state = pytest.mark.parametrize("name", STATES)
cached = pytest.mark.parametrize("cache", [functools.lru_cache, functools.cache])


# -- caches ------------------------------------------------------------------------------


@every_state
@cached
def test_a_cache_above_the_point_answers_without_reaching_it(
    registry: Registry, name: str, cache: Any
) -> None:
    called = []

    @cache
    @labelled(registry)
    def slow(a: int) -> int:
        called.append(a)
        return 2 * a

    with state(registry, name) as armed:
        assert [slow(1), slow(1), slow(2)] == [2, 2, 4]
        assert called == [1, 2]
        assert slow.cache_info().hits == 1
        assert {handle.reaches for handle in armed} <= {2}


@cached
def test_a_failure_below_a_cache_is_not_cached(registry: Registry, cache: Any) -> None:
    slow = cache(registry.point("p")(lambda a: 2 * a))
    with chaospoint.armed("p", registry=registry, exception=Boom, times=1):
        with pytest.raises(Boom):
            slow(1)
        assert slow(1) == 2


@cached
def test_a_point_above_a_cache_is_reached_by_every_call(registry: Registry, cache: Any) -> None:
    slow = registry.point("p")(cache(lambda a: 2 * a))
    assert [slow(1), slow(1)] == [2, 2]
    with chaospoint.armed("p", registry=registry, exception=Boom, times=1) as armed:
        with pytest.raises(Boom):
            slow(1)
        assert slow(1) == 2
        assert armed.reaches == 2
    assert slow.cache_info().hits == 2
    slow.cache_clear()
    assert slow.cache_info().hits == 0


@every_state
def test_a_cached_property_is_worked_out_once(registry: Registry, name: str) -> None:
    class Thing:
        made = 0

        @functools.cached_property
        @labelled(registry)
        def size(self) -> int:
            """Say."""
            self.made += 1
            return 4

        @property
        @labelled(registry)
        def width(self) -> int:
            return self.made

        @width.setter
        @labelled(registry)
        def width(self, value: int) -> None:
            self.made = value

    thing = Thing()
    with state(registry, name) as armed:
        assert (thing.size, thing.size, thing.made, thing.width) == (4, 4, 1, 1)
        assert Thing.size.__doc__ == "Say."
        thing.width = 9
        assert thing.width == 9
        assert {handle.reaches for handle in armed} <= {4}


# -- functools ---------------------------------------------------------------------------


@every_state
def test_single_dispatch_finds_decorated_implementations(registry: Registry, name: str) -> None:
    point = labelled(registry)

    @functools.singledispatch
    @point
    def show(value: object) -> str:
        return "something"

    @show.register
    @point
    def _(value: int) -> str:
        return "a number"

    @show.register(list)
    @point
    def _(value: Any) -> str:
        return "a list"

    class Shower:
        @functools.singledispatchmethod
        @point
        def show(self, value: object) -> str:
            return "something"

        @show.register
        @point
        def _(self, value: int) -> str:
            return "a number"

    with state(registry, name) as armed:
        assert [show(1), show([]), show("")] == ["a number", "a list", "something"]
        assert [Shower().show(1), Shower().show("")] == ["a number", "something"]

        @show.register  # while armed, by its annotation
        @point
        def _(value: bytes) -> str:
            return "bytes"

        assert show(b"") == "bytes"
        assert {handle.reaches for handle in armed} <= {6}
    assert [show(1), show([]), show(b"")] == ["a number", "a list", "bytes"]


@every_state
def test_partials_made_at_any_time_reach_the_point(registry: Registry, name: str) -> None:
    point = labelled(registry)

    @point
    def add(a: int, b: int, *, c: int = 0) -> int:
        return a + b + c

    class Thing:
        @point
        def add(self, a: int, b: int) -> int:
            return a + b

        add_one = functools.partialmethod(add, 1)

    before = functools.partial(add, 1, c=3)
    with state(registry, name) as armed:
        during = functools.partial(add, 1, c=3)
        assert inspect.signature(before) == inspect.signature(during)
        assert [before(2), during(2), Thing().add_one(2)] == [6, 6, 3]
        assert functools.reduce(add, [1, 2, 3]) == 6
        assert sorted([2, 1], key=functools.cmp_to_key(lambda a, b: add(a, -b))) == [1, 2]
        assert {handle.reaches for handle in armed} <= {6, 7}
    assert [before(2), during(2)] == [6, 6]


def shouting(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return f"{function(*args, **kwargs)}!"

    return wrapper


@every_state
def test_wrappers_made_at_any_time_reach_the_point_once(registry: Registry, name: str) -> None:
    @labelled(registry)
    def greet(who: str = "you") -> str:
        """Greet."""
        return f"hello {who}"

    before = shouting(greet)
    with state(registry, name) as armed:
        during = shouting(greet)
        for wrapper in (before, during):
            assert wrapper("me") == "hello me!"
            assert inspect.signature(wrapper) == inspect.signature(greet)
            assert inspect.unwrap(wrapper) is greet
            assert vars(wrapper) == {"__wrapped__": greet}
            assert not patched(wrapper)
        assert {handle.reaches for handle in armed} <= {2}


@every_state
def test_points_on_a_wrapper_and_on_the_wrapped_function(registry: Registry, name: str) -> None:
    inner, outer = registry.point("p.inner"), registry.point("p.outer")

    @outer
    @shouting
    @inner
    def greet() -> str:
        return "hello"

    with state(registry, name if name != "asks" else "armed", "p.*") as armed:
        assert greet() == "hello!"
        assert {handle.reaches for handle in armed} <= {2}


@pytest.mark.parametrize("name", ARMED)
def test_a_copy_of_the_code_made_while_armed_passes_calls_through_after_disarming(
    registry: Registry, name: str
) -> None:
    """It has the trampoline, and nobody knows of it; it reaches while the same rules stand."""

    @labelled(registry)
    def function(a: int = 3) -> int:
        return a

    with state(registry, name) as armed:
        copied = types.FunctionType(function.__code__, globals(), "copied", (4,))
        assert copied() == 4
        assert {handle.reaches for handle in armed} == {1}
    assert patched(copied)
    assert not patched(function)
    assert [copied(), copied(5), function()] == [4, 5, 3]
    with chaospoint.armed("p", registry=registry, exception=Boom) as again:
        assert copied() == 4
        with pytest.raises(Boom):
            function()
        assert again.reaches == 1
    labelled(registry)(copied)  # known from now on
    with chaospoint.armed("p", registry=registry, exception=Boom), pytest.raises(Boom):
        copied()
    assert (copied(), patched(copied)) == (4, False)


# -- mocks -------------------------------------------------------------------------------


class Shop:
    """Has something to patch."""

    def charge(self, order: str, *, amount: int = 1) -> str:
        return f"{order} {amount}"

    async def acharge(self, order: str) -> str:
        return order


@pytest.fixture
def shop(registry: Registry) -> Iterator[Shop]:
    point = labelled(registry)
    kept = dict(vars(Shop))
    point(Shop.charge)
    point(Shop.acharge)
    yield Shop()
    assert dict(vars(Shop)) == kept
    assert not patched(Shop.charge)


@every_state
def test_a_mock_put_on_in_any_state_hides_the_point_and_gives_it_back(
    registry: Registry, shop: Shop, name: str
) -> None:
    with state(registry, name) as armed:
        with mock.patch.object(Shop, "charge", return_value="mocked") as mocked:
            assert shop.charge("a") == "mocked"
            mocked.assert_called_once_with("a")
        assert {handle.reaches for handle in armed} <= {0}
        assert shop.charge("a", amount=2) == "a 2"
        with mock.patch(f"{__name__}.Shop.charge", new=str.upper):
            assert Shop.charge("a") == "A"
        assert {handle.reaches for handle in armed} <= {1}


@every_state
def test_an_autospec_has_the_functions_signature(registry: Registry, shop: Shop, name: str) -> None:
    with state(registry, name):
        with mock.patch.object(Shop, "charge", autospec=True) as mocked:
            shop.charge("a", amount=3)
            mocked.assert_called_once_with(shop, "a", amount=3)
            with pytest.raises(TypeError, match="missing a required argument: 'order'"):
                shop.charge()
        spec = mock.create_autospec(Shop, instance=True)
        assert isinstance(spec.acharge, mock.AsyncMock)
        with pytest.raises(TypeError, match="unexpected keyword argument 'price'"):
            spec.charge("a", price=1)
        with mock.patch.object(Shop, "charge", wraps=shop.charge) as spy:
            assert shop.charge("b") == "b 1"
            spy.assert_called_once_with("b")


@every_state
def test_mocks_and_arming_overlap_in_every_order(registry: Registry, shop: Shop, name: str) -> None:
    patching = mock.patch.object(Shop, "charge", autospec=True, return_value="mocked")
    patching.start()
    with state(registry, name) as armed:
        assert shop.charge("a") == "mocked"
        patching.stop()  # undone while armed
        assert shop.charge("a") == "a 1"
        assert {handle.reaches for handle in armed} <= {1}
        patching.start()  # while armed, and undone after it
    assert shop.charge("a") == "mocked"
    patching.stop()
    assert shop.charge("a") == "a 1"
    assert finish(shop.acharge("b")) == "b"
