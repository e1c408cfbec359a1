"""Trampolines: every shape of arguments, every kind, any names; and the interpreter survives."""

from __future__ import annotations

import dis
import inspect
import marshal
import subprocess
import sys
import traceback
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import chaospoint
from chaospoint._kernel.chance import Schedule
from chaospoint._kernel.context import transparently
from chaospoint._kernel.tally import Tally, counted
from chaospoint._patching.trampoline import KINDS, clone_of, make_clone, searched, single

from .kit import run

MODES = ("single", "single firing", "searched", "searched firing")
KIND_NAMES = ("function", "coroutine", "generator", "async generator")


def aim_of(tally: Tally) -> Any:
    """Return as much of an aim as a trampoline takes."""
    rule = SimpleNamespace(terms=SimpleNamespace(scoped=False))
    return SimpleNamespace(rule=rule, tally=tally)


def swap(function: FunctionType, mode: str) -> Tally:
    """Put a trampoline on a function; where one fires the call is made all the same."""
    code = function.__code__
    clone = make_clone(function, code)
    plain = not code.co_flags & KINDS
    fires = mode.endswith("firing")
    tally = Tally(Schedule(1))
    firing = ("aim", 1)

    def act(*fired: Any) -> Any:
        if plain:
            assert fired == firing
            return None
        fired, call = fired
        assert fired is firing
        return call()

    if mode.startswith("single"):
        fire = partial(lambda _: firing if fires and not plain else None)
        function.__code__ = single(code, clone, aim_of(tally), fire, act)
    else:

        def search() -> Any:
            next(tally.ordinals)
            return firing if fires else None

        function.__code__ = searched(code, clone, act, search)
    return tally


# -- generated signatures ----------------------------------------------------------------

# Among them all names that the templates use themselves.
NAMES = (
    *("_n", "_clone", "_act", "_partial", "_found", "_tally", "_fire", "_search", "_inside"),
    *("a0", "a1", "k0", "k1", "v0", "v1", "args", "kwargs", "inner", "outer", "self", "cls"),
    *("x", "y", "z", "größe", "func", "None_"),
)


@st.composite
def signatures(draw: st.DrawFn) -> tuple[str, list[str], dict[str, Any]]:
    """Return a function's source, its free variables and a call of it."""
    names = iter(draw(st.permutations(NAMES)))
    positional_only = draw(st.integers(0, 3))
    positional = positional_only + draw(st.integers(0, 3))
    defaults = draw(st.integers(0, positional))
    varargs, varkw = draw(st.booleans()), draw(st.booleans())
    keyword_only = draw(st.integers(0, 3))
    free = [next(names) for _ in range(draw(st.integers(0, 5)))]

    parts: list[str] = []
    shown: list[str] = []
    args: list[object] = []
    kwargs: dict[str, object] = {}
    by_keyword = False
    for at in range(positional):
        name = next(names)
        shown.append(name)
        optional = at >= positional - defaults
        parts.append(f"{name}={at!r}" if optional else name)
        if at + 1 == positional_only:
            parts.append("/")
        leave_out = optional and draw(st.booleans())
        if at < positional_only:
            if leave_out:
                by_keyword = True
            elif not by_keyword:
                args.append(f"p{at}")
        elif not leave_out:
            by_keyword = by_keyword or draw(st.booleans())
            if by_keyword:
                kwargs[name] = f"p{at}"
            else:
                args.append(f"p{at}")
        else:
            by_keyword = True
    if varargs:
        name = next(names)
        shown.append(name)
        parts.append(f"*{name}")
        if not by_keyword:
            args += ["more"] * draw(st.integers(0, 2))
    elif keyword_only:
        parts.append("*")
    for at in range(keyword_only):
        name = next(names)
        shown.append(name)
        if draw(st.booleans()):
            parts.append(f"{name}={at!r}")
            if draw(st.booleans()):
                continue
        else:
            parts.append(name)
        kwargs[name] = f"k{at}"
    if varkw:
        name = next(names)
        shown.append(name)
        parts.append(f"**{name}")
        for _ in range(draw(st.integers(0, 2))):
            kwargs[next(names)] = "extra"

    kind = draw(st.sampled_from(KIND_NAMES))
    word = "async def" if kind in ("coroutine", "async generator") else "def"
    end = "yield" if "generator" in kind else "return"
    result = "".join(f"{name}, " for name in (*shown, *free))
    source = "def make():\n"
    source += "".join(f"    {name} = 'free {name}'\n" for name in free)
    source += f"    {word} f({', '.join(parts)}):\n        {end} ({result})\n    return f\n"
    return source, free, {"args": args, "kwargs": kwargs, "kind": kind}


def build(source: str) -> FunctionType:
    space: dict[str, Any] = {}
    exec(compile(source, __file__, "exec"), space)
    made = space["make"]()
    assert isinstance(made, FunctionType)
    return made


@given(signatures(), st.sampled_from(MODES))
@settings(max_examples=400, deadline=None)
def test_every_shape_takes_and_hands_on_the_same_arguments(
    made: tuple[str, list[str], dict[str, Any]], mode: str
) -> None:
    source, _, call = made
    args, kwargs, kind = call["args"], call["kwargs"], call["kind"]
    function = build(source)
    signature, original = inspect.signature(function), function.__code__
    expected = run(function(*args, **kwargs), kind)
    tally = swap(function, mode)
    code = function.__code__
    assert code is not original
    assert run(function(*args, **kwargs), kind) == expected
    assert counted(tally.ordinals) == 1

    assert inspect.signature(function) == signature
    for name in (
        *("argcount", "posonlyargcount", "kwonlyargcount", "freevars", "name", "qualname"),
        *("filename", "firstlineno"),
    ):
        assert getattr(code, f"co_{name}") == getattr(original, f"co_{name}"), name
    assert code.co_flags & (KINDS | 0x0C) == original.co_flags & (KINDS | 0x0C)
    shown = original.co_argcount + original.co_kwonlyargcount
    shown += bool(original.co_flags & 4) + bool(original.co_flags & 8)
    assert code.co_varnames[:shown] == original.co_varnames[:shown]

    function.__code__ = original
    assert run(function(*args, **kwargs), kind) == expected


@given(signatures(), st.sampled_from(MODES))
@settings(max_examples=100, deadline=None)
def test_wrong_arguments_are_refused_in_the_same_words(
    made: tuple[str, list[str], dict[str, Any]], mode: str
) -> None:
    function = build(made[0])

    def refusals() -> list[str]:
        said = []
        for args, kwargs in (((), {}), ((1,) * 9, {}), ((), {"nobody": 1}), ((1,), {"a0": 1})):
            try:
                made = function(*args, **kwargs)
            except TypeError as error:
                said.append(str(error))
            else:
                said.append("fine")
                getattr(made, "close", lambda: None)()
        return said

    before = refusals()
    swap(function, mode)
    assert refusals() == before


@given(signatures(), st.sampled_from(MODES))
@example(("def make():\n    v = 1\n    def f(): return v\n    return f\n", ["v"], {}), "single")
@settings(max_examples=50, deadline=None)
def test_code_objects_can_be_hashed_compared_and_disassembled(
    made: tuple[str, list[str], dict[str, Any]], mode: str
) -> None:
    function = build(made[0])
    original = function.__code__
    swap(function, mode)
    code = function.__code__
    assert hash(code) == hash(code)
    assert {code: 1}[code] == 1
    assert code == code.replace()
    assert code != original
    assert list(dis.get_instructions(code))
    assert "LOAD_FAST" in dis.Bytecode(code).dis()
    assert all(line in (None, code.co_firstlineno) for _, _, line in code.co_lines())
    assert all((start, end) == (None, None) for _, _, start, end in code.co_positions()), (
        "no columns: a traceback would show misplaced carets"
    )


def test_templates_are_shared_and_their_constants_are_not() -> None:
    one = build("def make():\n    def f(a, *, k): return ('one', a, k)\n    return f\n")
    two = build("def make():\n    def g(b, *, m): return ('two', b, m)\n    return g\n")
    swap(one, "single")
    swap(two, "single")
    assert one.__code__.co_code == two.__code__.co_code
    assert (one(1, k=2), two(1, m=2)) == (("one", 1, 2), ("two", 1, 2))


# -- names, classes, closures ------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_mangled_names(mode: str) -> None:
    class Thing:
        def method(self, __a, /, __b, *, __k, **__kw):
            return __a, __b, __k, __kw

    assert "_Thing__k" in Thing.method.__code__.co_varnames
    swap(Thing.method, mode)
    said = Thing().method(1, _Thing__b=2, _Thing__k=3, x=4)
    assert said == (1, 2, 3, {"x": 4})


@pytest.mark.parametrize("mode", MODES)
def test_super_without_arguments(mode: str) -> None:
    class Base:
        def greet(self) -> str:
            return "hello"

        @classmethod
        def make(cls) -> str:
            return cls.__name__

    class Child(Base):
        def greet(self) -> str:
            return super().greet() + " from " + __class__.__name__

        @classmethod
        def make(cls) -> str:
            return "child " + super().make()

    swap(Child.greet, mode)
    swap(Child.__dict__["make"].__func__, mode)
    assert Child().greet() == "hello from Child"
    assert Child.make() == "child Child"


@pytest.mark.parametrize("mode", MODES)
def test_an_argument_that_is_a_cell(mode: str) -> None:
    def function(a: int, *args: int, k: int = 3, **kw: int) -> list[object]:
        return [one() for one in (lambda: a, lambda: args, lambda: k, lambda: kw)]

    swap(function, mode)
    assert function(1, 2, x=4) == [1, (2,), 3, {"x": 4}]


@pytest.mark.parametrize("mode", MODES)
def test_a_closure_sees_and_sets_what_its_maker_holds(mode: str) -> None:
    count = 0

    def bump(by: int = 1) -> int:
        nonlocal count
        count += by
        return count

    swap(bump, mode)
    count = 10
    assert bump(5) == 15
    assert count == 15


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_cell_stays_empty(mode: str) -> None:
    def use() -> int:
        return later

    swap(use, mode)
    with pytest.raises(NameError, match="later"):
        use()
    later = 3
    assert use() == 3


def test_defaults_may_change_while_armed() -> None:
    def function(a: int = 1, *, k: int = 2) -> tuple[int, int]:
        return a, k

    swap(function, "single")
    function.__defaults__ = (7,)
    function.__kwdefaults__ = {"k": 8}
    assert function() == (7, 8)


def test_arguments_are_not_held_longer_than_the_call() -> None:
    import weakref

    class Thing:
        pass

    def function(thing: object) -> None:
        pass

    for mode in MODES:
        swap(function, mode)
        thing = Thing()
        seen = weakref.ref(thing)
        function(thing)
        del thing
        assert seen() is None, mode


# -- the call itself ---------------------------------------------------------------------


def test_only_a_due_ordinal_is_looked_at() -> None:
    def function() -> str:
        return "own"

    looked: list[int] = []
    tally = Tally(Schedule(1, skip=3, times=1))
    code = function.__code__
    clone = make_clone(function, code)

    def fire(ordinal: int) -> object:
        looked.append(ordinal)
        return ("answer",) if tally.take(ordinal) else None

    function.__code__ = single(code, clone, aim_of(tally), fire, print)
    assert [function() for _ in range(3)] == ["own"] * 3
    assert looked == [1]  # which makes the first chunk, and so the bound
    assert function() == "answer"
    assert looked == [1, 4]
    assert function() == "own"
    assert counted(tally.ordinals) == 5


def test_inside_chaospoint_a_trampoline_passes_through_uncounted() -> None:
    def function() -> str:
        return "own"

    tally = swap(function, "single firing")
    assert transparently(function) == "own"
    assert counted(tally.ordinals) == 0


@pytest.mark.parametrize("mode", ["single", "searched"])
def test_a_call_that_does_not_fire_costs_one_frame(mode: str) -> None:
    def depth(n: int) -> int:
        if n:
            return depth(n - 1)
        frame, frames = sys._getframe(), 0
        while frame.f_code.co_name == "depth":
            frames, frame = frames + 1, frame.f_back
        return frames

    plain = depth(9)
    swap(depth, mode)
    assert plain == 10
    assert depth(9) == 20


@pytest.mark.parametrize("kind", KIND_NAMES[1:])
def test_when_nothing_fires_the_caller_gets_the_functions_own_object(kind: str) -> None:
    function = {"coroutine": _coroutine, "generator": _generator, "async generator": _agen}[kind]
    function = FunctionType(function.__code__, globals(), function.__name__)
    original = function.__code__
    swap(function, "single")
    made = function()
    inner = (
        getattr(made, "cr_code", None)
        or getattr(made, "gi_code", None)
        or getattr(made, "ag_code", None)
    )
    assert inner is original
    assert run(made, kind) is not None
    assert inspect.iscoroutinefunction(function) is (kind == "coroutine")
    assert inspect.isgeneratorfunction(function) is (kind == "generator")
    assert inspect.isasyncgenfunction(function) is (kind == "async generator")


async def _coroutine() -> int:
    return 1


def _generator():
    yield 1


async def _agen():
    yield 1


# -- what looks into frames --------------------------------------------------------------


def _with_free_variables(free: int, kind: str) -> FunctionType:
    names = ", ".join(f"v{n}" for n in range(free))
    word = "async def" if kind in ("coroutine", "async generator") else "def"
    end = "yield" if "generator" in kind else "return"
    source = "def make():\n"
    source += "".join(f"    v{n} = {n}\n" for n in range(free))
    source += f"    {word} f(a=1, *, k=2):\n        if a: raise ValueError(a)\n"
    source += f"        {end} ({names}{',' if names else ''})\n    return f\n"
    return build(source)


@pytest.mark.parametrize("kind", KIND_NAMES)
@pytest.mark.parametrize("free", range(6))
@pytest.mark.parametrize("mode", MODES)
def test_locals_of_a_trampoline_can_be_read(free: int, kind: str, mode: str) -> None:
    """Without the instruction that copies the free variables this crashes the interpreter."""
    function = _with_free_variables(free, kind)
    swap(function, mode)
    seen: list[dict[str, object]] = []

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code is function.__code__:
            seen.append(dict(frame.f_locals))
            frame.f_trace_opcodes = True
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        assert run(function(0), kind) in (tuple(range(free)), [tuple(range(free))])
    finally:
        sys.settrace(before)
    assert seen
    assert all(one["a"] == 0 and one["k"] == 2 for one in seen)
    assert all(one[f"v{n}"] == n for n in range(free) for one in seen[-1:])


@pytest.mark.parametrize("kind", KIND_NAMES)
@pytest.mark.parametrize("free", [0, 1, 5])
@pytest.mark.parametrize("mode", MODES)
def test_a_traceback_with_locals_can_be_printed(free: int, kind: str, mode: str) -> None:
    function = _with_free_variables(free, kind)
    swap(function, mode)
    with pytest.raises(ValueError, match="7") as caught:
        run(function(7), kind)
    text = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert "ValueError: 7" in text
    assert f'"{__file__}"' in text
    if kind == "function":
        assert text.count(", in f\n") == 2  # the head of the function, and the line that raised


def test_a_traceback_shows_the_functions_head() -> None:
    def function(a: int) -> None:
        raise ValueError(a)

    first = function.__code__.co_firstlineno
    swap(function, "single")
    with pytest.raises(ValueError, match="1") as caught:
        function(1)
    frames = traceback.extract_tb(caught.value.__traceback__)[-2:]
    assert [frame.lineno for frame in frames] == [first, first + 1]
    assert frames[0].line == "def function(a: int) -> None:"
    assert "^" not in "".join(traceback.format_list(frames[:1]))


@pytest.mark.parametrize("mode", MODES)
def test_tracers_see_every_line_of_the_function(mode: str) -> None:
    def function(a: int) -> int:
        b = a + 1
        if b > 5:
            b = 0
        return b

    def lines() -> set[int]:
        seen: set[int] = set()

        def trace(frame: FrameType, event: str, arg: object) -> Any:
            if frame.f_code.co_name == "function" and event == "line":
                seen.add(frame.f_lineno - function.__code__.co_firstlineno)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            function(1)
        finally:
            sys.settrace(before)
        return seen

    assert lines() == {1, 2, 4}
    swap(function, mode)
    assert lines() - {0} == {1, 2, 4}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_monitoring_sees_every_line_of_the_function() -> None:
    def function(a: int) -> int:
        a += 1
        return a

    swap(function, "single")
    monitoring: Any = sys.monitoring
    tool, seen = 4, set()
    first = function.__code__.co_firstlineno
    monitoring.use_tool_id(tool, "test")
    try:
        monitoring.register_callback(
            tool,
            monitoring.events.LINE,
            lambda code, line: code.co_name == "function" and seen.add(line - first),
        )
        monitoring.set_events(tool, monitoring.events.LINE)
        assert function(1) == 2
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
    assert {1, 2} <= seen


def test_a_crash_would_take_the_process_so_it_is_tried_in_another_one() -> None:
    """A debugger's work, in a process of its own: read and write locals in every frame."""
    source = str(Path(chaospoint.__file__).parents[1])
    code = """
import sys, chaospoint
def make():
    v, w = 1, 2
    @chaospoint.point("p")
    def f(a):
        sys._getframe(1).f_locals
        x = sys._getframe(1).f_locals
        x["v"] = 9
        return v + w + a
    return f
f = make()
def trace(frame, event, arg):
    frame.f_locals; frame.f_locals.update({"b": 1}); frame.f_lineno
    return trace
with chaospoint.armed("p", latency=0, skip=1):
    sys.settrace(trace)
    f(1), f(2)
    sys.settrace(None)
print("alive")
"""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code],
        env={"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


# -- clones ------------------------------------------------------------------------------


def test_the_clone_is_found_in_a_trampoline_and_nowhere_else() -> None:
    def function() -> None:
        pass

    def holder() -> object:
        return function

    code = function.__code__
    assert clone_of(code) is None
    assert clone_of(holder.__code__) is None
    assert clone_of(code.replace(co_consts=(None, holder))) is None
    swap(function, "single")
    clone = clone_of(function.__code__)
    assert clone is not None
    assert clone.__code__ is code
    assert clone.__globals__ is function.__globals__


def test_original_code_can_still_be_marshalled_after_a_swap() -> None:
    def function() -> int:
        return 5

    code = function.__code__
    swap(function, "searched")
    function.__code__ = code
    assert isinstance(marshal.loads(marshal.dumps(function.__code__)), CodeType)
    assert function() == 5
