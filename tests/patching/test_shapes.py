"""Functions of every shape, and what they do with their own names, cells and frames."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

import pytest
from helpers import Boom
from patching_kit import STATES, labelled, patched, same_in, state

import chaospoint
from chaospoint import Registry
from chaospoint._kernel.signature import argument_names

every_state = pytest.mark.parametrize("name", STATES)


def built(source: str, name: str = "function", **space: Any) -> Any:
    exec(source, space)
    return space[name]


# -- arguments ---------------------------------------------------------------------------


@every_state
@pytest.mark.parametrize("count", [0, 1, 2, 7, 64, 255, 300, 1000])
def test_any_number_of_arguments(registry: Registry, count: int, name: str) -> None:
    names = [f"a{n}" for n in range(count)]
    kinds = {
        "positional": ", ".join(names),
        "positional only": ", ".join([*names, "/"]) if names else "",
        "keyword only": ", ".join(["*", *names]) if names else "",
        "defaults": ", ".join(f"{one}={n}" for n, one in enumerate(names)),
    }
    for kind, head in kinds.items():
        function = built(f"def function({head}): return [{', '.join(names)}]")
        labelled(registry)(function)
        values = list(range(count))
        with state(registry, name):
            if kind in ("positional", "positional only", "defaults"):
                assert function(*values) == values
            if kind in ("positional", "keyword only", "defaults"):
                assert function(**dict(zip(names, values, strict=True))) == values
            if kind == "defaults":
                assert function() == values
            assert len(inspect.signature(function).parameters) == count


LIKE_THE_TEMPLATES = (
    *("a0", "a1", "k0", "k1", "v0", "v1", "args", "kwargs", "inner", "outer", "f", "n"),
    *("_clone", "_firing", "_inside", "_n", "_tally", "_take", "_go_on", "_partial", "_search"),
    *(
        "_values",
        "_after",
        "_found",
        "_fire",
        "_here",
        "_rule",
        "__debug",
        "_",
        "self",
        "cls",
        "print",
        "größe",
        "ﬁ".casefold(),
    ),
)


@every_state
def test_arguments_named_like_the_templates_own(registry: Registry, name: str) -> None:
    some = LIKE_THE_TEMPLATES
    heads = {
        f"{', '.join(some)}": "positional",
        f"{', '.join(some[:9])}, /, {', '.join(some[9:])}": "mixed",
        f"*, {', '.join(some)}": "keywords",
        f"{', '.join(some[:9])}, *more, {', '.join(some[9:])}, **rest": "rest",
    }
    for head, kind in heads.items():
        for turn in (0, 5):
            rest = ", more, rest" if kind == "rest" else ""
            function = built(f"def function({head}): return [{', '.join(some)}{rest}]")
            labelled(registry)(function)
            values = list(range(turn, turn + len(some)))
            at = {"positional": len(some), "mixed": 9, "keywords": 0, "rest": 9}[kind]
            named = dict(zip(some[at:], values[at:], strict=True))
            expected = [*values, (), {"x": 1}] if rest else values
            with state(registry, name):
                assert function(*values[:at], **named, **({"x": 1} if rest else {})) == expected


@every_state
def test_arguments_stand_in_the_order_that_rules_read_them(registry: Registry, name: str) -> None:
    def function(a: int, /, b: int, *args: int, k: int, **rest: int) -> int:
        return a + b + k

    labelled(registry)(function)
    same_in(registry, name, function, lambda: argument_names(function.__code__))
    assert argument_names(function.__code__) == (("a", "b", "k", "args", "rest"), True)


# -- cells -------------------------------------------------------------------------------


@every_state
def test_a_closure_shares_its_cells_with_the_outer_function(registry: Registry, name: str) -> None:
    count, gone = 0, "there"

    @labelled(registry)
    def bump(by: int = 1) -> int:
        nonlocal count
        count += by
        return count

    @labelled(registry)
    def use() -> str:
        return gone

    @labelled(registry)
    def forget() -> None:
        nonlocal gone
        del gone

    with state(registry, name):
        count = 10
        assert (bump(5), count) == (15, 15)
        assert bump.__closure__ is not None
        bump.__closure__[0].cell_contents = 1
        assert (bump(), count) == (2, 2)
        assert use() == "there"
        forget()
        with pytest.raises(NameError, match="gone"):
            use()
        gone = "back"
    assert (use(), bump()) == ("back", 3)


@every_state
@pytest.mark.parametrize("cells", [1, 20, 300])
def test_a_closure_of_any_size(registry: Registry, cells: int, name: str) -> None:
    names = [f"v{n}" for n in range(cells)]
    source = "def make():\n"
    source += "".join(f"    {one} = {n}\n" for n, one in enumerate(names))
    source += f"    def function(a, *, k=0): return [a, k, {', '.join(names)}]\n"
    source += "    return function\n"
    function: FunctionType = built(source, "make")()
    labelled(registry)(function)
    with state(registry, name):
        assert function(7, k=8) == [7, 8, *range(cells)]
        assert len(function.__closure__ or ()) == cells
        assert function.__code__.co_freevars == tuple(sorted(names))


@every_state
def test_arguments_that_are_cells_are_the_calls_own(registry: Registry, name: str) -> None:
    @labelled(registry)
    def adder(a: int, *args: int, k: int = 0, **rest: int) -> Callable[[], int]:
        def add() -> int:
            nonlocal a
            a += 1
            return a + sum(args) + k + sum(rest.values())

        return add

    with state(registry, name):
        one, two = adder(1, 2, k=3, x=4), adder(100)
        assert [one(), one(), two()] == [11, 12, 101]


# -- names -------------------------------------------------------------------------------


@every_state
def test_locals_globals_and_exec_inside_are_the_functions_own(
    registry: Registry, name: str
) -> None:
    @labelled(registry)
    def function(a: int, *, k: int = 2) -> list[Any]:
        here = dict(locals())
        exec("found = a + k", globals(), here)
        code = compile("1_0", "<text>", "eval")
        return [
            sorted(here),
            here["found"],
            eval(code),
            eval("a", None, {"a": a}),
            globals()["__name__"],
            sys._getframe().f_code.co_name,
            [x + a for x in range(k)],
            __name__,
        ]

    with state(registry, name):
        found = function(1)
    assert found == [["a", "found", "k"], 3, 10, 1, __name__, "function", [1, 2], __name__]


@every_state
def test_a_function_of_other_globals_and_builtins(registry: Registry, name: str) -> None:
    space = {"__builtins__": {"len": lambda _: "mine"}, "word": "there"}
    exec("def function(a): return len(a), word", space)
    function: Any = labelled(registry)(space["function"])
    with state(registry, name):
        assert function([]) == ("mine", "there")
        space["word"] = "later"
        assert function([]) == ("mine", "later")


@every_state
def test_a_function_refers_to_itself_by_its_name(registry: Registry, name: str) -> None:
    @labelled(registry)
    def function() -> Any:
        function.calls += 1
        return function

    function.calls = 0
    with state(registry, name):
        assert function() is function
    assert function.calls == 1


# -- others who patch code ---------------------------------------------------------------


def tracing(function: FunctionType, log: list[str], word: str) -> Callable[[], None]:
    """Patch a function as a tracing library does; return what undoes it."""
    before = function.__code__
    inner = FunctionType(before, function.__globals__, "inner", None, function.__closure__)

    def enter(*args: Any, **kwargs: Any) -> Any:
        log.append(word)
        return inner(*args, **kwargs)

    def template(a, *, k=2):
        enter = "<enter>"
        return enter(a, k=k)

    def place(value: object) -> object:
        return enter if value == "<enter>" else value

    code: CodeType = template.__code__
    theirs = code.replace(
        co_consts=tuple(map(place, code.co_consts)),
        co_name=before.co_name,
        co_qualname=before.co_qualname,
        co_filename=before.co_filename,
        co_firstlineno=before.co_firstlineno,
    )
    function.__code__ = theirs

    def undo() -> None:
        if function.__code__ is theirs:
            function.__code__ = before

    return undo


@pytest.fixture
def target(registry: Registry) -> Any:
    @labelled(registry)
    def target(a: int, *, k: int = 2) -> int:
        return a + k

    return target


@every_state
def test_a_tracer_that_was_there_first_is_kept(registry: Registry, target: Any, name: str) -> None:
    log: list[str] = []
    original = target.__code__
    undo = tracing(target, log, "traced")
    theirs = target.__code__
    with state(registry, name) as armed:
        assert [target(1), target(1, k=5)] == [3, 6]
        assert {handle.reaches for handle in armed} <= {2}
    assert log == ["traced"] * 2
    assert target.__code__ is theirs
    undo()
    assert (target(1), target.__code__, len(log)) == (3, original, 2)


@every_state
def test_a_tracer_that_comes_and_goes_while_armed(
    registry: Registry, target: Any, name: str
) -> None:
    log: list[str] = []
    original = target.__code__
    with state(registry, name) as armed:
        undo = tracing(target, log, "traced")
        assert target(1) == 3
        undo()
        assert target(1) == 3
        assert {handle.reaches for handle in armed} <= {2}
    assert (log, target.__code__) == (["traced"], original)


@every_state
@pytest.mark.filterwarnings("ignore::chaospoint.errors.ChaosWarning")
def test_a_tracer_that_comes_while_armed_and_stays(
    registry: Registry, target: Any, name: str
) -> None:
    log: list[str] = []
    with state(registry, name):
        undo = tracing(target, log, "traced")
    assert target(1) == 3
    with chaospoint.armed("p", registry=registry, exception=Boom, times=1), pytest.raises(Boom):
        target(1)
    assert target(1) == 3
    assert log == ["traced"] * 2
    undo()  # which puts our trampoline back, if there was one: it passes calls through
    assert (target(1), log) == (3, ["traced"] * 2)
    with chaospoint.armed("p", registry=registry, latency=0):
        assert target(1) == 3
    assert not patched(target)
