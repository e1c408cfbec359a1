"""Answers, exceptions and calls that functions of the program make, from the call's arguments."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial, wraps
from typing import Any
from unittest.mock import Mock

import pytest

import chaospoint
from chaospoint import Rule
from chaospoint.errors import ChaosWarning, InvalidPlan, UnsupportedFault
from chaospoint.faults import Return

Call = Callable[..., Any]


@chaospoint.point("answers.function")
def function(order: str, amount: int = 1, *rest: str, unit: str = "EUR", **more: str) -> object:
    return "real"


@chaospoint.point("answers.coroutine")
async def coroutine(
    order: str, amount: int = 1, *rest: str, unit: str = "EUR", **more: str
) -> object:
    return "real"


@chaospoint.point("answers.generator")
def generator(
    order: str, amount: int = 1, *rest: str, unit: str = "EUR", **more: str
) -> Iterator[object]:
    yield "real"


@chaospoint.point("answers.async_generator")
async def async_generator(
    order: str, amount: int = 1, *rest: str, unit: str = "EUR", **more: str
) -> AsyncIterator[object]:
    yield "real"


class Bare:
    def __call__(
        self, order: str, amount: int = 1, *rest: str, unit: str = "EUR", **more: str
    ) -> object:
        return "real"


wrapped = chaospoint.point("answers.wrapped")(Bare())


def run(call: Call, *args: Any, **kwargs: Any) -> Any:
    """Return the answer; of generators the list of items."""
    made = call(*args, **kwargs)
    if inspect.iscoroutine(made):
        return asyncio.run(made)
    if isinstance(made, AsyncIterator):

        async def items() -> list[object]:
            return [item async for item in made]

        return asyncio.run(items())
    return list(made) if isinstance(made, Iterator) else made


NAMES = ["function", "coroutine", "generator", "async_generator", "wrapped"]


def placement(name: str) -> Call:
    found: Call = globals()[name]
    return found


def seen(*args: object, **kwargs: object) -> list[object]:
    return [args, kwargs]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", NAMES)
def test_the_function_is_given_the_arguments_of_the_call(name: str, when: Any) -> None:
    if when == "after" and "generator" in name:
        with pytest.raises(UnsupportedFault):
            chaospoint.arm(f"answers.{name}", returns_from=seen, when=when)
        return
    with chaospoint.armed(f"answers.{name}", returns_from=seen, when=when) as armed:
        full = run(placement(name), "A-1", 2, "x", "y", unit="USD", note="n")
        short = run(placement(name), order="A-2")
    assert armed.injections == 2
    assert full == [("A-1", 2, "x", "y"), {"unit": "USD", "note": "n"}]
    if name == "wrapped":  # its arguments are known as they are written only
        assert short == [(), {"order": "A-2"}]
    else:
        assert short == [("A-2", 1), {"unit": "EUR"}]
    assert run(placement(name), "A-1") in ("real", ["real"])


@pytest.mark.parametrize("name", NAMES)
def test_it_is_called_for_each_answer_and_only_if_where_matches(name: str) -> None:
    asked: list[object] = []

    def answer(order: str, *rest: object, **more: object) -> list[object]:
        asked.append(order)
        return [len(asked)]

    where = {"order": ["A-1", "A-2"]}
    with chaospoint.armed(f"answers.{name}", returns_from=answer, where=where, times=2) as armed:
        got = [run(placement(name), order) for order in ("A-1", "B-1", "A-2", "A-1")]
    real: object = ["real"] if "generator" in name else "real"
    assert got == [[1], real, [2], real]
    assert asked == ["A-1", "A-2"]
    assert armed.injections == 2


class Stock:
    @chaospoint.point("answers.method")
    def method(self, item: str) -> str:
        return "real"

    @chaospoint.point("answers.class_method")
    @classmethod
    def class_method(cls, item: str) -> str:
        return "real"

    @chaospoint.point("answers.static_method")
    @staticmethod
    def static_method(item: str) -> str:
        return "real"

    def answer(self, *args: object) -> object:
        return (self, *args)


def test_methods_pass_their_instance_or_class_on() -> None:
    stock, other = Stock(), Stock()
    with chaospoint.armed("answers.*", returns_from=other.answer):
        assert stock.method("a") == (other, stock, "a")  # type: ignore[comparison-overlap]
        assert stock.class_method("a") == (other, Stock, "a")  # type: ignore[comparison-overlap]
        assert stock.static_method("a") == (other, "a")  # type: ignore[comparison-overlap]


class Fake:
    def __init__(self, *args: object) -> None:
        self.args = args


class Optional:
    def __init__(self, limit: int = 3) -> None:
        self.limit = limit


class Asked:
    def __call__(self, order: str = "none") -> object:
        return ("asked", order)


def decorated(call: Call) -> Call:
    @wraps(call)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return call(*args, **kwargs)

    return inner


def by_default(order: str = "none", amount: int = 0) -> object:
    return (order, amount)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: "none", "none"),
        (lambda order: order, "A-1"),
        (lambda *args: args, ("A-1",)),
        (lambda **kwargs: kwargs, {"order": "A-1"}),
        (by_default, ("A-1", 0)),
        (decorated(by_default), ("A-1", 0)),
        (decorated(lambda: "none"), "none"),
        (partial(by_default, amount=3), ("A-1", 3)),
        (partial(by_default, "B-1", 3), ("B-1", 3)),
        (partial(by_default, order="B-1", amount=3), ("B-1", 3)),
        (Asked(), ("asked", "A-1")),
        (itertools.count(5).__next__, 5),
        (list, []),
        (dict, {}),
        (str.upper, "A-1"),
        (len, 3),
        (Mock(return_value=9), 9),
    ],
)
def test_the_signature_decides_which_arguments_are_passed(make: Call, expected: object) -> None:
    @chaospoint.point("lone.answer")
    def one(order: str) -> object:
        return "real"

    with chaospoint.armed("lone.answer", returns_from=make):
        assert one("A-1") == expected
    if isinstance(make, Mock):
        make.assert_called_once_with("A-1")


def test_classes_are_built() -> None:
    with chaospoint.armed("answers.function", returns_from=Optional):
        assert function("A-1").limit == 3  # type: ignore[attr-defined]
    with chaospoint.armed("answers.coroutine", returns_from=lambda *args, **_: Fake(*args)):
        assert run(coroutine, "A-1", 2).args == ("A-1", 2)


@pytest.mark.parametrize("name", ["coroutine", "async_generator"])
def test_an_awaitable_is_awaited_at_asynchronous_placements(name: str) -> None:
    async def answer(order: str) -> list[str]:
        await asyncio.sleep(0)
        return [order]

    def later(order: str) -> object:
        return answer(order)

    @chaospoint.point(f"answers.{name}_of_one")
    async def one(order: str) -> object:
        return "real"

    @chaospoint.point(f"answers.{name}_of_many")
    async def many(order: str) -> AsyncIterator[object]:
        yield "real"

    call = one if name == "coroutine" else many
    for make in (answer, later, lambda: answer("A-1")):
        with chaospoint.armed(f"answers.{name}_of_*", returns_from=make):
            assert run(call, "A-1") == ["A-1"]


def test_an_awaitable_is_handed_on_by_a_plain_function() -> None:
    async def answer() -> str:
        return "fake"

    with chaospoint.armed("answers.function", returns_from=lambda: answer()):
        assert asyncio.run(function("A-1")) == "fake"  # type: ignore[arg-type]
    for name in ("function", "generator", "wrapped"):
        with pytest.raises(
            UnsupportedFault, match="can be awaited at asynchronous placements only"
        ):
            chaospoint.arm(f"answers.{name}", returns_from=answer)


@pytest.mark.parametrize("name", ["generator", "async_generator"])
def test_a_generator_yields_the_items_of_the_answer(name: str) -> None:
    def several(order: str) -> Iterator[str]:
        yield from (order, order)

    async def asynchronous() -> AsyncIterator[int]:
        yield 1
        yield 2

    with chaospoint.armed(f"answers.{name}", returns_from=lambda order, *_, **__: several(order)):
        assert run(placement(name), "A-1") == ["A-1", "A-1"]
        assert run(placement(name), "A-2") == ["A-2", "A-2"]
    with chaospoint.armed(f"answers.{name}", returns_from=asynchronous):
        if name == "async_generator":
            assert run(placement(name), "A-1") == [1, 2]
        else:
            with pytest.raises(TypeError, match="return an iterable, whose items are yielded"):
                run(placement(name), "A-1")
    with (
        chaospoint.armed(f"answers.{name}", returns_from=lambda: 3) as armed,
        pytest.raises(TypeError, match=r"the function of .* returned 3, and 'answers\."),
    ):
        run(placement(name), "A-1")
    assert armed.injections == 1


@pytest.mark.parametrize("name", NAMES)
def test_its_exceptions_reach_the_caller(name: str) -> None:
    def answer(order: str, *rest: object, **more: object) -> object:
        raise LookupError(order)

    with chaospoint.armed(f"answers.{name}", returns_from=answer, max_active=1) as armed:
        for _ in range(2):  # the slot of the first is free again
            with pytest.raises(LookupError, match="A-1"):
                run(placement(name), "A-1")
    assert (armed.injections, armed.overflow) == (2, 0)


@pytest.mark.parametrize("name", ["function", "coroutine", "wrapped"])
def test_within_it_the_function_gives_its_real_answer(name: str) -> None:
    call = placement(name)

    def answer(order: str, *rest: object, **more: object) -> object:
        return ("fake", call(order))

    async def later(order: str, *rest: object, **more: object) -> object:
        return ("fake", await call(order))

    make = later if name == "coroutine" else answer
    with chaospoint.armed(f"answers.{name}", returns_from=make) as armed:
        assert run(call, "A-1") == ("fake", "real")
        assert run(call, "A-1") == ("fake", "real")
    assert armed.reaches == 2


@pytest.mark.parametrize("name", NAMES)
def test_within_a_generator_that_it_returns_the_function_gives_its_real_answer(name: str) -> None:
    """The code of a generator function runs after its call, while the items are taken."""
    call = placement(name)

    def answer(order: str) -> Iterator[object]:
        yield "fake"
        yield from call(order) if name == "generator" else [call(order)]

    async def later(order: str) -> AsyncIterator[object]:
        yield "fake"
        await asyncio.sleep(0)
        if name == "coroutine":
            yield await call(order)
        else:
            async for item in call(order):
                yield item

    make = later if name in ("coroutine", "async_generator") else answer
    with chaospoint.armed(f"answers.{name}", returns_from=make) as armed:
        items = run(call, "A-1")
        assert (run(lambda: items) if name == "coroutine" else items) == ["fake", "real"]
    assert armed.reaches == 1


def test_a_generator_that_it_returns_is_closed_with_the_call() -> None:
    events: list[object] = []

    def answer() -> Iterator[int]:
        try:
            yield 1
        finally:
            events.append("closed")

    with chaospoint.armed("answers.generator", returns_from=answer):
        items: Any = generator("A-1")
        assert next(items) == 1
        items.close()
    assert events == ["closed"]


@pytest.mark.parametrize("name", ["function", "coroutine"])
def test_it_is_asked_when_the_delays_are_over_and_not_if_woken(name: str) -> None:
    asked: list[str] = []
    pause = {"kind": "pause"}
    with chaospoint.armed(
        f"answers.{name}", returns_from=lambda: asked.append("asked"), faults=[pause]
    ) as armed:
        caller = threading.Thread(target=run, args=[placement(name), "A-1"])
        caller.start()
        armed.wait_until_paused(timeout=10)
        assert not asked
    caller.join(10)
    assert not caller.is_alive()
    assert not asked
    with chaospoint.armed(f"answers.{name}", returns_from=lambda: "late", latency="1ms"):
        assert run(placement(name), "A-1") == "late"


def test_limits_and_cancellation_come_through_an_answer_that_is_awaited() -> None:
    begun: list[str] = []

    async def never(order: str, *rest: object, **more: object) -> object:
        begun.append(order)
        return await asyncio.get_running_loop().create_future()

    async def main() -> None:
        with chaospoint.armed("answers.coroutine", returns_from=never, max_active=1) as armed:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await coroutine("A-1")
            task = asyncio.create_task(coroutine("A-2"))  # type: ignore[arg-type]
            while len(begun) < 2:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (armed.injections, armed.overflow) == (2, 0)
        with chaospoint.armed("answers.coroutine", returns_from=lambda: "fake"):
            assert await coroutine("A-3") == "fake"  # points act again in this context

    asyncio.run(main())


@pytest.mark.parametrize("name", NAMES)
def test_an_exception_is_made_from_the_arguments(name: str) -> None:
    def declined(order: str, *rest: object, **more: object) -> Exception:
        return LookupError(f"{order} declined")

    with chaospoint.armed(f"answers.{name}", exception=declined) as armed:
        for order in ("A-1", "A-2"):
            with pytest.raises(LookupError, match=f"{order} declined") as caught:
                run(placement(name), order)
            injection = chaospoint.injection_of(caught.value)
            assert injection is not None
            assert injection.exception == "LookupError"
    assert armed.injections == 2


def test_one_of_several_exceptions_may_take_the_arguments() -> None:
    def declined(order: str, *rest: object, **more: object) -> Exception:
        return LookupError(order)

    with chaospoint.armed("answers.function", exception=[declined, TimeoutError], seed=3):
        kinds = set()
        for _ in range(40):
            with pytest.raises((LookupError, TimeoutError)) as caught:
                function("A-1")
            kinds.add(repr(caught.value))
    assert kinds == {"LookupError('A-1')", "TimeoutError()"}


def test_a_function_that_needs_no_arguments_gets_none() -> None:
    for make in (
        lambda text="own": LookupError(text),
        partial(LookupError, "own"),
        Mock(side_effect=lambda: LookupError("own")),
    ):
        with (
            chaospoint.armed("answers.function", exception=make),
            pytest.raises(LookupError, match="own"),
        ):
            function("A-1")
    told: list[object] = []
    noted = Mock()
    for call in (told.append, noted, lambda injection, kept=told: kept.append(injection)):
        with chaospoint.armed("answers.function", call=call):
            function("A-1")
    assert len(told) == 2
    (injection,) = noted.call_args.args
    assert isinstance(injection, chaospoint.Injection)


@pytest.mark.parametrize("name", NAMES)
def test_a_call_may_take_the_arguments_behind_the_injection(name: str) -> None:
    told: list[tuple[object, ...]] = []

    def note(injection: chaospoint.Injection, order: str, *rest: object, **more: object) -> None:
        told.append((injection.point, order))

    with chaospoint.armed(f"answers.{name}", call=note):
        run(placement(name), "A-1")
    with chaospoint.armed(f"answers.{name}", call=lambda *all_of_it, **_: told.append(all_of_it)):
        run(placement(name), "A-2")
    assert told[0] == (f"answers.{name}", "A-1")
    assert told[1][1] == "A-2" or name == "wrapped"


def test_an_awaited_call_may_take_the_arguments() -> None:
    told: list[str] = []

    async def note(injection: chaospoint.Injection, order: str, *rest: object, **_: object) -> None:
        await asyncio.sleep(0)
        told.append(order)

    with chaospoint.armed("answers.coroutine", call=note):
        assert asyncio.run(coroutine("A-1")) == "real"  # type: ignore[arg-type]
    assert told == ["A-1"]


def test_blocks_and_statements_have_no_arguments_to_give() -> None:
    block = chaospoint.point("lone.block")
    needy: list[dict[str, Any]] = [
        {"exception": lambda order: LookupError(order)},
        {"call": lambda injection, order: None},
    ]
    with pytest.raises(UnsupportedFault, match="a block or a statement has no value to return"):
        chaospoint.arm(block, returns_from=lambda: 1)
    for keys in needy:
        with pytest.raises(UnsupportedFault, match="no arguments to give: let the function need"):
            chaospoint.arm(block, **keys)
    made: list[tuple[object, ...]] = []

    def any_of_them(*args: object) -> Exception:
        made.append(args)
        return LookupError("made")

    with chaospoint.armed(block, exception=any_of_them):
        with pytest.raises(LookupError), block:
            pass
        with pytest.raises(LookupError):
            block.hit(order="A-1")
    assert made == [(), ()]


def test_many_threads_get_the_answers_to_their_own_calls() -> None:
    with chaospoint.armed("answers.function", returns_from=lambda order, *_, **__: order):
        got: list[tuple[object, object]] = []

        def caller(order: str) -> None:
            for _ in range(200):
                got.append((order, function(order)))

        threads = [threading.Thread(target=caller, args=[f"A-{n}"]) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(got) == 1600
    assert all(asked == answer for asked, answer in got)


def test_it_is_shown_as_code_only() -> None:
    rule = Rule(point="answers.function", returns_from=seen, latency=0)
    assert rule.faults[1] == Return(value_from=seen)
    assert rule.model_dump(mode="json")["faults"][1] == {
        "kind": "return",
        "value_from": "<code only>",
    }
    assert "<code only>" in str(rule)
    with chaospoint.armed(rule):
        assert "<code only>" in str(chaospoint.point("answers.function").explain())
    with pytest.raises(InvalidPlan, match="stands for a value that only code can give"):
        Rule.parse(str(rule))
    for data in ({"returns_from": "f"}, {"faults": [{"kind": "return", "value_from": "f"}]}):
        with pytest.raises(InvalidPlan, match=r"only code can give a function; arm|value, in code"):
            chaospoint.Plan(rules=[{"point": "a", **data}])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"returns_from": 3}, "returns_from=3: not callable; give a function that returns"),
        ({"returns_from": None}, "no value; leave the key out"),
        ({"returns_from": seen, "returns": 1}, "a rule can have only one outcome"),
        ({"returns_from": seen, "exception": OSError}, "a rule can have only one outcome"),
    ],
)
def test_bad_input_is_refused_by_name(keys: Any, words: str) -> None:
    with pytest.raises(InvalidPlan, match=words):
        chaospoint.arm("answers.function", **keys)
    with pytest.raises(InvalidPlan, match="cannot be combined with a value; leave one of them out"):
        Return(value=1, value_from=seen)


def test_it_may_stand_beside_an_exception_with_a_rate() -> None:
    with chaospoint.armed(
        "answers.function", exception=OSError, failure_rate=0.5, returns_from=lambda: "fake", seed=1
    ):
        outcomes = set()
        for _ in range(40):
            try:
                outcomes.add(function("A-1"))
            except OSError:
                outcomes.add("OSError")
    assert outcomes == {"fake", "OSError"}


def test_a_function_given_as_an_answer_is_remarked_on_with_the_cure() -> None:
    with pytest.warns(ChaosWarning, match="returns the function 'seen' itself") as caught:
        handle = chaospoint.arm("answers.function", returns=seen)
    assert function("A-1") is seen
    handle.disarm()
    assert "write returns_from=... in place of returns=..." in str(caught[0].message)
    with chaospoint.armed("answers.function", returns_from=lambda: seen):  # the cure, in silence
        assert function("A-1") is seen
    with chaospoint.armed("answers.function", returns=Fake):  # a class is a value
        assert function("A-1") is Fake
