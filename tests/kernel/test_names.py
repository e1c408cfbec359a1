"""Names and globs."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaospoint._kernel.names import is_glob, matches, nearest

TEXT = st.text("ab.-_*[]?x", max_size=8)


@pytest.mark.parametrize(
    ("pattern", "name", "does"),
    [
        ("pay.charge", "pay.charge", True),
        ("pay.charge", "pay.charges", False),
        ("pay.charge", "payXcharge", False),
        ("pay.*", "pay.a", True),
        ("pay.*", "pay.a.b", True),  # a star crosses dots
        ("pay.*", "pay", False),
        ("*", "anything.at.all", True),
        ("*.b", "a.b", True),
        ("*.b", "a.b.c", False),
        ("a*b", "ab", True),
        ("a**b", "axb", True),
        ("pay.*", "pay.*", True),  # a glob read as text
        ("*", "pay.*", True),
        ("p*y", "p\ny", True),
        ("pay.a", "pay.*", False),
    ],
)
def test_matching(pattern: str, name: str, does: bool) -> None:
    assert matches(pattern, name) is does


@given(TEXT, TEXT)
def test_a_star_alone_is_special(pattern: str, name: str) -> None:
    like = "".join(".*" if char == "*" else re.escape(char) for char in pattern)
    assert matches(pattern, name) is bool(re.fullmatch(like, name))
    if "[" not in pattern and "?" not in pattern:
        assert matches(pattern, name) is fnmatch.fnmatchcase(name, pattern)


def test_a_pattern_with_a_star_is_a_glob() -> None:
    assert is_glob("pay.*")
    assert not is_glob("pay.[a]")


def test_many_stars_do_not_backtrack() -> None:
    assert not matches("*" * 40 + "x", "a" * 200)


def test_the_nearest_names() -> None:
    names = ["payment.charge", "payment.refund", "inventory.take"]
    assert nearest("paymnet.charge", names)[0] == "payment.charge"
    assert nearest("payment.charge.*", names)[0] == "payment.charge"
    assert nearest("zzz", names) == ()
    assert len(nearest("p", [f"p{n}" for n in range(9)])) <= 3


def test_a_glob_of_many_stars_does_not_backtrack() -> None:
    """It would take for ever, under a lock: globs come from outside, and the text from callers."""
    pattern = "*".join(["", *("a" * 30), "b"])
    assert not matches(pattern, "a" * 5_000)
    assert matches(pattern, "a" * 5_000 + "b")


@pytest.mark.parametrize(
    ("pattern", "name", "does"),
    [
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*ab*ab", "xabab", True),
        ("*ab*ab", "xab", False),
        ("a*b*c", "abcbc", True),
        ("a**c", "ac", True),
        ("*a*", "bab", True),
        ("*aab*b", "aaabb", True),
        ("*", "", True),
    ],
)
def test_parts_between_stars(pattern: str, name: str, does: bool) -> None:
    assert matches(pattern, name) is does
