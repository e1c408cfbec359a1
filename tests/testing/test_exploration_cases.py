"""The cases of a run: each fault that fits each reach, in an order that a limit may cut."""

from __future__ import annotations

import pytest

from chaospoint import ChaosError, InjectedFault
from chaospoint.errors import InvalidPlan
from chaospoint.testing.exploring.cases import Cases, Faults, Reach, cases_of

ALL = Faults.of((), "10m")
PLAIN = Faults.of((), None, after=False)


class NeedsThree(Exception):
    def __init__(self, one: int, two: int, three: int) -> None:
        super().__init__(one, two, three)


def ids(cases: Cases) -> list[str]:
    return [case.id for case in cases.cases]


def reach(point: str, *raises: type[BaseException]) -> Reach:
    return Reach(point, raises)


def test_a_call_fails_loses_its_answer_and_comes_late() -> None:
    found = cases_of([reach("a")], [reach("a")], ALL)
    assert ids(found) == [
        "a#1 raise(InjectedFault)",
        "a#1 after raise(InjectedFault)",
        "a#1 latency(600s)",
    ]
    assert found.left_out == ()


def test_a_call_fails_with_each_exception_that_its_placement_declares() -> None:
    given = Faults.of([ValueError], None, after=False)
    found = cases_of([reach("a", OSError, TimeoutError), reach("a")], [], given)
    assert ids(found) == ["a#1 raise(OSError)", "a#2 raise(ValueError)", "a#1 raise(TimeoutError)"]


def test_a_case_acts_at_its_reach_only_and_once() -> None:
    second = cases_of([reach("a"), reach("a")], [reach("a")], ALL).only("a#2 raise(InjectedFault)")
    assert (second.rule.skip, second.rule.times, second.rule.when) == (1, 1, "before")
    lost = cases_of([], [reach("a")], ALL).only("a#1 after raise(InjectedFault)")
    assert (lost.rule.skip, lost.rule.times, lost.rule.when) == (0, 1, "after")


def test_clean_ends_are_counted_apart_from_beginnings() -> None:
    """Of two calls, one of which raised, the successful one counts as the first end."""
    found = cases_of([reach("a"), reach("a")], [reach("a")], Faults.of((), None))
    assert ids(found) == [
        "a#1 raise(InjectedFault)",
        "a#2 raise(InjectedFault)",
        "a#1 after raise(InjectedFault)",
    ]


def test_a_bound_cuts_what_comes_after_each_reach_has_failed_once() -> None:
    reaches = [reach("b", OSError, TimeoutError), reach("a"), reach("b")]
    found = cases_of(reaches, reaches, ALL, most=4)
    assert ids(found) == [
        "b#1 raise(OSError)",
        "a#1 raise(InjectedFault)",
        "b#2 raise(InjectedFault)",
        "b#1 after raise(OSError)",
    ]
    assert found.left_out == ("7 of 11 cases, because the maximum is 4",)
    assert cases_of(reaches, reaches, ALL, most=11).left_out == ()


def test_only_points_that_match_have_cases() -> None:
    found = cases_of([reach("db.query"), reach("bank")], [], PLAIN, points="db.*")
    assert ids(found) == ["db.query#1 raise(InjectedFault)"]


def test_an_exception_that_cannot_be_built_is_left_out_and_said() -> None:
    found = cases_of([reach("a", NeedsThree, OSError)], [], PLAIN)
    assert ids(found) == ["a#1 raise(OSError)"]
    (said,) = found.left_out
    assert "NeedsThree, which 'a' declares: cannot be built" in said
    alone = cases_of([reach("a", NeedsThree)], [], PLAIN)
    assert ids(alone) == ["a#1 raise(InjectedFault)"]  # and the call fails all the same
    assert alone.left_out == found.left_out


def test_an_instance_says_how_to_build_what_a_placement_declares() -> None:
    given = Faults.of([NeedsThree(1, 2, 3)], None, after=False)
    found = cases_of([reach("a", NeedsThree)], [], given)
    assert len(found.cases) == 1
    assert found.left_out == ()
    assert "NeedsThree" in found.cases[0].id


def test_exceptions_given_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidPlan, match=r"NeedsThree.*cannot be built.*pass an instance"):
        Faults.of([NeedsThree])
    with pytest.raises(InvalidPlan, match="exception"):
        Faults.of(["no such path"])
    with pytest.raises(InvalidPlan, match="soon"):
        Faults.of((), "soon")


def test_ids_are_unique_though_two_classes_are_written_alike() -> None:
    def made() -> type[Exception]:
        class Refused(Exception):
            pass

        return Refused

    found = cases_of([reach("a", made(), made())], [], PLAIN)
    assert ids(found) == ["a#1 raise(Refused)", "a#1 raise(Refused) (2)"]


def test_a_case_that_is_not_there_is_refused_with_the_nearest() -> None:
    found = cases_of([reach("bank.charge", InjectedFault)], [], PLAIN)
    with pytest.raises(ChaosError, match=r"no case 'bank.charge#2 raise.*nearest: 'bank.charge#1"):
        found.only("bank.charge#2 raise(InjectedFault)")
    with pytest.raises(ChaosError, match="no point was reached"):
        Cases(()).only("a#1 raise")
