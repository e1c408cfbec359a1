"""Points as blocks and statements, and what is wrong use of them."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import chaospoint
from chaospoint import InjectedFault, Registry
from chaospoint._kernel import search
from chaospoint._kernel.point import ArmedPoint, LabelledPoint, Point
from chaospoint.errors import ChaosWarning, InvalidPoint
from chaospoint.testing import FakeClock

from .kit import Boom, Does, Witness, answers, raises, rule, run_coroutine, sleeps, turn

PASS = Does("off", ())


def arm(registry: Registry, *terms: Any) -> Any:
    return registry.install(terms, source="test")


# -- getting points ----------------------------------------------------------------------


def test_a_point_of_a_name_is_always_the_same_object(registry: Registry) -> None:
    point = registry.point("a.b")
    assert registry.point("a.b") is point
    assert registry.find("a.b") is point
    assert registry.find("a.c") is None
    assert chaospoint.point("a.b", registry=registry) is point
    assert Registry().point("a.b") is not point


def test_many_threads_get_the_same_point(registry: Registry, pool: ThreadPoolExecutor) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for n in range(50):
            made = list(pool.map(lambda _, n=n: registry.point(f"p{n}"), range(16)))
            assert len(set(map(id, made))) == 1
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("name", ["p", "payment.charge", "a-b.c_d.9", "-", "0"])
def test_good_names(registry: Registry, name: str) -> None:
    assert registry.point(name).name == name


@pytest.mark.parametrize(
    "name",
    ["", "Payment", "a b", "a..b", ".a", "a.", "a/b", "größe", "a*", "a\n", "a.b\n", 1, None, b"a"],
)
def test_bad_names_are_refused_with_the_cure(registry: Registry, name: Any) -> None:
    with pytest.raises(InvalidPoint, match="lower-case letters, digits, '_' and '-'") as caught:
        registry.point(name)
    assert repr(name) in str(caught.value)
    assert registry.points() == ()


def test_a_decorator_without_a_name_raises_a_clear_error(registry: Registry) -> None:
    with pytest.raises(InvalidPoint, match=r"@chaospoint.point\('payment.charge'\)"):

        @registry.point
        def function() -> None:
            pass


def test_an_unhashable_name_is_a_bad_name(registry: Registry) -> None:
    with pytest.raises(InvalidPoint):
        registry.point(["p"])


def test_points_come_by_name(registry: Registry) -> None:
    for name in ("b", "a.c", "a"):
        registry.point(name)
    assert [point.name for point in registry.points()] == ["a", "a.c", "b"]


def test_repr_says_whether_it_is_armed(registry: Registry) -> None:
    point = registry.point("p")
    assert repr(point) == "<Point 'p'>"
    arm(registry, rule("p", PASS))
    assert repr(point) == "<Point 'p', armed>"
    assert repr(registry.point("p", labels={"a": 1})) == "<Point 'p', armed>"


# -- descriptions, labels, raises --------------------------------------------------------


def test_a_description_belongs_to_the_point(registry: Registry) -> None:
    point = registry.point("p", description="the bank")
    assert registry.point("p").description == "the bank"
    assert registry.point("p", description="the bank") is point


def test_the_first_description_is_kept_whenever_it_comes(registry: Registry) -> None:
    registry.point("p")
    registry.point("p", description="the bank")
    assert registry.point("p").description == "the bank"


@pytest.mark.parametrize(
    "describe",
    [
        lambda registry, text: registry.point("p", description=text),
        lambda registry, text: chaospoint.point("p", description=text, registry=registry),
    ],
    ids=["registry.point", "chaospoint.point"],
)
def test_a_second_different_description_warns_where_it_is_written(
    registry: Registry, describe: Any
) -> None:
    registry.point("p", description="the bank")
    with pytest.warns(
        ChaosWarning, match="already has the description 'the bank'; 'a shop' was ignored"
    ) as caught:
        describe(registry, "a shop")
    assert registry.point("p").description == "the bank"
    assert caught[0].filename == __file__
    assert caught[0].lineno == describe.__code__.co_firstlineno


def test_a_light_point_carries_labels_and_raises_and_shares_the_rest(registry: Registry) -> None:
    point = registry.point("p", description="the bank")
    light = registry.point("p", labels={"tenant": "acme"}, raises=TimeoutError)
    assert light is not point
    assert type(light) is LabelledPoint
    assert (light.name, light.description) == ("p", "the bank")
    assert light.labels == {"tenant": "acme"}
    assert light.raises == (TimeoutError,)
    assert (point.labels, point.raises) == ({}, ())
    assert registry.point("p", raises=[OSError, KeyError]).raises == (OSError, KeyError)
    assert registry.points() == (point,)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"raises": "TimeoutError"}, "'TimeoutError', which is not an exc.*=TimeoutError"),
        ({"raises": ""}, "holds '', which is not an exception class"),
        (
            {"raises": ["TimeoutErr", OSError]},
            "holds 'TimeoutErr', which is not an exception class",
        ),
        ({"raises": [OSError, 5]}, "holds 5, which is not an exception class"),
        ({"raises": 5}, "holds 5, which is not an exception class"),
        ({"raises": int}, "holds <class 'int'>, which is not an exception class"),
        ({"raises": OSError()}, r"holds OSError\(\), which is not an exception class"),
        ({"labels": 5}, r"the labels of point 'p' are 5, which is not a mapping.*labels=\{"),
        ({"labels": "ab"}, "are 'ab', which is not a mapping"),
        ({"labels": [("a", 1)]}, "which is not a mapping"),
        ({"labels": {5: 1}}, r"label 5, which is not text, so no `where`.*labels=\{'5': \.\.\.\}"),
        ({"description": 5}, "5 cannot describe point 'p': write text"),
    ],
)
def test_invalid_attributes_of_a_placement_are_refused_with_a_cure(
    registry: Registry, keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidPoint, match=said):
        registry.point("p", **keys)
    assert registry.points() == ()  # nothing is half made


def test_raises_takes_one_class_or_any_iterable_of_them(registry: Registry) -> None:
    assert registry.point("p", raises=KeyboardInterrupt).raises == (KeyboardInterrupt,)
    given: Any = (one for one in (OSError, KeyError))
    assert registry.point("p", raises=given).raises == (OSError, KeyError)
    nothing: Any = {"raises": None, "labels": {}}
    assert type(registry.point("p", **nothing)) is not LabelledPoint


def test_light_points_of_one_placement_are_equal(registry: Registry) -> None:
    def light(name: str = "p", **keys: Any) -> Point:
        return registry.point(name, **{"labels": {"to": ["db"]}, "raises": OSError, **keys})

    assert light() == light()
    assert hash(light()) == hash(light())
    others = [
        light("q"),
        light(labels={"to": "db"}),
        light(raises=()),
        registry.point("p"),
        Registry().point("p", labels={"to": ["db"]}, raises=OSError),
    ]
    assert all(light() != other for other in others)


def test_the_labels_of_a_light_point_are_its_own(registry: Registry) -> None:
    labels = {"tenant": "acme"}
    light = registry.point("p", labels=labels)
    labels["tenant"] = "other"
    assert light.labels == {"tenant": "acme"}


def test_light_points_made_before_and_after_arming_act(registry: Registry) -> None:
    before = registry.point("p", labels={"a": 1})
    before.hit()
    handle = arm(registry, rule("p", raises()))
    after = registry.point("p", labels={"a": 2})
    for light in (before, after):
        assert light.armed
        with pytest.raises(Boom):
            light.hit()
        with pytest.raises(Boom), light:
            pass
        with pytest.raises(Boom):
            run_coroutine(light.ahit())
    handle.disarm()
    for light in (before, after):
        assert not light.armed
        light.hit()
    assert handle.reaches == 6


def test_a_light_point_decorates(registry: Registry) -> None:
    @registry.point("p", labels={"a": 1})
    def function() -> int:
        return 1

    handle = arm(registry, rule("p", PASS))
    assert function() == 1
    assert handle.reaches == 1
    assert len(registry.point("p").placements) == 1


# -- blocks and statements ---------------------------------------------------------------


def reach_all(point: Point) -> list[Any]:
    """Return every way to reach a point, as functions."""

    def block() -> None:
        with point as entered:
            assert entered is point

    async def async_block() -> None:
        async with point as entered:
            assert entered is point

    return [
        point.hit,
        lambda: point.hit(tenant="acme", self=1, point=2),
        block,
        lambda: run_coroutine(point.ahit()),
        lambda: run_coroutine(point.ahit(tenant="acme", self=1)),
        lambda: run_coroutine(async_block()),
    ]


def test_a_disarmed_point_does_nothing(registry: Registry) -> None:
    point = registry.point("p")
    assert [reach() for reach in reach_all(point)] == [None] * 6
    assert not point.armed
    assert type(point) is Point


def test_every_block_and_statement_reaches_an_armed_point(
    registry: Registry, witness: Witness
) -> None:
    point = registry.point("p")
    ways = reach_all(point)  # looked up before arming: bound methods of the disarmed class
    handle = arm(registry, rule("p", raises()))
    assert type(point) is ArmedPoint
    for way in reach_all(point):
        with pytest.raises(Boom):
            way()
    assert handle.reaches == handle.injections == len(witness.injections) == 6
    handle.disarm()
    assert type(point) is Point
    for way in ways:
        way()
    assert handle.reaches == 6


def test_methods_bound_while_armed_do_nothing_once_disarmed(registry: Registry) -> None:
    """An armed method may see a point that was disarmed since it was looked up."""
    point = registry.point("p")
    handle = arm(registry, rule("p", raises()))
    hit, enter, ahit, aenter = point.hit, point.__enter__, point.ahit, point.__aenter__
    handle.disarm()
    hit()
    enter()
    run_coroutine(ahit())
    run_coroutine(aenter())
    assert handle.reaches == 0


def test_a_coroutine_made_while_armed_and_run_when_disarmed_does_nothing(
    registry: Registry,
) -> None:
    point = registry.point("p")
    handle = arm(registry, rule("p", raises()))
    made = point.ahit()
    handle.disarm()
    run_coroutine(made)
    assert handle.injections == 0


def test_a_fault_at_entering_keeps_the_block_from_running(registry: Registry) -> None:
    registry.point("p")
    arm(registry, rule("p", raises()))
    with pytest.raises(Boom), registry.point("p"):
        pytest.fail("the block was run")


def test_exceptions_of_a_block_pass(registry: Registry) -> None:
    point = registry.point("p")
    for armed in (False, True):
        if armed:
            arm(registry, rule("p", PASS))
        with pytest.raises(KeyError), point:
            raise KeyError

        async def use() -> None:
            async with point:
                raise KeyError

        with pytest.raises(KeyError):
            run_coroutine(use())


def test_one_point_serves_nested_blocks_and_disarming_inside(registry: Registry) -> None:
    point = registry.point("p")
    handle = arm(registry, rule("p", PASS))
    with point:
        with point:
            handle.disarm()
        again = arm(registry, rule("p", PASS))
    assert (handle.reaches, again.reaches) == (2, 0)


def test_an_answer_at_a_block_is_left_out_and_reported(
    registry: Registry, log: pytest.LogCaptureFixture
) -> None:
    @registry.point("p")
    def function() -> int:
        return 1

    handle = arm(registry, rule("p", sleeps(0), answers(2)))
    assert function() == 2
    registry.point("p").hit()
    registry.point("p").hit()
    assert handle.injections == 3
    (said,) = [one.getMessage() for one in log.records if one.levelname == "WARNING"]
    assert "'return'" in said
    assert "is left out at 'p': a block or a statement has no value to return" in said


def test_a_bug_while_making_ready_lets_the_call_through(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, bugs: deque[BaseException]
) -> None:
    point = registry.point("p")
    arm(registry, rule("p", raises()))
    with monkeypatch.context() as patch:
        patch.setattr(search, "bind", lambda *_, **__: 1 / 0)
        for way in reach_all(point):
            way()
    assert {type(bug) for bug in bugs} == {ZeroDivisionError}
    bugs.clear()


def test_async_with_does_not_block_the_loop(registry: Registry, clock: FakeClock) -> None:
    point = registry.point("p")
    arm(registry, rule("p", sleeps(30)))
    order: list[str] = []

    async def slow() -> None:
        async with point:
            order.append("slow")

    async def main() -> None:
        task = asyncio.create_task(slow())
        while not registry.rules()[0].sleepers:
            await turn()
        order.append("free")
        clock.advance(30)
        await task

    asyncio.run(main())
    assert order == ["free", "slow"]


def test_hit_is_a_plain_method_and_ahit_a_coroutine() -> None:
    for cls in (Point, ArmedPoint):
        assert inspect.iscoroutinefunction(cls.ahit)
        assert not inspect.iscoroutinefunction(cls.hit)
        assert inspect.signature(cls.hit) == inspect.signature(Point.hit)


def test_the_default_exception_is_recognised(registry: Registry) -> None:
    point = registry.point("p")
    with (
        chaospoint.armed("p", failure_rate=1.0, registry=registry),
        pytest.raises(InjectedFault) as caught,
    ):
        point.hit()
    injection = chaospoint.injection_of(caught.value)
    assert injection is not None
    assert injection.point == "p"
