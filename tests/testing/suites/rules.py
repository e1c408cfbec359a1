"""Rules that fire, and rules that never fire, each for a different reason."""

from __future__ import annotations

import asyncio
from threading import Thread

import pytest
from shop import charge, read, refund, retried, write

import chaospoint
from chaospoint import Plan, Rule
from chaospoint.testing import Chaos

TYPO = pytest.mark.filterwarnings("ignore::chaospoint.errors.ChaosWarning")
expected = pytest.mark.expected


def test_counts(chaos: Chaos) -> None:
    handle = chaos.arm("payment.charge", exception=TimeoutError, times=2)
    assert retried(3) == 3
    assert (handle.injections, handle.reaches) == (2, 3)
    assert (chaos.injections("payment.charge"), chaos.injections("payment.*")) == (2, 2)
    assert (chaos.reaches("payment.charge"), chaos.reaches("*")) == (3, 3)
    assert [(one.point, one.fault, one.ordinal, one.source) for one in chaos.history] == [
        ("payment.charge", "exception", 1, "test"),
        ("payment.charge", "exception", 2, "test"),
    ]


def test_nothing_was_counted_before_the_test(chaos: Chaos) -> None:
    assert (chaos.reaches("*"), chaos.history) == (0, ())
    charge()
    assert (chaos.reaches("payment.charge"), chaos.injections("payment.charge")) == (1, 0)


def test_a_misspelt_name_is_not_zero(chaos: Chaos) -> None:
    for count in chaos.injections, chaos.reaches:
        for name in "payment.chrage", "paiment.*":
            with pytest.raises(chaospoint.ChaosError, match="payment"):
                count(name)


def test_points_that_are_made_later_are_counted(chaos: Chaos, request: pytest.FixtureRequest):
    chaos.arm("late.*", latency=0, must_fire=False)
    point = chaospoint.point("late.one")
    for _ in range(3):
        point.hit()
    assert chaos.reaches("late.one") == chaos.injections("late.one") == 3


def test_counts_are_exact_in_threads(chaos: Chaos) -> None:
    chaos.arm("payment.charge", exception=TimeoutError, every=2)
    chaos.arm("stock.*", latency=0)

    def work() -> None:
        for _ in range(500):
            try:
                charge()
            except TimeoutError:
                pass
            read()

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert chaos.reaches("payment.charge") == chaos.reaches("stock.read") == 2000
    assert chaos.injections("payment.charge") == 1000
    assert chaos.injections("stock.read") == 2000
    assert len(chaos.history) == 3000
    fired = [one.ordinal for one in chaos.history if one.point == "payment.charge"]
    assert sorted(fired) == list(range(2, 2001, 2))


@pytest.mark.chaos("payment.charge", exception=TimeoutError, times=2)
def test_marked() -> None:
    assert retried(3) == 3


@pytest.mark.chaos("payment.charge", exception=TimeoutError, times=1)
@pytest.mark.chaos("payment.charge", returns=9)
def test_the_top_marker_is_tried_first() -> None:
    assert retried(3) == 9


@pytest.mark.chaos("payment.charge", returns=1, times=1)
@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param([1, 7], id="plain"),
        pytest.param(
            [2, 1], marks=pytest.mark.chaos("payment.charge", returns=2, times=1), id="its own"
        ),
    ],
)
def test_a_marker_of_one_parameter_is_the_nearest(wanted: list[int]) -> None:
    assert [charge(7), charge(7)] == wanted


@pytest.mark.chaos(Rule(point="payment.charge", returns=5))
def test_a_rule_can_be_marked() -> None:
    assert charge() == 5


@pytest.mark.chaos("payment.charge", returns=3)
class TestMarkedClass:
    def test_all_of_it(self) -> None:
        assert charge() == 3

    @pytest.mark.chaos("payment.charge", returns=4, times=1)
    def test_the_nearest_first(self) -> None:
        assert [charge(), charge()] == [4, 3]

    @expected("failed", "'payment.charge' was never reached in this test")
    def test_that_never_calls(self) -> None:
        pass


# -- what never fired -------------------------------------------------------------------------


@expected("failed", "payment.charge=raise(TimeoutError)", "never fired", "was never reached")
@pytest.mark.chaos("payment.charge", exception=TimeoutError)
def test_never_reached() -> None:
    read()


@expected("failed", "no point is named 'payment.chrage'", "payment.charge (reached once)")
@TYPO
def test_typo(chaos: Chaos) -> None:
    chaos.arm("payment.chrage", exception=TimeoutError)
    charge()


@expected("failed", "no point is named 'payment.chrage'", "payment.charge (never reached)")
@TYPO
@pytest.mark.chaos("payment.chrage", exception=TimeoutError)
def test_typo_in_a_marker() -> None:
    read()


@expected("failed", "UnknownPoint", "payment.charge")
def test_strict(chaos: Chaos) -> None:
    chaos.arm("payment.chrage", exception=TimeoutError, strict=True)


@expected("failed", "no point is named 'nothing.*'")
@TYPO
def test_a_glob_without_a_point(chaos: Chaos) -> None:
    chaos.arm("nothing.*", exception=TimeoutError)
    charge()


@expected("failed", "reached twice in this test", "`where`")
def test_where_never_matches(chaos: Chaos) -> None:
    chaos.arm("payment.charge", exception=TimeoutError, where={"n": 5})
    charge(1)
    charge(2)


@expected("failed", "reached once in this test", "scope")
def test_another_thread_is_out_of_scope(chaos: Chaos) -> None:
    chaos.arm("payment.charge", exception=TimeoutError, scope="context")
    thread = Thread(target=charge)
    thread.start()
    thread.join()


@expected("failed", "payment.charge=return(2)", "an earlier rule fired")
def test_shadowed(chaos: Chaos) -> None:
    chaos.arm("payment.charge", returns=2)
    chaos.arm("payment.charge", latency=0)
    charge()


@expected("failed", "reached 3 times", "skip")
def test_skip_too_large(chaos: Chaos) -> None:
    chaos.arm("payment.charge", exception=TimeoutError, skip=3)
    for _ in range(3):
        charge()


@expected("failed", "off", "never reached")
def test_off_never_reached(chaos: Chaos) -> None:
    chaos.arm(Plan.parse("payment.charge=off"))


@expected("failed", "off", "skip")
def test_off_never_due(chaos: Chaos) -> None:
    chaos.arm("payment.charge", faults=[{"kind": "off"}], skip=1)
    charge()


def test_off_that_masks(chaos: Chaos) -> None:
    chaos.arm("payment.charge", exception=TimeoutError, must_fire=False)
    chaos.arm("payment.charge", faults=[{"kind": "off"}])
    assert charge(7) == 7


@expected("failed", "no call succeeded")
def test_after_a_call_that_raised(chaos: Chaos) -> None:
    chaos.arm("payment.charge", exception=TimeoutError, when="after")
    with pytest.raises(TypeError):
        charge([], wrong=1)  # type: ignore[call-arg, arg-type]
    chaos.arm("payment.charge", exception=LookupError)
    with pytest.raises(LookupError):
        charge()


def test_after(chaos: Chaos) -> None:
    chaos.arm("payment.charge", exception=TimeoutError, when="after")
    with pytest.raises(TimeoutError):
        charge()


@expected("failed", "never fired", "while this rule was armed")
def test_disarmed_before_it_was_reached(chaos: Chaos) -> None:
    with chaos.armed("payment.charge", exception=TimeoutError):
        pass
    charge()


@expected("failed", "never fired", "disabled")
def test_disabled_before_it_was_reached(chaos: Chaos) -> None:
    chaos.arm("payment.charge", exception=TimeoutError)
    chaospoint.disable()
    chaospoint.enable()
    charge()


@expected("failed", "never fired", "expired")
def test_expired_before_it_was_reached(chaos: Chaos) -> None:
    rule = chaos.arm("payment.charge", exception=TimeoutError, expires_after=0.001)
    with pytest.raises(TimeoutError):
        rule.wait_for()
    charge()


@expected("failed", "stock.*=latency", "'stock.*' was never reached")
def test_one_rule_of_a_plan(chaos: Chaos) -> None:
    chaos.arm(Plan.parse("payment.*=latency(0) ; stock.*=latency(0)"))
    charge()


@expected("failed", "payment.refund", "stock.write")
def test_all_that_never_fired_are_named(chaos: Chaos) -> None:
    chaos.arm("payment.refund", exception=TimeoutError)
    chaos.arm("stock.write", exception=TimeoutError)


def test_one_point_of_a_glob_is_enough(chaos: Chaos) -> None:
    chaos.arm("stock.*", latency=0)
    write()


@pytest.mark.chaos("payment.charge", exception=TimeoutError, must_fire=False)
def test_opted_out() -> None:
    pass


@expected("failed", "stock.read")
def test_opted_out_for_one_rule_alone(chaos: Chaos) -> None:
    chaos.arm("payment.charge", exception=TimeoutError, must_fire=False)
    chaos.arm("stock.read", exception=TimeoutError)


@expected("failed", "takes one positional argument")
@pytest.mark.chaos
def test_marker_without_a_point() -> None:
    pass


@expected("failed", "takes one positional argument")
@pytest.mark.chaos("payment.charge", "stock.read", latency=0)
def test_marker_with_two_points() -> None:
    pass


@expected("failed", "exceptoin", "payment.charge")
@pytest.mark.chaos("payment.charge", exceptoin=TimeoutError)
def test_marker_with_an_unknown_key() -> None:
    pass


@expected("failed", "@pytest.mark.chaos('payment.charge', ...): rule", "a rule needs a fault")
@pytest.mark.chaos("payment.charge")
def test_marker_without_a_fault() -> None:
    pass


# -- beside other outcomes ------------------------------------------------------------------


@expected("failed", "assert 1 == 2", "told: stock.read", "told: injected latency at payment.charge")
def test_own_failure(chaos: Chaos) -> None:
    chaos.arm("payment.charge", latency=0)
    chaos.arm("stock.read", latency=0)
    charge()
    assert 1 == 2


@expected("skipped")
def test_skip_inside(chaos: Chaos) -> None:
    chaos.arm("payment.charge", latency=0)
    pytest.skip("not today")


@expected("xfailed")
@pytest.mark.xfail(strict=True, reason="as it is")
def test_xfail(chaos: Chaos) -> None:
    chaos.arm("payment.charge", exception=TimeoutError)
    charge()


@expected("failed", "XPASS")
@pytest.mark.xfail(strict=True, reason="as it was")
def test_xpass(chaos: Chaos) -> None:
    chaos.arm("payment.charge", latency=0)
    charge()


def test_context_is_this_one_alone(chaos: Chaos) -> None:
    chaos.arm("payment.charge", returns=9, scope="context")
    found: list[int | None] = [None]

    def work() -> None:
        found[0] = charge(1)

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert found == [1]
    assert charge(1) == 9


@pytest.mark.chaos("payment.charge", returns=9, scope="context")
def test_context_of_a_marker() -> None:
    found: list[int] = []
    thread = Thread(target=lambda: found.append(charge(1)))
    thread.start()
    thread.join()
    assert found == [1]
    assert charge(1) == 9


def test_context_goes_with_tasks(chaos: Chaos) -> None:
    async def main() -> list[int]:
        chaos.arm("payment.refund", returns=9, scope="context")
        return await asyncio.gather(refund(1), refund(2))

    assert asyncio.run(main()) == [9, 9]
