"""Sites: arming swaps the code of a function, and disarming restores it."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import pickle
import sys
import types
import typing
import weakref
from collections import deque
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

from chaospoint import Registry
from chaospoint._patching import site as _site
from chaospoint._patching.site import can_patch, kind_of
from chaospoint._patching.trampoline import clone_of
from chaospoint.testing import FakeClock

from .kit import Boom, Does, Witness, answers, inner_code, raises, rule, run, sleeps

KINDS = ("function", "coroutine", "generator", "async generator")
PASS = Does("off", ())  # fires, and nothing acts


def arm(registry: Registry, *terms: Any) -> Any:
    return registry.install(terms, source="test")


def make(kind: str) -> FunctionType:
    def function(a: int, *, k: int = 2) -> int:
        """Say."""
        return a + k

    async def coroutine(a: int, *, k: int = 2) -> int:
        """Say."""
        return a + k

    def generator(a: int, *, k: int = 2):
        """Say."""
        yield a + k

    async def agen(a: int, *, k: int = 2):
        """Say."""
        yield a + k

    return dict(zip(KINDS, (function, coroutine, generator, agen), strict=True))[kind]


def said(kind: str, value: int) -> object:
    return [value] if "generator" in kind else value


def module_level(a: int, b: int | None = None) -> list[int]:
    """Stand in a module, for pickle and type hints."""
    return [a, b or 0]


# -- swapping ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_decorating_returns_the_same_function_and_leaves_its_code(
    registry: Registry, kind: str
) -> None:
    function = make(kind)
    before, code = dict(vars(function)), function.__code__
    assert registry.point("p")(function) is function
    assert function.__code__ is code
    assert vars(function) == before


@pytest.mark.parametrize("kind", KINDS)
def test_arming_swaps_the_code_and_disarming_puts_that_very_code_back(
    registry: Registry, kind: str
) -> None:
    function = registry.point("p")(make(kind))
    code = function.__code__
    handle = arm(registry, rule("p", raises()))
    assert function.__code__ is not code
    assert kind_of(function.__code__) == kind
    with pytest.raises(Boom):
        run(function(1), kind)
    handle.disarm()
    assert function.__code__ is code
    assert run(function(1), kind) == said(kind, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_decorating_while_armed_is_in_force_at_once(registry: Registry, kind: str) -> None:
    registry.point("p")
    handle = arm(registry, rule("p", raises()))
    function = registry.point("p")(make(kind))
    with pytest.raises(Boom):
        run(function(1), kind)
    handle.disarm()
    assert run(function(1), kind) == said(kind, 3)


def test_importers_of_the_function_before_arming_are_hit_too(registry: Registry) -> None:
    module = types.ModuleType("shop")
    module.charge = make("function")
    registry.point("p")(module.charge)
    charge = module.charge  # from shop import charge
    table = {"charge": charge, "bound": functools.partial(charge, 1)}
    arm(registry, rule("p", raises()))
    for call in (charge, module.charge, table["charge"], lambda _: table["bound"]()):
        with pytest.raises(Boom):
            call(1)


def test_a_glob_arms_all_that_match_and_what_appears_later(registry: Registry) -> None:
    first, other = (registry.point(name)(make("function")) for name in ("pay.a", "ship.a"))
    arm(registry, rule("pay.*", raises()))
    later = registry.point("pay.b.c")(make("function"))
    for function in (first, later):
        with pytest.raises(Boom):
            function(1)
    assert other(1) == 3


def test_a_name_may_appear_after_it_is_armed(registry: Registry) -> None:
    with pytest.warns(UserWarning, match="no point is named 'late' yet"):
        handle = arm(registry, rule("late", raises()))
    function = registry.point("late")(make("function"))
    with pytest.raises(Boom):
        function(1)
    assert handle.injections == 1


def test_one_point_on_many_functions_of_many_kinds(registry: Registry) -> None:
    functions = {kind: registry.point("p")(make(kind)) for kind in KINDS}
    handle = arm(registry, rule("p", raises()))
    for kind, function in functions.items():
        with pytest.raises(Boom):
            run(function(1), kind)
    assert handle.reaches == 4
    assert registry.point("p").placements == tuple(
        f"{__name__}:make.<locals>.{f.__name__} ({kind})" for kind, f in functions.items()
    )


def test_a_rule_that_the_placement_cannot_express_leaves_the_function_alone(
    registry: Registry,
) -> None:
    generator = registry.point("p")(make("generator"))
    function = registry.point("p")(make("function"))
    code = generator.__code__
    with pytest.warns(UserWarning, match="a generator needs an iterable"):
        arm(registry, rule("p", answers(7)))
    assert generator.__code__ is code
    assert function(1) == 7


# -- methods -----------------------------------------------------------------------------


def thing(point: Any, kind: str, *, outside: bool) -> Any:
    """Return a class whose three methods are placements; ``outside``: the point comes last."""

    def place(wrap: Callable[[Any], Any], function: Any) -> Any:
        return point(wrap(function)) if outside else wrap(point(function))

    class Thing:
        plain = place(lambda f: f, lambda self: None)

    word = "async def" if kind in ("coroutine", "async generator") else "def"
    end = "yield" if "generator" in kind else "return"
    for name, first, wrap in (
        ("plain", "self, ", lambda f: f),
        ("of_class", "cls, ", classmethod),
        ("static", "", staticmethod),
    ):
        space: dict[str, Any] = {}
        exec(f"{word} {name}({first}a, *, k=2):\n    {end} ({first}a, k)", space)
        setattr(Thing, name, place(wrap, space[name]))
    return Thing


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
    handle = arm(registry, rule("p", PASS))
    assert results() == expected
    assert handle.reaches == 3
    handle.disarm()
    handle = arm(registry, rule("p", raises()))
    for call in calls():
        with pytest.raises(Boom):
            run(call(), kind)
    handle.disarm()
    assert results() == expected
    assert isinstance(vars(cls)["of_class"], classmethod)
    assert isinstance(vars(cls)["static"], staticmethod)


def test_super_without_arguments_while_armed(registry: Registry) -> None:
    class Base:
        def greet(self) -> str:
            return "hello"

    class Child(Base):
        @registry.point("p")
        def greet(self) -> str:
            return super().greet() + "!"

    arm(registry, rule("p", PASS))
    assert Child().greet() == "hello!"


def test_properties_take_the_point_on_their_getter(registry: Registry) -> None:
    class Thing:
        @property
        @registry.point("p")
        def size(self) -> int:
            return 4

    handle = arm(registry, rule("p", raises()))
    with pytest.raises(Boom):
        _ = Thing().size
    handle.disarm()
    assert Thing().size == 4


def test_under_lru_cache_and_wraps_the_function_itself_is_patched(registry: Registry) -> None:
    @functools.lru_cache
    @registry.point("p")
    def slow(a: int) -> int:
        return a

    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    @decorate
    @registry.point("q")
    def wrapped() -> int:
        return 1

    both = registry.point("r")(wrapped)  # a site of its own, although wraps copies attributes
    arm(registry, rule("p", raises(), times=1), rule("q", raises(), times=1))
    with pytest.raises(Boom):
        slow(1)
    assert slow(1) == 1
    with pytest.raises(Boom):
        both()
    handle = arm(registry, rule("r", raises()))
    with pytest.raises(Boom):
        both()
    assert handle.reaches == 1


# -- stacked points ----------------------------------------------------------------------


def stacked(outer: Any, inner: Any) -> tuple[Callable[[], str], list[str]]:
    calls: list[str] = []

    @outer
    @inner
    def function() -> str:
        calls.append("called")
        return "own"

    return function, calls


def test_stacked_points_are_reached_from_the_outside(registry: Registry, witness: Witness) -> None:
    function, calls = stacked(registry.point("outer"), registry.point("inner"))
    rules = arm(registry, rule("outer", sleeps(0)), rule("inner", sleeps(0))).rules
    assert function() == "own"
    assert [one.point for one in witness.injections] == ["outer", "inner"]
    assert [one.reaches for one in rules] == [1, 1]
    assert calls == ["called"]


def test_when_the_outer_point_fails_the_inner_one_is_not_reached(registry: Registry) -> None:
    function, calls = stacked(registry.point("outer"), registry.point("inner"))
    outer, inner = arm(registry, rule("outer", raises()), rule("inner", raises())).rules
    with pytest.raises(Boom):
        function()
    assert (outer.reaches, inner.reaches, calls) == (1, 0, [])


@pytest.mark.parametrize("name", ["outer", "inner"])
def test_one_of_two_stacked_points_is_armed(registry: Registry, name: str) -> None:
    function, calls = stacked(registry.point("outer"), registry.point("inner"))
    code = function.__code__
    handle = arm(registry, rule(name, raises(), times=1))
    with pytest.raises(Boom):
        function()
    assert function() == "own"
    handle.disarm()
    assert function() == "own"
    assert function.__code__ is code
    assert calls == ["called"] * 2


@pytest.mark.parametrize("first", ["outer", "inner"])
def test_stacked_points_are_disarmed_in_any_order(registry: Registry, first: str) -> None:
    function, _ = stacked(registry.point("outer"), registry.point("inner"))
    code = function.__code__
    arm(registry, rule("outer", PASS), rule("inner", PASS))
    registry.disarm(first)
    other = "inner" if first == "outer" else "outer"
    assert [one.pattern for one in registry.rules()] == [other]
    assert clone_of(function.__code__) is not None
    assert function() == "own"
    assert registry.rules()[0].reaches == 1
    registry.disarm(other)
    assert function.__code__ is code


def test_the_same_point_twice_is_one_placement(registry: Registry) -> None:
    function, _ = stacked(registry.point("p"), registry.point("p", labels={"a": 1}))
    handle = arm(registry, rule("p", PASS))
    assert function() == "own"
    assert handle.reaches == 1
    assert len(registry.point("p").placements) == 1


def test_points_of_two_registries_on_one_function(registry: Registry, clock: FakeClock) -> None:
    other = Registry(clock=clock)
    function, _ = stacked(registry.point("p"), other.point("p"))
    code = function.__code__
    try:
        one, two = (arm(reg, rule("p", PASS)) for reg in (registry, other))
        assert function() == "own"
        assert (one.reaches, two.reaches) == (1, 1)
        one.disarm()
        assert function() == "own"
        assert (one.reaches, two.reaches) == (1, 2)
        two.disarm()
        assert function.__code__ is code
    finally:
        other.engine.housekeeper.stop()


def test_a_rule_armed_on_top_and_taken_away_again(registry: Registry) -> None:
    function = registry.point("p")(make("function"))
    code = function.__code__
    below = arm(registry, rule("p", PASS, text="below"))
    for _ in range(3):
        above = arm(registry, rule("p", raises(), text="above"))
        with pytest.raises(Boom):
            function(1)
        above.disarm()
        assert function(1) == 3
    assert below.reaches == 3
    below.disarm()
    assert function.__code__ is code


def test_recursion_reaches_at_every_level_with_two_frames_a_call(registry: Registry) -> None:
    frames = 0

    @registry.point("p")
    def down(n: int) -> int:
        nonlocal frames
        if n:
            return 1 + down(n - 1)
        frame = sys._getframe()
        while frame.f_code.co_name == "down":
            frames, frame = frames + 1, frame.f_back
        return 0

    handle = arm(registry, rule("p", PASS, skip=10**9))
    assert down(50) == 50
    assert handle.reaches == 51
    assert frames == 2 * 51


# -- what looks at functions -------------------------------------------------------------


def test_inspection_of_an_armed_function_gives_the_same_results(registry: Registry) -> None:
    def look(function: Any) -> list[object]:
        return [
            inspect.signature(function),
            inspect.getfullargspec(function),
            inspect.getsource(function),
            inspect.getsourcelines(function),
            inspect.getsourcefile(function),
            inspect.getdoc(function),
            inspect.getmodule(function),
            inspect.unwrap(function),
            inspect.isfunction(function),
            inspect.iscoroutinefunction(function),
            inspect.isgeneratorfunction(function),
            inspect.isasyncgenfunction(function),
            types.coroutine in (function,),
            inspect.getclosurevars(function).nonlocals,
            function.__closure__,
            function.__defaults__,
            function.__kwdefaults__,
            function.__name__,
            function.__qualname__,
            function.__module__,
            dict(vars(function)),
            hasattr(function, "__wrapped__"),
            typing.get_type_hints(function),
            str(inspect.signature(function.__get__(1))),
        ]

    for kind in KINDS:
        function = registry.point("p")(make(kind))
        before = look(function)
        handle = arm(registry, rule("p", PASS))
        assert clone_of(function.__code__) is not None
        assert look(function) == before
        handle.disarm()
        assert look(function) == before


def test_type_hints_given_as_text_and_pickle_while_armed(registry: Registry) -> None:
    registry.point("p")(module_level)
    hints = typing.get_type_hints(module_level)
    handle = arm(registry, rule("p", raises(), times=1))
    assert typing.get_type_hints(module_level) == hints
    again = pickle.loads(pickle.dumps(module_level))
    assert again is module_level
    with pytest.raises(Boom):
        again(1)
    handle.disarm()
    assert module_level(1, 2) == [1, 2]


def test_asyncio_takes_an_armed_coroutine_function_for_one(registry: Registry) -> None:
    function = registry.point("p")(make("coroutine"))
    arm(registry, rule("p", PASS))
    if sys.version_info < (3, 14):
        assert asyncio.iscoroutinefunction(function)
    made = function(1)
    assert asyncio.iscoroutine(made)
    assert inspect.isawaitable(made)
    made.close()


def test_a_generator_that_is_awaited_keeps_its_kind(registry: Registry) -> None:
    @registry.point("p")
    @types.coroutine
    def old(a: int):
        return a
        yield

    async def user() -> int:
        return await old(4)

    assert run(user(), "coroutine") == 4
    arm(registry, rule("p", sleeps(0), skip=1))
    made = old(1)
    assert inspect.isawaitable(made)
    made.close()
    arm(registry, rule("p", raises()))
    with pytest.raises(Boom):
        run(user(), "coroutine")
    assert registry.point("p").placements == (f"{old.__module__}:{old.__qualname__} (coroutine)",)


# -- patched by somebody else ------------------------------------------------------------


def other_code(function: Any) -> Any:
    """Return code such as another tool puts on a function: it calls what was there before."""
    before = FunctionType(function.__code__, function.__globals__)
    return function.__code__.replace(
        co_code=_other.__code__.co_code,
        co_consts=tuple(before if c == "<before>" else c for c in _other.__code__.co_consts),
        co_names=_other.__code__.co_names,
        co_varnames=_other.__code__.co_varnames,
        co_nlocals=_other.__code__.co_nlocals,
        co_stacksize=_other.__code__.co_stacksize,
        co_linetable=_other.__code__.co_linetable,
        co_exceptiontable=b"",
        co_kwonlyargcount=0,
        co_flags=_other.__code__.co_flags,
    )


def _other(a):
    before = "<before>"
    return ("patched", before(a, k=2))


def test_a_patch_of_another_library_made_while_armed_is_left_alone(
    registry: Registry, log: pytest.LogCaptureFixture
) -> None:
    function = registry.point("p")(make("function"))
    original = function.__code__
    handle = arm(registry, rule("p", PASS))
    ours = function.__code__
    theirs = function.__code__ = other_code(function)
    assert function(1) == ("patched", 3)
    assert handle.reaches == 1
    handle.disarm()
    assert function.__code__ is theirs
    (warning,) = [one for one in log.records if one.levelname == "WARNING"]
    assert "was patched by another library while armed" in warning.getMessage()
    assert "make.<locals>.function (function)" in warning.getMessage()
    assert function(1) == ("patched", 3)  # ours, under theirs, is inert
    assert handle.reaches == 1

    function.__code__ = ours  # the other patch is undone; ours is inert all the same
    assert function(1) == 3
    handle = arm(registry, rule("p", raises()))
    with pytest.raises(Boom):
        function(1)
    handle.disarm()
    assert function.__code__ is original


def test_arming_more_under_a_foreign_patch_is_reported_once_and_acts_when_that_is_undone(
    registry: Registry, log: pytest.LogCaptureFixture
) -> None:
    function = registry.point("p")(make("function"))
    arm(registry, rule("p", PASS, text="first"))
    ours = function.__code__
    function.__code__ = other_code(function)
    for n in range(3):
        arm(registry, rule("p", PASS, text=f"later {n}"))
    assert [one.levelname for one in log.records].count("WARNING") == 1
    function.__code__ = ours
    arm(registry, rule("p", raises(), text="last"))
    with pytest.raises(Boom):
        function(1)


def test_arming_again_keeps_the_patch_of_another_library(registry: Registry) -> None:
    function = registry.point("p")(make("function"))
    function.__code__ = theirs = other_code(function)
    handle = arm(registry, rule("p", raises(), times=1))
    with pytest.raises(Boom):
        function(1)
    assert function(1) == ("patched", 3)
    handle.disarm()
    assert function.__code__ is theirs


def test_arming_again_keeps_a_patch_that_was_made_while_armed(registry: Registry) -> None:
    function = registry.point("p")(make("function"))
    before = arm(registry, rule("p", PASS))
    function.__code__ = theirs = other_code(function)
    before.disarm()
    handle = arm(registry, rule("p", raises(), times=1))
    with pytest.raises(Boom):
        function(1)
    assert function(1) == ("patched", 3)
    handle.disarm()
    assert function.__code__ is theirs
    assert (before.reaches, handle.reaches) == (0, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bound", [None, 1])
def test_a_copy_of_the_code_is_inert_after_disarming(
    registry: Registry,
    witness: Witness,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    bound: int | None,
) -> None:
    """It decides nothing: no slot is taken, no exception built, and nothing imported."""
    built, looked_up, taken = [], [], []

    def build() -> Boom:
        built.append(1)
        return Boom()

    def resolve() -> tuple[Does, ...]:
        looked_up.append(1)
        return (raises(build),)

    function = registry.point("p")(make(kind))
    handle = arm(registry, rule("p", raises(build), resolve=resolve, max_active=bound))
    copied = FunctionType(function.__code__, globals())
    handle.disarm()
    tally = type(handle.rules[0].tally)
    monkeypatch.setattr(tally, "take", lambda _, ordinal: taken.append(ordinal))
    for _ in range(3):
        assert run(copied(1, k=2), kind) == said(kind, 3)
    assert (built, looked_up, taken, witness.injections) == ([], [], [], [])
    assert (handle.reaches, handle.injections, handle.overflow) == (0, 0, 0)


def test_an_old_trampoline_that_another_library_restored_is_recognised(registry: Registry) -> None:
    function = registry.point("p")(make("function"))
    original = function.__code__
    first = arm(registry, rule("p", PASS))
    stale = function.__code__
    first.disarm()
    function.__code__ = stale
    handle = arm(registry, rule("p", raises()))
    with pytest.raises(Boom):
        function(1)
    handle.disarm()
    assert function.__code__ is original


def test_code_that_is_replaced_while_disarmed_is_the_new_original(registry: Registry) -> None:
    def new(a: int, *, k: int = 2) -> str:
        return "new"

    function = registry.point("p")(make("function"))
    arm(registry, rule("p", PASS)).disarm()
    function.__code__ = new.__code__
    handle = arm(registry, rule("p", PASS))
    assert function(1) == "new"
    assert handle.reaches == 1
    handle.disarm()
    assert function.__code__ is new.__code__


def test_original_code_put_back_while_armed_is_patched_again(registry: Registry) -> None:
    function = registry.point("p")(make("function"))
    original = function.__code__
    arm(registry, rule("p", PASS, text="first"))
    function.__code__ = original
    arm(registry, rule("p", raises(), text="second"))
    with pytest.raises(Boom):
        function(1)
    registry.disarm()
    assert function.__code__ is original


# -- functions come and go ---------------------------------------------------------------


def test_functions_made_in_a_loop_die_and_their_sites_are_forgotten(registry: Registry) -> None:
    point = registry.point("p")
    seen: list[weakref.ref[Any]] = []
    sites = len(_site._sites)
    for _ in range(100):
        function = point(make("function"))
        seen.append(weakref.ref(function))
        del function
    kept = point(make("function"))
    assert all(one() is None for one in seen)
    assert len(_site._sites) <= sites + 1
    assert len(point.core.sites) == 1
    assert kept(1) == 3


def test_functions_that_die_while_armed(registry: Registry) -> None:
    point = registry.point("p")
    handle = arm(registry, rule("p", PASS))
    seen = []
    for n in range(50):
        function = point(make("function"))
        assert function(1) == 3
        seen.append(weakref.ref(function))
        del function
        assert handle.reaches == n + 1
    assert all(one() is None for one in seen)
    handle.disarm()
    assert len(point.core.sites) <= 1


def test_a_function_that_refers_to_itself_dies_after_disarming(registry: Registry) -> None:
    """The garbage collector does not see into code objects, so not before."""

    def make_recursive() -> Any:
        @registry.point("p")
        def down(n: int) -> int:
            return n and down(n - 1)

        return down

    down = make_recursive()
    seen = weakref.ref(down)
    handle = arm(registry, rule("p", PASS))
    assert down(3) == 0
    handle.disarm()
    del down
    gc.collect()
    assert seen() is None


def test_placements_of_dead_functions_are_not_shown(registry: Registry) -> None:
    point = registry.point("p")
    kept, doomed = point(make("coroutine")), point(make("function"))
    assert len(point.placements) == 2
    del doomed
    assert point.placements == (f"{__name__}:{kept.__qualname__} (coroutine)",)


def test_a_new_function_with_the_id_of_a_dead_one_gets_a_site_of_its_own(
    registry: Registry,
) -> None:
    old, new = registry.point("old"), registry.point("new")
    first = old(make("function"))
    key = id(first)
    del first
    # What else may have that id? Make functions until one has, or plant one.
    kept = []
    for _ in range(10_000):
        function = make("function")
        if id(function) == key:
            break
        kept.append(function)
    else:
        pytest.skip("the id was not used again")
    new(function)
    handle = arm(registry, rule("old", raises()), rule("new", PASS))
    assert function(1) == 3
    assert handle.reaches == 1
    assert old.core.sites == []


def test_a_stale_site_under_the_same_id_is_not_taken_for_the_functions(registry: Registry) -> None:
    stranger, function = make("function"), make("function")
    registry.point("old")(stranger)
    site = _site._sites.pop(id(stranger))
    _site._sites[id(function)] = site
    registry.point("new")(function)
    handle = arm(registry, rule("old", raises()), rule("new", PASS))
    assert function(1) == 3
    assert handle.rules[1].reaches == 1


def test_garbage_collection_in_the_middle_of_arming(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions die while sites are being rebuilt, and nothing is lost or left behind."""
    point = registry.point("p")
    real = _site.make_clone
    living = [point(make("function")) for _ in range(5)]

    def garbage() -> list[weakref.ref[Any]]:
        seen = []
        for _ in range(20):
            function = point(make("function"))
            function.itself = function  # only the collector can free it
            seen.append(weakref.ref(function))
        return seen

    gc.disable()
    try:
        seen = garbage()

        def collecting(*args: Any) -> Any:
            gc.collect()
            return real(*args)

        monkeypatch.setattr(_site, "make_clone", collecting)
        handle = arm(registry, rule("p", raises()))
        assert all(one() is None for one in seen)
    finally:
        gc.enable()
    for function in living:
        with pytest.raises(Boom):
            function(1)
    handle.disarm()
    assert [function(1) for function in living] == [3] * 5
    assert all(clone_of(function.__code__) is None for function in living)
    living.append(point(make("function")))
    assert len(point.core.sites) == 6


def test_the_collector_runs_at_every_allocation_while_arming(registry: Registry) -> None:
    points = [registry.point(f"p{n}") for n in range(10)]
    functions = [point(make("function")) for point in points]
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for _ in range(5):
            doomed = points[0](make("function"))
            doomed.itself = doomed
            del doomed
            handle = arm(registry, rule("p*", raises()))
            for function in functions:
                with pytest.raises(Boom):
                    function(1)
            handle.disarm()
            assert [function(1) for function in functions] == [3] * 10
    finally:
        gc.set_threshold(*before)


# -- bugs, and interpreters that cannot be patched ---------------------------------------


def test_a_bug_while_patching_is_logged_and_leaves_the_function_unchanged(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, bugs: deque[BaseException]
) -> None:
    function = registry.point("p")(make("function"))
    code = function.__code__
    other = registry.point("q")(make("function"))
    with monkeypatch.context() as patch:
        patch.setattr(_site, "make_clone", lambda *_: 1 / 0)
        arm(registry, rule("*", PASS))
    assert function.__code__ is code
    assert function(1) == other(1) == 3
    assert {type(bug) for bug in bugs} == {ZeroDivisionError}
    bugs.clear()


@pytest.mark.parametrize("state", ["decorated before", "decorated while armed"])
def test_a_bug_while_decorating_does_not_reach_the_host(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, bugs: deque[BaseException], state: str
) -> None:
    point = registry.point("p")
    if state == "decorated while armed":
        arm(registry, rule("p", PASS))
    with monkeypatch.context() as patch:
        patch.setattr(_site, "make_clone", lambda *_: 1 / 0)
        function = point(make("function"))
    assert function(1) == 3
    bugs.clear()


def test_this_interpreter_can_be_patched() -> None:
    assert can_patch() is (sys.implementation.name == "cpython")


def test_other_interpreters_are_not_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "implementation", types.SimpleNamespace(name="pypy"))
        assert not can_patch.__wrapped__()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
        assert not can_patch.__wrapped__()


@pytest.mark.parametrize(
    "broken",
    [
        lambda *_: 1 / 0,
        lambda code, *_: code,  # the swap does nothing
        lambda code, *_: code.replace(co_flags=code.co_flags & ~0x280),  # loses the kind
    ],
    ids=["raises", "not reached", "loses the kind"],
)
def test_a_canary_that_dies_forbids_patching(
    monkeypatch: pytest.MonkeyPatch, broken: Any, log: pytest.LogCaptureFixture
) -> None:
    real = _site.searched
    if broken.__code__.co_consts and "co_flags" in broken.__code__.co_names:
        monkeypatch.setattr(_site, "searched", lambda *args: broken(real(*args)))
    else:
        monkeypatch.setattr(_site, "searched", broken)
    assert not can_patch.__wrapped__()


def test_every_kind_of_code_is_known() -> None:
    for kind in KINDS:
        assert kind_of(make(kind).__code__) == kind
    assert kind_of(inner_code(types.coroutine(make("generator")))) == "coroutine"
