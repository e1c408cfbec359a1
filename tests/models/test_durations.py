"""Durations: text with a unit or a number of seconds in, seconds out."""

from __future__ import annotations

from decimal import Decimal

import pytest

from chaospoint.models.durations import MAX_SECONDS, parse_duration
from chaospoint.models.refusal import Refusal


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("200ms", 0.2),
        ("1.5s", 1.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1d", 86_400.0),
        ("250us", 0.00025),
        ("2", 2.0),
        (".5s", 0.5),
        (" 10 s ", 10.0),
        ("0", 0.0),
        (2, 2.0),
        (0.2, 0.2),
        (0, 0.0),
        (MAX_SECONDS, MAX_SECONDS),
        ("3650d", MAX_SECONDS),
    ],
)
def test_a_duration_is_read_as_seconds(given: object, expected: float) -> None:
    assert parse_duration(given) == expected
    assert type(parse_duration(given)) is float


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("fast", "not a duration"),
        ("", "not a duration"),
        ("200 parsecs", "not a duration"),
        ("1s2m", "not a duration"),
        ("1_000ms", "not a duration"),
        ("\u0661s", "not a duration"),
        ("200MS", "not a duration"),
        ("nan", "not a duration"),
        ("1e3", "not a duration"),
        ("-2s", "cannot be negative"),
        (-0.1, "cannot be negative"),
        (-(10**400), "cannot be negative"),
        (True, "not a duration"),
        (None, "not a duration"),
        ([], "not a duration"),
        (Decimal("1"), "not a duration"),
        (float("nan"), "not a finite number"),
        (float("inf"), "not a finite number"),
        (10**400, "longer than ten years"),
        ("3651d", "longer than ten years"),
        ("9" * 5000, "longer than ten years"),
    ],
)
def test_nonsense_is_refused_with_the_cure(given: object, problem: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_duration(given)
    assert problem in caught.value.problem
    assert caught.value.value is given
    assert caught.value.cure
