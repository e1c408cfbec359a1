"""Functions of rules are given the arguments of the call by name, and refused where none fit."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import chaospoint
from chaospoint.errors import ChaosWarning, UnsupportedFault

Call = Callable[..., Any]


@chaospoint.point("handed.function")
def function(to: str = "db", n: int = 1) -> object:
    return "real"


@chaospoint.point("handed.coroutine")
async def coroutine(to: str = "db", n: int = 1) -> object:
    return "real"


@chaospoint.point("handed.generator")
def generator(to: str = "db", n: int = 1) -> Iterator[object]:
    yield "real"


@chaospoint.point("handed.keyword")
def keyword(to: str = "db", *, n: int = 1) -> object:
    return "real"


class Bare:
    def __call__(self, to: str = "db", n: int = 1) -> object:
        return "real"


wrapped = chaospoint.point("handed.wrapped")(Bare())


class Client:
    @chaospoint.point("handed.method")
    def method(self, to: str = "db", n: int = 1) -> object:
        return "real"


def inner(to: str = "db", n: int = 1) -> object:
    return "real"


@chaospoint.point("handed.shown")
@functools.wraps(inner)
def shown(*args: Any, **kwargs: Any) -> object:
    return inner(*args, **kwargs)


def coroutine_now(*args: Any, **kwargs: Any) -> object:
    return asyncio.run(coroutine(*args, **kwargs))


PLACEMENTS: dict[str, Call] = {
    "function": function,
    "coroutine": coroutine_now,
    "generator": lambda *args, **kwargs: next(generator(*args, **kwargs)),
    "keyword": keyword,
    "wrapped": wrapped,
    "method": Client().method,
    "shown": shown,
}


def takes_all(to: object, n: object) -> list[object]:
    return [(to, n)]


FITTING: list[tuple[Call, list[object]]] = [
    (lambda to: [to], ["db"]),
    (lambda n: [n], [1]),
    (lambda n, to: [(n, to)], [(1, "db")]),
    (lambda *, to: [to], ["db"]),
    (lambda n, **more: [(n, more["to"])], [(1, "db")]),
    (lambda **given: [(given["to"], given["n"])], [("db", 1)]),
    (partial(takes_all, n=5), [("db", 5)]),
    (partial(takes_all, "web"), [("web", 1)]),
]


@pytest.mark.parametrize("name", PLACEMENTS)
@pytest.mark.parametrize("nth", range(len(FITTING)))
def test_names_of_the_call_are_given_by_name(name: str, nth: int) -> None:
    answer, expected = FITTING[nth]
    with chaospoint.armed(f"handed.{name}", returns_from=answer):
        got = PLACEMENTS[name]()
    assert got == (expected[0] if name == "generator" else expected)


@pytest.mark.parametrize("name", PLACEMENTS)
def test_arguments_are_passed_on_by_name_however_the_caller_passed_them(name: str) -> None:
    call = PLACEMENTS[name]
    with chaospoint.armed(f"handed.{name}", returns_from=lambda n: [n]):
        got = [call("web", n=3), call(n=4)]
    assert got == ([3, 4] if name == "generator" else [[3], [4]])


@pytest.mark.parametrize("name", PLACEMENTS)
def test_exceptions_and_calls_are_given_them_too(name: str) -> None:
    noted: list[object] = []
    with (
        chaospoint.armed(f"handed.{name}", exception=lambda to: OSError(to)),
        pytest.raises(OSError, match="db"),
    ):
        PLACEMENTS[name]()
    with chaospoint.armed(f"handed.{name}", call=lambda injection, n: noted.append(n)):
        PLACEMENTS[name]("web", n=3)
    assert noted == [3]


def four(order: object, amount: object, unit: object, at: object) -> Any:
    return None


REFUSED: list[dict[str, Any]] = [
    {"returns_from": four},
    {"exception": four},
    {"call": lambda injection, order, amount, unit, at: None},
]


@pytest.mark.parametrize("keys", REFUSED, ids=lambda keys: next(iter(keys)))
@pytest.mark.parametrize("name", PLACEMENTS)
def test_a_function_that_no_call_fits_is_refused_when_arming(
    name: str, keys: dict[str, Any]
) -> None:
    with pytest.raises(UnsupportedFault) as caught:
        chaospoint.arm(f"handed.{name}", **keys)
    shown = {"keyword": "(to, *, n)", "method": "(self, to, n)"}.get(name, "(to, n)")
    assert (
        f"takes (order, amount, unit, at), and the arguments of the call are {shown}: let it take "
        "some of these by their names" in str(caught.value)
    )


def test_other_names_are_given_by_place() -> None:
    with chaospoint.armed("handed.function", returns_from=lambda a, b: (a, b)):
        assert function("web") == ("web", 1)
    with chaospoint.armed("handed.function", returns_from=lambda to="x", other=7: (to, other)):
        assert function("web") == ("web", 1)
    with (
        chaospoint.armed("handed.function", exception=lambda text="none", /: OSError(text)),
        pytest.raises(OSError, match="none"),
    ):
        function("web")
    with chaospoint.armed("handed.function", returns_from=lambda *args: args):
        assert function("web") == ("web", 1)


def test_one_of_several_placements_is_left_out_and_reported() -> None:
    def charge(order: str) -> str:
        return "real"

    def refund(order: str, amount: int) -> str:
        return "real"

    one = chaospoint.point("handed.several")(charge)
    two = chaospoint.point("handed.several")(refund)
    with pytest.warns(ChaosWarning, match=r"takes \(a, b\), and the .* are \(order\): let it take"):
        armed = chaospoint.arm("handed.several", returns_from=lambda a, b: b)
    assert one("A-1") == "real"
    assert two("A-1", 5) == 5
    armed.disarm()


def test_a_placement_made_later_is_left_out_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.warns(ChaosWarning, match="no point is named"):
        armed = chaospoint.arm("handed.later", returns_from=lambda amount, unit: amount)

    @chaospoint.point("handed.later")
    def charge(order: str) -> str:
        return "real"

    assert charge("A-1") == "real"
    armed.disarm()
    assert "takes (amount, unit), and the arguments of the call are (order)" in caplog.text
