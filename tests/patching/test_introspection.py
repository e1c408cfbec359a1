"""What looks at a function sees the same whether it is armed, acts, or never was."""

from __future__ import annotations

import asyncio
import doctest
import functools
import inspect
import pydoc
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import FUNCTIONS, PLACES, afinish, finish, run
from patching_kit import ARMED, STATES, function_of, labelled, patched, same_in, state

from chaospoint import Registry

every_state = pytest.mark.parametrize("name", STATES)
every_function = pytest.mark.parametrize("kind", FUNCTIONS)


def look(call: Any) -> list[object]:
    """Look at a call, and at its function, in all the ways that tools do."""
    seen: list[object] = []
    for thing in (call, function_of(call)):
        seen += [
            inspect.signature(thing),
            inspect.getfullargspec(thing),
            inspect.getsource(thing),
            inspect.getsourcelines(thing),
            inspect.getsourcefile(thing),
            inspect.getfile(thing),
            inspect.getmodule(thing),
            inspect.getcomments(thing),
            inspect.getdoc(thing),
            inspect.unwrap(thing),
            typing.get_type_hints(thing),
            pydoc.render_doc(thing),
            inspect.isfunction(thing),
            inspect.ismethod(thing),
            inspect.isroutine(thing),
            inspect.iscoroutinefunction(thing),
            inspect.isgeneratorfunction(thing),
            inspect.isasyncgenfunction(thing),
            sys.version_info < (3, 14) and asyncio.iscoroutinefunction(thing),  # then deprecated
            thing.__name__,
            thing.__qualname__,
            thing.__module__,
            thing.__doc__,
            repr(thing),
            hash(thing),
        ]
    function = function_of(call)
    seen += [
        function.__defaults__,
        function.__kwdefaults__,
        function.__closure__,
        function.__annotations__,
        function.__globals__ is globals(),
        dict(vars(function)),
        sorted(dir(function)),
        getattr(function, "__type_params__", ()),
        getattr(function, "__wrapped__", None),
        inspect.getclosurevars(function).nonlocals,
        inspect.getsourcelines(function.__code__),
        inspect.getsource(function.__code__),
    ]
    return seen


@every_state
@every_function
def test_inspection_of_a_function_gives_the_same_results(
    registry: Registry, kind: str, name: str
) -> None:
    call = FUNCTIONS[kind](labelled(registry))
    same_in(registry, name, call, lambda: look(call))


@every_state
@every_function
def test_it_returns_the_same_kind_of_object(registry: Registry, kind: str, name: str) -> None:
    call = FUNCTIONS[kind](labelled(registry))

    def made() -> list[object]:
        thing = call()
        seen = [type(thing), inspect.isawaitable(thing)]
        assert finish(thing) == 7
        return seen

    same_in(registry, name, call, made)


@every_state
@every_function
def test_the_returned_coroutine_has_the_functions_name(
    registry: Registry, kind: str, name: str
) -> None:
    """Task names, reprs and "was never awaited" tell it."""
    call = FUNCTIONS[kind](labelled(registry))

    def named() -> object:
        thing = call()
        names = getattr(thing, "__name__", None), getattr(thing, "__qualname__", None)
        assert finish(thing) == 7
        return names

    same_in(registry, name, call, named)


@every_state
@pytest.mark.parametrize("kind", ["coroutine", "generator", "async_generator"])
def test_a_name_given_to_the_function_is_that_of_what_it_returns(
    registry: Registry, kind: str, name: str
) -> None:
    call: Any = FUNCTIONS[kind](labelled(registry))
    call.__name__ = "given"
    call.__qualname__ = "given.name"

    def named() -> object:
        thing = call()
        names = thing.__name__, thing.__qualname__
        assert finish(thing) == 7
        return names

    same_in(registry, name, call, named)


@every_state
@pytest.mark.parametrize("kind", PLACES)
def test_every_placement_gives_the_same_result(registry: Registry, kind: str, name: str) -> None:
    call = PLACES[kind](labelled(registry))
    with state(registry, name) if (kind, name) not in IMPOSSIBLE else state(registry, "armed"):
        assert finish(call()) == 7
        assert run(afinish(call())) == 7


IMPOSSIBLE = {
    (kind, name)
    for kind in ("statement", "async_statement")
    for name in ("after", "acts after")  # a statement has no end
}


# -- attributes --------------------------------------------------------------------------


def shaped(a: int, /, b: str = "b", *args: int, c: float, d: str = "d", **rest: Any) -> list[Any]:
    """Return all of it.

    >>> shaped(1, c=2)
    [1, 'b', (), 2, 'd', {}]
    >>> shaped(1, "x", 3, c=2, d="y", e=4)
    [1, 'x', (3,), 2, 'y', {'e': 4}]
    """
    return [a, b, args, c, d, rest]


@every_state
def test_a_doctest_of_a_decorated_function_runs(registry: Registry, name: str) -> None:
    labelled(registry)(shaped)
    with state(registry, name) as armed:
        (found,) = doctest.DocTestFinder().find(shaped, globs={"shaped": shaped})
        assert found.lineno == shaped.__code__.co_firstlineno
        assert doctest.DocTestRunner(verbose=False).run(found) == (0, 2)
        assert {handle.reaches for handle in armed} <= {2}


@every_state
def test_wrong_calls_are_refused_in_the_same_words(registry: Registry, name: str) -> None:
    labelled(registry)(shaped)

    def refused() -> list[str]:
        said = []
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
            ((), {}),
            ((1,), {}),
            ((), {"a": 1, "c": 2}),
            ((1, 2), {"b": 2, "c": 3}),
        ]
        for args, kwargs in calls:
            with pytest.raises(TypeError) as refusal:
                shaped(*args, **kwargs)
            said.append(str(refusal.value))
        return said

    same_in(registry, name, shaped, refused)


@every_state
def test_defaults_may_be_changed_at_any_time(registry: Registry, name: str) -> None:
    @labelled(registry)
    def function(a: int = 1, *, k: int = 2) -> tuple[int, int]:
        return a, k

    with state(registry, name):
        function.__defaults__ = (3,)
        function.__kwdefaults__["k"] = 4
        assert function() == (3, 4)
        assert str(inspect.signature(function)).startswith("(a: 'int' = 3, *, k: 'int' = 4)")
        function.__defaults__ = None
        function.__kwdefaults__ = None
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
            function()
        function.__defaults__, function.__kwdefaults__ = (5,), {"k": 6}
    assert function() == (5, 6)


@every_state
def test_attributes_of_a_function_stay_on_it(registry: Registry, name: str) -> None:
    def function() -> str:
        return function.tag

    labelled(registry)(function)
    function.tag = "before"
    with state(registry, name):
        assert function() == "before"
        function.tag = "during"
        function.__doc__ = "Told later."
        function.__annotations__["return"] = "str"
        function.__name__ = function.__qualname__ = "renamed"
        assert function() == "during"
    assert vars(function) == {"tag": "during"}
    assert (function.__doc__, function.__name__) == ("Told later.", "renamed")
    assert typing.get_type_hints(function) == {"return": str}


@every_state
def test_hints_given_as_text_are_found_later(registry: Registry, name: str) -> None:
    space: dict[str, Any] = {}
    exec("def late(a: 'Later') -> 'list[Later]': return [a]", space)
    late: Callable[[Any], Any] = labelled(registry)(space["late"])
    with state(registry, name):
        with pytest.raises(NameError, match="Later"):
            typing.get_type_hints(late)
        space["Later"] = int
        assert typing.get_type_hints(late) == {"a": int, "return": list[int]}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with 3.12")
@every_state
def test_type_parameters_are_kept(registry: Registry, name: str) -> None:
    space: dict[str, Any] = {"__name__": __name__}
    exec("def first[T](a: list[T]) -> T: return a[0]", space)
    first: Any = labelled(registry)(space["first"])
    with state(registry, name):
        (kind,) = first.__type_params__
        assert kind.__name__ == "T"
        assert first([3]) == 3


@every_state
def test_a_function_without_source_has_none_and_works(registry: Registry, name: str) -> None:
    space: dict[str, Any] = {}
    # "<string>" has a source in workers of pytest-xdist on Python 3.13: they run by `python -c`.
    exec(compile("def made(a, *, k=2): return a + k", "<no source>", "exec"), space)
    made: Callable[..., Any] = labelled(registry)(space["made"])
    double: Callable[[int], int] = labelled(registry)(lambda a: 2 * a)
    with state(registry, name):
        with pytest.raises(OSError, match=r"could not get source|source code not available"):
            inspect.getsource(made)
        assert str(inspect.signature(made)) == "(a, *, k=2)"
        assert (made(1), double(4)) == (3, 8)
        assert "lambda a: 2 * a" in inspect.getsource(double)


@every_state
def test_a_generator_that_is_awaited_is_taken_for_one(registry: Registry, name: str) -> None:
    @labelled(registry)
    @types.coroutine
    def old() -> Iterator[None]:
        yield from ()
        return 7

    with state(registry, name):
        assert inspect.isgeneratorfunction(old)
        made = old()
        assert inspect.isawaitable(made)

        async def user() -> Any:
            return await made

        assert run(user()) == 7


# -- what cannot be kept -----------------------------------------------------------------


@pytest.mark.parametrize("name", ARMED)
def test_readers_of_the_code_object_see_the_trampoline(registry: Registry, name: str) -> None:
    """Compilers of bytecode, and `inspect.getclosurevars`, which looks for names in it."""

    @labelled(registry)
    def function(call: Any) -> object:
        return len(call), functools

    original = function.__code__
    assert set(inspect.getclosurevars(function).globals) == {"functools"}
    with state(registry, name):
        code = function.__code__
        assert code is not original
        assert (code.co_filename, code.co_firstlineno) == (
            original.co_filename,
            original.co_firstlineno,
        )
        assert (code.co_name, code.co_qualname) == (original.co_name, original.co_qualname)
        assert "functools" not in inspect.getclosurevars(function).globals
        assert patched(function)
    assert function.__code__ is original
