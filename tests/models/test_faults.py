"""Every kind of fault compiles to the effects that design and documentation promise."""

from __future__ import annotations

import logging
from math import log, sqrt
from statistics import fmean, stdev
from typing import Any

import pytest
from pydantic import ValidationError

from chaospoint._kernel import effects as _effects
from chaospoint._kernel.chance import Draws
from chaospoint._kernel.injection import Injection
from chaospoint.errors import InjectedFault, InvalidPlan
from chaospoint.faults import (
    Burn,
    Call,
    Failure,
    Hang,
    Latency,
    Off,
    Pause,
    Print,
    Return,
    Yield,
)
from chaospoint.faults.kinds import kind_named
from chaospoint.models.durations import MAX_SECONDS
from chaospoint.models.refusal import Refusal


class Scripted(Draws):
    """Draws that say what the test wants, and note what was asked."""

    def __init__(self, answer: float = 0.0) -> None:
        super().__init__(1, 1)
        self.answer = answer
        self.asked: list[str] = []

    def uniform(self, purpose: str) -> float:
        self.asked.append(purpose)
        return self.answer


def test_a_fixed_latency_sleeps_and_draws_nothing() -> None:
    draws = Scripted()
    assert Latency(seconds="200ms").effects(draws) == (_effects.Sleep(0.2),)
    assert draws.asked == []


@pytest.mark.parametrize(
    ("draw", "expected"), [(0.0, 0.5), (0.5, 1.0), (0.75, 1.25)], ids=["low", "middle", "high"]
)
def test_jitter_is_uniform_around_the_latency(draw: float, expected: float) -> None:
    draws = Scripted(draw)
    assert Latency(seconds=1, jitter=0.5).effects(draws) == (_effects.Sleep(expected),)
    assert draws.asked == ["jitter"]


def test_a_latency_below_zero_counts_as_zero() -> None:
    assert Latency(seconds=0.1, jitter=1).effects(Scripted(0.0)) == (_effects.Sleep(0.0),)


MANY = 20_000


@pytest.mark.parametrize(
    ("distribution", "mean", "deviation"),
    [
        ("uniform", 2.0, 0.5 / sqrt(3)),  # the jitter is the half width
        ("normal", 2.0, 0.5),
        ("lognormal", 2.0, 0.5),
    ],
)
def test_many_draws_have_the_mean_and_the_deviation_that_was_asked_for(
    distribution: Any, mean: float, deviation: float
) -> None:
    latency = Latency(seconds=2, jitter="500ms", distribution=distribution)
    drawn = [slept(latency, ordinal) for ordinal in range(MANY)]
    assert fmean(drawn) == pytest.approx(mean, rel=0.01)
    assert stdev(drawn) == pytest.approx(deviation, rel=0.03)
    if distribution == "uniform":
        assert 1.5 <= min(drawn) < max(drawn) <= 2.5
    if distribution == "lognormal":
        assert fmean(map(log, drawn)) < log(mean)  # the median lies below the mean


def slept(latency: Latency, ordinal: int, seed: int = 1) -> float:
    (effect,) = latency.effects(Draws(seed, ordinal))
    assert isinstance(effect, _effects.Sleep)
    return effect.seconds


@pytest.mark.parametrize("distribution", ["uniform", "normal", "lognormal"])
def test_the_draw_is_fixed_by_seed_and_ordinal(distribution: Any) -> None:
    latency = Latency(seconds=1, jitter=1, distribution=distribution)
    drawn = [slept(latency, ordinal) for ordinal in range(50)]
    assert drawn == [slept(latency, ordinal) for ordinal in range(50)]
    assert drawn != [slept(latency, ordinal, seed=2) for ordinal in range(50)]
    assert min(drawn) >= 0.0


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_what_falls_below_zero_counts_as_zero(distribution: Any) -> None:
    latency = Latency(seconds=0, jitter=1, distribution=distribution)
    drawn = [slept(latency, ordinal) for ordinal in range(MANY)]
    assert drawn.count(0.0) / MANY == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("distribution", ["uniform", "normal", "lognormal"])
@pytest.mark.parametrize("draw", [0.0, 0.5, 1 - 2.0**-53])
@pytest.mark.parametrize("seconds", [5e-324, 1e-300, 1.0, MAX_SECONDS])
@pytest.mark.parametrize("jitter", [5e-324, 1e-300, 1.0, MAX_SECONDS])
def test_no_draw_is_more_than_can_be_waited_for(
    distribution: Any, draw: float, seconds: float, jitter: float
) -> None:
    latency = Latency(seconds=seconds, jitter=jitter, distribution=distribution)
    (effect,) = latency.effects(Scripted(draw))
    assert isinstance(effect, _effects.Sleep)
    assert 0.0 <= effect.seconds <= MAX_SECONDS


@pytest.mark.parametrize("jitter", [0, 0.0, "0s"])
def test_without_jitter_every_distribution_is_the_same(jitter: Any) -> None:
    for distribution in ("uniform", "normal", "lognormal"):
        keys = {"seconds": 0, "jitter": jitter, "distribution": distribution}
        assert Latency(**keys) == Latency.from_key(keys) == Latency(seconds=0)


def test_a_failure_raises_a_fresh_exception_each_time() -> None:
    failure = Failure(exception={"type": OSError, "args": [2, "gone"]}).resolve("code")
    (effect,) = failure.effects(Scripted())
    assert isinstance(effect, _effects.Raise)
    assert effect.name == "FileNotFoundError"
    first, second = effect.build(), effect.build()
    assert first is not second
    assert first.args == second.args == (2, "gone")


def test_the_default_failure_is_the_injected_fault() -> None:
    (effect,) = Failure().resolve("loaded").effects(Scripted())
    assert isinstance(effect, _effects.Raise)
    assert type(effect.build()) is InjectedFault


@pytest.mark.parametrize(("draw", "raises"), [(0.29, True), (0.3, False)])
def test_the_rate_of_a_failure_is_drawn_as_outcome(draw: float, raises: bool) -> None:
    draws = Scripted(draw)
    effects = Failure(exception=TimeoutError, rate=0.3).resolve("code").effects(draws)
    assert bool(effects) is raises
    assert draws.asked == ["outcome"]


def test_a_failure_without_a_rate_draws_nothing() -> None:
    draws = Scripted()
    Failure(exception=TimeoutError, rate=1.0).resolve("code").effects(draws)
    assert draws.asked == []


def test_a_failure_that_was_not_looked_up_says_so() -> None:
    with pytest.raises(InvalidPlan, match="not looked up"):
        Failure(exception="shop.BankError").effects(Scripted())


def test_return_gives_the_value_itself_in_code() -> None:
    value: list[int] = [1]
    (effect,) = Return(value=value).effects(Scripted())
    assert isinstance(effect, _effects.Return)
    assert effect.value is value
    assert effect.copy is False


def test_return_from_data_asks_for_copies_and_owns_its_value() -> None:
    value: list[int] = [1]
    (effect,) = Return(value=value).detached().effects(Scripted())
    assert effect == _effects.Return([1], copy=True)
    assert isinstance(effect, _effects.Return)
    assert effect.value is not value


@pytest.mark.parametrize("value", [None, 1, "text", True])
def test_what_cannot_change_is_not_copied(value: object) -> None:
    (effect,) = Return(value=value).detached().effects(Scripted())
    assert effect == _effects.Return(value, copy=False)


@pytest.mark.parametrize("value", [iter([1]), (n for n in [1])], ids=["iterator", "generator"])
def test_a_bare_iterator_is_refused(value: object) -> None:
    with pytest.raises(InvalidPlan, match=r"use up this iterator.*give a list"):
        Return(value=value)


def test_return_compares_foreign_values_without_falling_over() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment]

    assert Return(value=Odd()).model_dump(mode="json") == {"kind": "return", "value": "<code only>"}


def test_a_hang_holds_for_ever() -> None:
    assert Hang().effects(Scripted()) == (_effects.Hold(None),)


def test_a_bounded_hang_holds_and_then_times_out() -> None:
    hold, late = Hang(seconds="30s").effects(Scripted())
    assert hold == _effects.Hold(30.0)
    assert isinstance(late, _effects.Raise)
    assert late.name == "TimeoutError"
    assert isinstance(late.build(), TimeoutError)


def test_the_verbs_of_old_have_their_effects() -> None:
    assert Off().effects(Scripted()) == ()
    assert Yield().effects(Scripted()) == (_effects.Hold(0.0),)
    assert Pause().effects(Scripted()) == (_effects.Hold(None, releasable=True),)
    assert Burn(seconds="100ms").effects(Scripted()) == (_effects.Sleep(0.1, busy=True),)


INJECTION = Injection("a.b", "print", "a.b=print", 1, "code", None, None)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("100% %s", "100% %s"),
        ("", "a.b was reached"),
        ("x\nCRITICAL:root:forged", r"x\nCRITICAL:root:forged"),
        ("\x1b[2J\r\x85\u2028 é \\n", r"\x1b[2J\r\x85\u2028 é \n"),
    ],
)
def test_print_logs_its_message_or_else_the_point(
    message: str, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    (run,) = Print(message=message).effects(Scripted())
    assert isinstance(run, _effects.Run)
    assert not run.needs_await
    run.call(INJECTION)
    assert caplog.record_tuples == [("chaospoint", logging.WARNING, line)]


def test_call_runs_the_function_and_says_whether_it_must_be_awaited() -> None:
    async def later(injection: object) -> None: ...

    for call, needs_await in ((print, False), (later, True)):
        (run,) = Call(call=call).effects(Scripted())
        assert isinstance(run, _effects.Run)
        assert (run.call, run.needs_await) == (call, needs_await)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Latency(seconds="fast"), ["Latency", "seconds='fast'", "200ms"]),
        (lambda: Latency(seconds=1, jitter=-1), ["jitter=-1", "negative"]),
        (lambda: Latency(seconds=1, distribution="odd"), ["distribution='odd'", "uniform"]),
        (
            lambda: Latency(seconds=0, jitter=1, distribution="lognormal"),
            ["distribution='lognormal'", "needs a mean above 0; write seconds above 0"],
        ),
        (lambda: Latency(), ["seconds", "missing"]),
        (lambda: Burn(), ["Burn: seconds: missing"]),
        (lambda: Print(message=3), ["Print: message=3: not a line of text", "in quotes"]),
        (lambda: Print(message="\ud800"), [r"message='\ud800': not a line of text"]),
        (lambda: Call(call=3), ["call=3: not callable; give a function that takes the Injection"]),
        (lambda: Off(after=1), ["Off: after=1: unknown key; the only key is 'kind'"]),
        (lambda: Latency(secnds=1), ["secnds=1", "unknown key", "'seconds'"]),
        (lambda: Failure(rate=2), ["Failure", "rate=2", "0 to 1"]),
        (lambda: Failure(exception=int), ["exception=<class 'int'>", "not an exception"]),
        (lambda: Hang(seconds=True), ["Hang", "seconds=True"]),
        (lambda: Latency(kind="hang", seconds=1), ["kind='hang'"]),
    ],
)
def test_a_bad_fault_is_refused_by_name(make: Any, words: list[str]) -> None:
    with pytest.raises(InvalidPlan) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "dump"),
    [
        (Latency(seconds="200ms"), {"kind": "latency", "seconds": 0.2}),
        (Latency(seconds=1, jitter=0), {"kind": "latency", "seconds": 1.0}),
        (Latency(seconds=1, jitter=2), {"kind": "latency", "seconds": 1.0, "jitter": 2.0}),
        (Failure(), {"kind": "exception"}),
        (Failure(exception=InjectedFault), {"kind": "exception"}),
        (Failure(rate=1.0), {"kind": "exception"}),
        (Failure(exception="IOError"), {"kind": "exception", "exception": "OSError"}),
        (Return(), {"kind": "return"}),
        (Return(value=0), {"kind": "return", "value": 0}),
        (Return(value=False), {"kind": "return", "value": False}),
        (Hang(), {"kind": "hang"}),
        (Hang(seconds="1m"), {"kind": "hang", "seconds": 60.0}),
        (Burn(seconds="1m"), {"kind": "delay", "seconds": 60.0}),
        (Print(), {"kind": "print"}),
        (Print(message="m"), {"kind": "print", "message": "m"}),
        (Off(), {"kind": "off"}),
        (Yield(), {"kind": "yield"}),
        (Pause(), {"kind": "pause"}),
        (
            Failure(
                exception=[OSError, {"weight": 2}, {"type": OSError, "args": [1], "weight": 3}]
            ),
            {
                "kind": "exception",
                "exception": [
                    "OSError",
                    {"type": "InjectedFault", "weight": 2.0},
                    {"type": "OSError", "args": [1], "weight": 3.0},
                ],
            },
        ),
    ],
)
def test_a_dump_leaves_out_what_is_unset_and_reads_back(
    fault: Any, dump: dict[str, object]
) -> None:
    assert fault.model_dump(mode="json") == dump
    assert kind_named(dump["kind"]).checked(dump) == fault


def test_faults_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Latency(seconds=1).seconds = 2  # type: ignore[misc]


@pytest.mark.parametrize("name", ["latncy", "", None, 3, [], {}])
def test_an_unknown_kind_is_refused(name: object) -> None:
    with pytest.raises(Refusal, match="not a kind of fault"):
        kind_named(name)
