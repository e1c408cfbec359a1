"""Exceptions drawn by weight, patterns that are rebuilt, and functions that build them."""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from typing import Any

import pytest

from chaospoint._kernel.chance import Draws
from chaospoint._kernel.effects import Raise
from chaospoint.errors import InjectedFault, InvalidPlan
from chaospoint.faults import Failure
from chaospoint.plan import Plan, Rule
from chaospoint.plan.compiling import compile_plan


def failure(exception: Any) -> Failure:
    return Failure(exception=exception).resolve("code")


def raised(failure: Failure, ordinal: int = 1, seed: int = 1) -> BaseException:
    (effect,) = failure.effects(Draws(seed, ordinal))
    assert isinstance(effect, Raise)
    built = effect.build()
    assert type(built).__name__ == effect.name
    return built


def compiled(exception: Any) -> None:
    compile_plan(Plan(rules=[Rule(point="a", exception=exception)]), trust="code")


@pytest.mark.parametrize(
    ("exceptions", "shares"),
    [
        ([OSError, TimeoutError], {OSError: 0.5, TimeoutError: 0.5}),
        ([{"type": OSError, "weight": 3}, TimeoutError], {OSError: 0.75, TimeoutError: 0.25}),
        (
            [{"weight": 0.1}, {"type": OSError, "weight": 0.3}, {"type": KeyError, "weight": 0.6}],
            {InjectedFault: 0.1, OSError: 0.3, KeyError: 0.6},
        ),
        ([{"type": OSError, "weight": 0}, TimeoutError], {TimeoutError: 1}),
        ([TimeoutError, {"type": OSError, "weight": 0}], {TimeoutError: 1}),
        ([{"type": OSError, "weight": 1_000_000}], {OSError: 1}),
        ((OSError("text"), KeyError), {OSError: 0.5, KeyError: 0.5}),
    ],
)
def test_weights_are_the_shares_of_many_draws(
    exceptions: Any, shares: dict[type[BaseException], float]
) -> None:
    many = 10_000
    drawn = failure(exceptions)
    seen = Counter(type(raised(drawn, ordinal)) for ordinal in range(1, many + 1))
    assert set(seen) == set(shares)
    for kind, share in shares.items():
        assert seen[kind] / many == pytest.approx(share, abs=0.02)


def test_the_choice_is_fixed_by_seed_and_ordinal() -> None:
    choice = failure([OSError, TimeoutError, KeyError])

    def run(seed: int) -> list[type]:
        return [type(raised(choice, ordinal, seed)) for ordinal in range(1, 50)]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_the_choice_is_a_stream_of_its_own() -> None:
    rated = Failure(exception=[OSError, TimeoutError], rate=0.5).resolve("code")
    kinds = {type(raised(rated, nth)) for nth in range(1, 50) if rated.effects(Draws(1, nth))}
    assert kinds == {OSError, TimeoutError}


def test_one_that_cannot_be_found_keeps_the_others_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    waiting = Failure(exception=[OSError, "colorsys.LaterError"]).resolve("deferred")
    assert waiting is None


@pytest.mark.parametrize("pattern", [OSError(2, "gone"), KeyError("x"), InjectedFault("m")])
def test_an_instance_is_rebuilt_from_its_type_and_arguments(pattern: BaseException) -> None:
    rebuilt = failure(pattern)
    first, second = raised(rebuilt), raised(rebuilt)
    assert type(first) is type(second) is type(pattern)
    assert first.args == second.args == pattern.args
    assert len({id(pattern), id(first), id(second)}) == 3
    assert str(Rule(point="a", exception=pattern)).startswith(f"a=raise({type(pattern).__name__},")


def test_a_function_builds_a_fresh_one_each_time() -> None:
    made: list[BaseException] = []

    def build() -> BaseException:
        made.append(TimeoutError(f"number {len(made)}"))
        return made[-1]

    function = failure(build)
    assert [str(raised(function)) for _ in range(3)] == ["number 1", "number 2", "number 3"]
    assert len(made) == 4  # the first was built when it was resolved


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: None, "builds something that is not an exception: None; return a new exception"),
        (lambda: OSError, "builds something that is not an exception: <class 'OSError'>; return a"),
        (lambda: StopIteration(), "StopIteration controls generators and iteration"),
        (
            lambda: 1 / 0,
            "cannot be built: ZeroDivisionError: division by zero; correct the function",
        ),
        (partial(OSError, 1, named=1), "cannot be built: TypeError.*called without arguments"),
        (print, "builds something that is not an exception: None"),
    ],
)
def test_a_function_that_builds_no_exception_is_refused_when_compiling(
    function: Any, words: str
) -> None:
    with pytest.raises(InvalidPlan, match=words) as caught:
        compiled(function)
    assert caught.value.field == "exception"
    assert caught.value.value is function


def test_a_coroutine_function_is_refused_at_once() -> None:
    async def build() -> BaseException:
        return OSError()

    with pytest.raises(
        InvalidPlan, match="coroutine function cannot make exceptions; give a function"
    ):
        Rule(point="a", exception=build)  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", [StopIteration(), GeneratorExit("x")])
def test_an_instance_that_generators_mistake_is_refused(pattern: BaseException) -> None:
    with pytest.raises(InvalidPlan, match="controls generators and iteration"):
        Rule(point="a", exception=pattern)


def test_attributes_of_an_instance_are_kept() -> None:
    class Soft(Exception):
        def __init__(self, message: str, code: int = 500) -> None:
            super().__init__(message)
            self.code = code

    pattern = Soft("no", code=402)
    pattern.more = [1]  # type: ignore[attr-defined]
    first, second = (vars(raised(failure(pattern))) for _ in range(2))
    assert first == second == {"code": 402, "more": [1]}
    assert vars(raised(failure(OSError(2, "gone", "the file")))) == {}
    assert raised(failure(OSError(2, "gone", "the file"))).filename == "the file"  # type: ignore[attr-defined]
    assert "<code only>" in str(Rule(point="a", exception=pattern))
