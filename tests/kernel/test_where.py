"""Labels and arguments that a reach must have: what does not match consumes nothing."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest.mock import Mock

import pytest
from helpers import Threads

from chaospoint import Point, Registry
from chaospoint._patching.wrapper import Wrapper
from chaospoint.errors import ChaosWarning

from .kit import Boom, answers, raises, rule, run_coroutine, sleeps


def arm(registry: Registry, *terms: Any) -> Any:
    return registry.install(terms, source="test")


def where(wanted: dict[str, object], **more: Any) -> Any:
    return rule("p", raises(), where=wanted, **more)


def hits(call: Callable[..., object], *args: object, **kwargs: object) -> bool:
    """Whether the call was hit."""
    try:
        call(*args, **kwargs)
    except Boom:
        return True
    return False


@pytest.fixture
def point(registry: Registry) -> Point:
    return registry.point("p")


# -- what is compared --------------------------------------------------------------------


class Text(str):
    pass


class Address(NamedTuple):
    host: str
    port: int


class Untold(tuple[object, ...]):
    """Says nothing true of itself."""

    def __len__(self) -> int:
        return 7

    def __iter__(self) -> Iterator[object]:
        raise RuntimeError("iterated")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = None  # type: ignore[assignment]


MATCHES: list[tuple[object, object, bool]] = [
    ("acme", "acme", True),
    ("acme", "acme2", False),
    ("acme", Text("acme"), True),
    ("ac*", "acme", True),
    ("ac*", Text("acme"), True),
    ("*", "", True),
    ("*", "two\nlines", True),
    ("*", 5, False),
    ("*", None, False),
    ("ac*", b"acme", False),
    ("a.c*", "abc", False),
    ("AC*", "acme", False),
    (5, 5, True),
    (5, 5.0, True),
    (5, "5", False),
    (0, None, False),
    (None, None, True),
    (float("nan"), float("nan"), False),
    ([1, 2], 2, True),
    ([1, 2], 3, False),
    ([1, 2], [1, 2], True),
    ([1, 2], (1, 2), True),
    ((1, 2), [1, 2], True),
    ([1, 2], (2, 1), False),
    ([1, 2], (1, 2, 3), False),
    ([1, 2], [], False),
    ([["db", 5432]], ("db", 5432), True),
    ([["db", 5432]], ["db", 5432], True),
    ([["db", 5432]], ("db", 5433), False),
    ([["db", 5432]], "db", False),
    ([["db", 5432], ["cache", 6379]], ("cache", 6379), True),
    ([["db", 5432], None], None, True),
    (("db", 5432), ("db", 5432), True),
    ([("db", 5432)], Address("db", 5432), True),
    ([["GET", "user:*"]], ("GET", "user:7"), True),
    ([["GET", "user:*"]], ("SET", "user:7"), False),
    ([[["a"], ["b"]]], (("a",), ["b"]), True),
    ({(1, 2)}, (1, 2), True),
    ({1, 2}, (1, 2), False),
    ([["db", 5432]], Untold(("db", 5432)), True),
    ((1, 2), 1, True),
    (["a*", None], "abc", True),
    (["a*", None], None, True),
    ([], 1, False),
    ({"a": 1}, {"a": 1}, True),
    ({"a": 1}, {"a": 2}, False),
]


@pytest.mark.parametrize(("wanted", "found", "matched"), MATCHES, ids=repr)
def test_equal_any_of_a_list_or_a_glob(
    registry: Registry, point: Point, wanted: object, found: object, matched: bool
) -> None:
    @point
    def function(value: object) -> None:
        pass

    arm(registry, where({"value": wanted}))
    assert hits(function, found) is matched
    assert hits(point.hit, value=found) is matched


class Rude:
    """Cannot be compared, and is no string, whatever one asks."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = None  # type: ignore[assignment]


class Array:
    """Compares as arrays do: to something whose truth is ambiguous."""

    def __eq__(self, other: object) -> Any:
        return Ambiguous()

    __hash__ = None  # type: ignore[assignment]


class Ambiguous:
    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


class Lazy:
    """Looks up what it stands for when its class is asked for."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("working outside of a request")


class UnhashableType(type):
    def __eq__(cls, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = None  # type: ignore[assignment]


class Strange(metaclass=UnhashableType):
    pass


FOREIGN: dict[str, Callable[[], object]] = {
    "rude": Rude,
    "array": Array,
    "lazy": Lazy,
    "mock": lambda: Mock(spec=str),
    "strange": Strange,
    "object": object,
}


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("wanted", ["acme", "ac*", "*", ["x", "y*"], 5, None, {"a": 1}], ids=repr)
def test_values_that_cannot_be_compared_do_not_match_and_do_not_raise(
    registry: Registry, point: Point, wanted: object, foreign: str
) -> None:
    @point
    def function(value: object) -> object:
        return value

    found = FOREIGN[foreign]()
    wrapped = point(functools.partial(lambda value: value))
    handle = arm(registry, where({"value": wanted}))
    assert function(found) is found
    assert wrapped(found) is found
    point.hit(value=found)
    assert handle.reaches == 0


def test_a_wanted_object_may_be_as_rude(registry: Registry, point: Point) -> None:
    for wanted in FOREIGN.values():
        handle = arm(registry, where({"value": wanted()}))
        point.hit(value=1)
        point.hit(value="text")
        assert handle.reaches == 0
        handle.disarm()


def test_comparing_never_reaches_a_point(registry: Registry, point: Point) -> None:
    other = registry.point("other")

    class Own:
        def __eq__(self, value: object) -> bool:
            other.hit()
            point.hit(value="deeper")
            return True

        __hash__ = None  # type: ignore[assignment]

    handle = arm(registry, where({"value": "acme"}), rule("other", raises()))
    assert hits(point.hit, value=Own())
    assert handle.reaches == 1


def test_ctrl_c_in_a_comparison_passes(registry: Registry, point: Point) -> None:
    class Slow:
        def __eq__(self, value: object) -> bool:
            raise KeyboardInterrupt

        __hash__ = None  # type: ignore[assignment]

    arm(registry, where({"value": "acme"}))
    with pytest.raises(KeyboardInterrupt):
        point.hit(value=Slow())
    assert hits(point.hit, value="acme"), "and leaves nothing set"


# -- arguments of functions --------------------------------------------------------------


def shapes(point: Point) -> dict[str, Callable[..., Any]]:
    """Return functions and methods that take ``value`` in every way there is."""
    kept = 1

    class Base:
        def plain(self, value: object) -> None: ...

    class Home(Base):
        @point
        def plain(self, value: object) -> None:
            super().plain(value)

        @point
        @classmethod
        def class_outside(cls, value: object) -> None: ...

        @classmethod
        @point
        def class_inside(cls, value: object) -> None: ...

        @staticmethod
        @point
        def static(value: object) -> None: ...

        def __call__(self, value: object) -> None: ...

    class Thing:
        def __init__(self, value: object) -> None: ...

    @point
    def positional(value: object, /) -> None: ...

    @point
    def keyword(*, value: object) -> None: ...

    @point
    def rest(**values: object) -> None: ...

    @point
    def closure(a: object = 0, *args: object, value: object = None, **more: object) -> int:
        return kept

    @point
    def held(value: object) -> Callable[[], object]:
        return lambda: value

    home = Home()
    return {
        "method": home.plain,
        "class outside": home.class_outside,
        "class inside": Home.class_inside,
        "static": home.static,
        "instance": point(Home()),
        "bound": point(home.__call__),
        "class": point(Thing),
        "positional": positional,
        "keyword": lambda value: keyword(value=value),
        "rest": lambda value: rest(other=1, value=value),
        "closure": lambda value: closure(1, 2, 3, value=value, more=4),
        "held": held,
        "partial": point(functools.partial(lambda a, value: None, 1)),
    }


@pytest.mark.parametrize("shape", list(shapes(Registry().point("p"))))
def test_an_argument_is_found_in_every_shape(registry: Registry, point: Point, shape: str) -> None:
    call = shapes(point)[shape]
    handle = arm(registry, where({"value": 1}))
    assert hits(call, 1)
    assert not hits(call, 2)
    assert handle.reaches == 1


def test_defaults_are_applied(registry: Registry, point: Point) -> None:
    def function(a: object = 1, *, b: object = 2) -> None: ...

    copy = type(function)(function.__code__, globals(), "copy", (1,))
    copy.__kwdefaults__ = {"b": 2}
    wrapped, patched = point(functools.partial(function)), point(copy)
    arm(registry, where({"a": 1, "b": 2}))
    for call in (wrapped, patched):
        assert hits(call)
        assert hits(call, 1, b=2)
        assert not hits(call, 2)
        assert not hits(call, b=1)
    patched.__defaults__ = (3,)
    assert not hits(patched), "the defaults of the moment"


def test_the_rest_of_the_arguments_has_a_name_too(registry: Registry, point: Point) -> None:
    def function(a: object, *args: object, **more: object) -> None: ...

    copy = type(function)(function.__code__, globals(), "copy")
    wrapped, patched = point(functools.partial(function)), point(copy)
    arm(registry, where({"more": {"b": 1}}))
    for call in (wrapped, patched):
        assert hits(call, 1, b=1)
        assert not hits(call, 1, b=1, c=2)


def test_a_positional_only_argument_wins_over_a_keyword_of_its_name(
    registry: Registry, point: Point
) -> None:
    def function(a: object, /, **more: object) -> None: ...

    copy = type(function)(function.__code__, globals(), "copy")
    arm(registry, where({"a": 1}))
    for call in (point(functools.partial(function)), point(copy)):
        assert hits(call, 1, a=2)
        assert not hits(call, 2, a=1)


def test_an_argument_of_a_builtin_has_the_name_that_its_signature_gives(
    registry: Registry, point: Point
) -> None:
    wrapped = point(math.floor)
    arm(registry, where({"x": 1}))
    assert hits(wrapped, 1)
    assert not hits(wrapped, 2)


def test_a_callable_without_a_signature_has_its_keywords(registry: Registry, point: Point) -> None:
    class Sphinx:
        @property
        def __signature__(self) -> Any:
            raise RuntimeError("says nothing of itself")

        def __call__(self, *args: object, **kwargs: object) -> None: ...

    arm(registry, where({"default": 1}))
    for call in (point(dict), point(Sphinx())):
        assert hits(call, default=1)
        assert not hits(call, default=2)
        assert not hits(call)


def test_a_wrong_call_fails_as_it_would(registry: Registry, point: Point) -> None:
    def function(a: object) -> None: ...

    copy = type(function)(function.__code__, globals(), "copy")
    arm(registry, where({"a": 1}))
    for call in (point(functools.partial(function)), point(copy)):
        with pytest.raises(TypeError, match="argument"):
            call(1, 2)


# -- labels ------------------------------------------------------------------------------


def test_a_label_wins_over_an_argument(registry: Registry, point: Point) -> None:
    labelled = registry.point("p", labels={"tenant": "label"})

    def function(tenant: str) -> None: ...

    copy = type(function)(function.__code__, globals(), "copy")
    calls = [labelled(functools.partial(function)), labelled(copy)]
    handle = arm(registry, where({"tenant": "label"}))
    assert all(hits(call, "argument") for call in calls)
    handle.disarm()
    with pytest.warns(ChaosWarning, match="the label 'tenant' never has the value"):
        arm(registry, where({"tenant": "argument"}))
    assert not any(hits(call, "argument") for call in calls)


def test_the_labels_of_a_statement_win_over_those_of_its_point(registry: Registry) -> None:
    labelled = registry.point("p", labels={"tenant": "point", "zone": 1})
    arm(registry, where({"tenant": "statement", "zone": 1}))
    assert hits(labelled.hit, tenant="statement")
    assert not hits(labelled.hit)
    assert hits(lambda: run_coroutine(labelled.ahit(tenant="statement")))


# -- a mismatch consumes nothing ---------------------------------------------------------


def test_a_mismatch_takes_no_place_of_max_active_and_shadows_nothing(
    registry: Registry, point: Point
) -> None:
    @point
    def function(tenant: str) -> None: ...

    below = arm(registry, rule("p", answers(1), where={"tenant": "acme"}))
    above = arm(registry, where({"tenant": "other"}, max_active=1))
    function("acme")
    assert (below.injections, below.rules[0].shadowed) == (1, 0)
    assert hits(function, "other")
    assert below.rules[0].shadowed == 0, "it would not have matched"
    assert (above.reaches, above.overflow) == (1, 0)


def test_before_and_after_ask_the_same_call(registry: Registry, point: Point) -> None:
    @point
    def function(tenant: str) -> str:
        tenant += " again"
        return tenant

    arm(registry, rule("p", answers("late"), after=True, where={"tenant": "acme"}))
    assert [function("acme"), function("other")] == ["late", "other again"]
    wrapped = point(functools.partial(lambda tenant: "own"))
    assert [wrapped("acme"), wrapped("other")] == ["late", "own"]


def test_stacked_points_ask_the_same_arguments(registry: Registry) -> None:
    @registry.point("outer")
    @registry.point("p")
    def function(a: int, *, b: int = 2) -> str:
        return "own"

    handle = arm(registry, where({"a": 1}), rule("outer", sleeps(0), where={"b": 2}))
    assert hits(function, 1)
    assert not hits(function, 2)
    assert handle.injections == 3


def test_firings_with_where_are_exact_under_threads(
    registry: Registry, point: Point, pool: Threads, restless: None
) -> None:
    @point
    def function(n: int) -> None: ...

    handle = arm(registry, where({"n": list(range(0, 400, 2))}, every=2, times=50))
    seen = pool.map(lambda _: sum(hits(function, n) for n in range(400)), range(8))
    assert (sum(seen), handle.injections, handle.reaches) == (50, 50, 1600)


def test_a_wrapped_callable_may_be_rearmed_during_a_call(registry: Registry, point: Point) -> None:
    """A call that looked at the old rules asks what these ask, whatever is armed meanwhile."""
    wrapped = point(functools.partial(lambda value: "own"))
    (wrapper,) = point.core.sites
    assert isinstance(wrapper, Wrapper)
    first = arm(registry, where({"value": 1}, skip=9))
    live = list(wrapper._live)
    first.disarm()
    arm(registry, rule("p", sleeps(0)))
    wrapper._live[:] = live  # as a thread has it that was stopped after it had looked
    assert wrapped(1) == "own"
