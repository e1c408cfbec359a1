"""Objects of the wrong kind are refused with what is wanted."""

from __future__ import annotations

from typing import Any, cast

import pytest

import chaospoint
from chaospoint import Registry
from chaospoint.errors import InvalidPlan


def test_an_observer_has_to_observe() -> None:
    with pytest.raises(TypeError, match=r"5 is not an observer: .* observe\(injection\)"):
        Registry().add_observer(cast(Any, 5))


def test_an_injection_is_behind_exceptions_only() -> None:
    with pytest.raises(TypeError, match="takes an exception or None, not 5"):
        chaospoint.injection_of(cast(Any, 5))
    assert chaospoint.injection_of(None) is None


def test_the_cure_of_a_mistake_in_text_is_the_cure_alone() -> None:
    with pytest.raises(InvalidPlan) as caught:
        chaospoint.Rule.parse("a.b=latnecy(1)")
    cure = caught.value.cure
    assert cure is not None
    assert "did you mean" in cure
    assert "\n" not in cure
    assert str(caught.value).endswith("a.b=latnecy(1)\n        ^")
