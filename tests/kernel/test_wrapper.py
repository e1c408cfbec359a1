"""The wrapt fallback: the same behaviour where code cannot be swapped."""

from __future__ import annotations

import functools
import gc
import inspect
import operator
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from chaospoint import Registry
from chaospoint._patching import site
from chaospoint._patching import wrapper as _wrapper

from .kit import Boom, Does, Witness, answers, raises, rule, run, sleeps
from .test_site import KINDS, make, said, stacked, thing

PASS = Does("off", ())


def arm(registry: Registry, *terms: Any) -> Any:
    return registry.install(terms, source="test")


@pytest.fixture
def unpatchable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it an interpreter whose code cannot be swapped."""
    monkeypatch.setattr(site, "can_patch", lambda: False)


# -- what is never patched ---------------------------------------------------------------


class Callme:
    def __call__(self, a: int) -> int:
        return a + 1


class CallmeAsync:
    async def __call__(self, a: int) -> int:
        return a + 1


class Bound:
    def method(self, a: int) -> int:
        return a + 1


TARGETS: dict[str, tuple[Any, str]] = {
    "builtin": (abs, "builtins:abs (function, wrapped)"),
    "bound C method": ("x".join, "str.join (function, wrapped)"),
    "operator": (operator.neg, "_operator:neg (function, wrapped)"),
    "instance": (Callme(), f"{__name__}:Callme (function, wrapped)"),
    "async instance": (CallmeAsync(), f"{__name__}:CallmeAsync (coroutine, wrapped)"),
    "class": (Bound, f"{__name__}:Bound (function, wrapped)"),
    "partial": (functools.partial(max, 1), "builtins:max (function, wrapped)"),
    "partial of a coroutine function": (
        functools.partial(CallmeAsync().__call__, 1),
        f"{__name__}:CallmeAsync.__call__ (coroutine, wrapped)",
    ),
    "lru_cache": (functools.lru_cache(abs), "builtins:abs (function, wrapped)"),
    "itemgetter": (operator.itemgetter(0), "operator:itemgetter (function, wrapped)"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_other_callables_are_wrapped_and_named(registry: Registry, name: str) -> None:
    target, shown = TARGETS[name]
    point = registry.point("p")
    wrapped = point(target)
    assert point.placements == (shown,)
    handle = arm(registry, rule("p", raises()))
    with pytest.raises(Boom):
        run(wrapped(-1), point.core.sites[0].kind)
    handle.disarm()
    assert handle.injections == 1


def test_a_wrapped_builtin_answers_as_ever_when_nothing_fires(registry: Registry) -> None:
    wrapped = registry.point("p")(abs)
    assert wrapped(-3) == 3
    handle = arm(registry, rule("p", sleeps(0), skip=1))
    assert [wrapped(-3), wrapped(-4)] == [3, 4]
    assert (handle.reaches, handle.injections) == (2, 1)
    handle.disarm()
    assert wrapped(-3) == 3
    assert handle.reaches == 2


def test_a_wrapped_class_makes_instances(registry: Registry) -> None:
    wrapped = registry.point("p")(Bound)
    handle = arm(registry, rule("p", PASS))
    assert type(wrapped()) is Bound
    assert handle.reaches == 1
    assert isinstance(wrapped(), wrapped)


def test_an_async_instance_acts_at_the_first_await(registry: Registry, witness: Witness) -> None:
    wrapped = registry.point("p")(CallmeAsync())
    arm(registry, rule("p", answers(9), times=1))
    made = wrapped(1)
    assert inspect.iscoroutine(made)
    assert witness.injections == []
    assert run(made, "coroutine") == 9
    assert len(witness.injections) == 1
    assert run(wrapped(1), "coroutine") == 2


def test_a_wrapper_around_a_patched_function(registry: Registry) -> None:
    function = registry.point("inner")(make("function"))
    both = registry.point("outer")(functools.partial(function, 1))
    inner, outer = arm(registry, rule("inner", PASS), rule("outer", PASS)).rules
    assert both() == 3
    assert (inner.reaches, outer.reaches) == (1, 1)


def test_objects_that_are_not_callable_are_refused_with_a_cure(registry: Registry) -> None:
    from chaospoint.errors import InvalidPoint

    for target in (1, "text", None, property(lambda self: 1), [1]):
        with pytest.raises(InvalidPoint, match="is not callable; decorate the function itself"):
            registry.point("p")(target)
    assert registry.point("p").placements == ()


class Shown:
    """It shows a signature of its own, and counts how often somebody looks."""

    looks = 0

    def __call__(self, *args: int) -> int:
        return sum(args)

    @property
    def __signature__(self) -> inspect.Signature:
        self.looks += 1
        return inspect.Signature([inspect.Parameter("a", inspect.Parameter.POSITIONAL_ONLY)])


def test_conditions_read_the_signature_once_and_not_at_each_call(registry: Registry) -> None:
    target = Shown()
    wrapped = registry.point("p")(target)
    arm(registry, rule("p", answers("chaos"), where={"a": 2}))
    before = target.looks
    assert [wrapped(a) for a in (1, 2, 3)] == [1, "chaos", 3]
    assert target.looks == before


def test_conditions_on_a_wrapped_method_know_its_arguments(
    registry: Registry, unpatchable: None
) -> None:
    class Service:
        @registry.point("p")
        def charge(self, amount: int) -> int:
            return amount

    arm(registry, rule("p", answers("chaos"), where={"amount": 2}))
    assert [Service().charge(1), Service().charge(2), Service.charge(Service(), 2)] == [
        1,
        "chaos",
        "chaos",
    ]


# -- Python functions where code cannot be swapped ---------------------------------------


@pytest.mark.usefixtures("unpatchable")
@pytest.mark.parametrize("kind", KINDS)
def test_functions_are_wrapped(registry: Registry, kind: str) -> None:
    function = make(kind)
    code = function.__code__
    wrapped = registry.point("p")(function)
    assert wrapped is not function
    assert run(wrapped(1), kind) == said(kind, 3)
    handle = arm(registry, rule("p", sleeps(0), skip=1))
    assert [run(wrapped(1, k=3), kind) for _ in range(2)] == [said(kind, 4)] * 2
    assert (handle.reaches, handle.injections) == (2, 1)
    handle.disarm()
    handle = arm(registry, rule("p", raises()))
    with pytest.raises(Boom):
        run(wrapped(1), kind)
    handle.disarm()
    assert run(wrapped(1), kind) == said(kind, 3)
    assert function.__code__ is code


@pytest.mark.usefixtures("unpatchable")
@pytest.mark.parametrize("outside", [True, False], ids=["point last", "point first"])
@pytest.mark.parametrize("kind", KINDS)
def test_methods_of_every_kind_in_either_order(
    registry: Registry, kind: str, outside: bool
) -> None:
    point = registry.point("p")
    cls = thing(point, kind, outside=outside)
    one = cls()
    expected = [(one, 1, 2), (cls, 1, 2), (1, 2)]

    def calls() -> list[Callable[[], Any]]:
        return [lambda: one.plain(1), lambda: cls.of_class(1), lambda: one.static(1)]

    def results() -> list[Any]:
        made = [run(call(), kind) for call in calls()]
        return [said for (said,) in made] if "generator" in kind else made

    assert results() == expected
    assert len(point.placements) == 3
    assert all(f"({kind}, wrapped)" in placement for placement in point.placements)
    handle = arm(registry, rule("p", PASS))
    assert results() == expected
    assert handle.reaches == 3
    handle.disarm()
    handle = arm(registry, rule("p", sleeps(0)))
    assert results() == expected
    assert handle.injections == 3
    handle.disarm()
    handle = arm(registry, rule("p", raises()))
    for call in calls():
        with pytest.raises(Boom):
            run(call(), kind)
    handle.disarm()
    assert results() == expected
    assert handle.reaches == 3


@pytest.mark.usefixtures("unpatchable")
def test_kind_signature_and_source_are_kept(registry: Registry) -> None:
    for kind in KINDS:
        function = make(kind)
        wrapped = registry.point("p")(function)
        for armed in (False, True):
            if armed:
                arm(registry, rule("p", PASS))
            assert inspect.signature(wrapped) == inspect.signature(function)
            assert inspect.getsource(wrapped) == inspect.getsource(function)
            assert inspect.iscoroutinefunction(wrapped) is (kind == "coroutine")
            assert inspect.isgeneratorfunction(wrapped) is (kind == "generator")
            assert inspect.isasyncgenfunction(wrapped) is (kind == "async generator")


@pytest.mark.usefixtures("unpatchable")
def test_stacked_wrappers_are_reached_from_the_outside(
    registry: Registry, witness: Witness
) -> None:
    function, calls = stacked(registry.point("outer"), registry.point("inner"))
    arm(registry, rule("outer", sleeps(0)), rule("inner", raises(), times=1))
    with pytest.raises(Boom):
        function()
    assert [one.point for one in witness.injections] == ["outer", "inner"]
    registry.disarm("inner")
    arm(registry, rule("outer", raises(), text="now"))
    with pytest.raises(Boom):
        function()
    assert calls == []


@pytest.mark.usefixtures("unpatchable")
def test_decorated_while_armed(registry: Registry) -> None:
    registry.point("p")
    arm(registry, rule("p", raises()))
    with pytest.raises(Boom):
        registry.point("p")(make("function"))(1)


@pytest.mark.usefixtures("unpatchable")
def test_wrappers_die_and_are_forgotten(registry: Registry) -> None:
    point = registry.point("p")
    arm(registry, rule("p", PASS))
    seen = []
    gc.collect()
    for _ in range(20):
        function = make("function")
        wrapped = point(function)
        assert wrapped(1) == 3
        seen.append(weakref.ref(function))
        del function, wrapped
        gc.collect()
    assert all(one() is None for one in seen)
    assert point.placements == ()
    kept = point(make("function"))
    assert len(point.core.sites) == 1
    assert not _wrapper._dead
    assert kept(1) == 3


def test_a_rule_that_cannot_be_expressed_leaves_the_wrapper_idle(registry: Registry) -> None:
    wrapped = registry.point("p")(functools.partial(make("generator"), 1))
    kept = registry.point("p")(make("function"))
    with pytest.warns(UserWarning, match="a generator needs an iterable"):
        handle = arm(registry, rule("p", answers(7)))
    assert list(wrapped()) == [3]
    assert wrapped._self_enabled == []
    assert handle.reaches == 0
    assert kept(1) == 7


def test_a_bug_while_decorating_does_not_reach_the_host(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, bugs: deque[BaseException]
) -> None:
    point = registry.point("p")
    arm(registry, rule("p", raises()))
    with monkeypatch.context() as patch:
        patch.setattr(_wrapper.Wrapper, "rebuild", lambda _: 1 / 0)
        wrapped = point(abs)
    assert wrapped(-1) == 1
    assert [type(bug) for bug in bugs] == [ZeroDivisionError]
    bugs.clear()


def test_disarming_between_the_look_and_the_call(registry: Registry) -> None:
    """The list may have been emptied since wrapt found it full."""
    wrapper = _wrapper.Wrapper(registry.point("p"), abs)
    proxy = wrapper.proxy(abs)
    call = proxy._self_wrapper
    assert call(abs, None, (-2,), {}) == 2
