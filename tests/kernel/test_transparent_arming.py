"""While something is armed, dumped, shown or built, the points in foreign code are transparent."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

import chaospoint
from chaospoint import Plan, Rule
from chaospoint.errors import ChaosWarning, InvalidPlan

ANYWHERE = chaospoint.point("foreign.code")


class Made(Exception):
    @ANYWHERE
    def __init__(self, text: str = "declined") -> None:
        super().__init__(text)
        self.more = Touchy()

    @ANYWHERE
    def __str__(self) -> str:
        return "declined"

    @ANYWHERE
    def __repr__(self) -> str:
        return "Made()"

    @ANYWHERE
    def __reduce__(self) -> Any:
        return super().__reduce__()


class Needs(Exception):
    @ANYWHERE
    def __init__(self, message: str) -> None:
        super().__init__(message)


class Touchy:
    @ANYWHERE
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Touchy)

    @ANYWHERE
    def __hash__(self) -> int:
        return 7

    @ANYWHERE
    def __repr__(self) -> str:
        return "Touchy()"

    @ANYWHERE
    def __bool__(self) -> bool:
        return True

    @property
    @ANYWHERE
    def __class__(self) -> type:  # type: ignore[override]
        return Touchy


@ANYWHERE
def make(*args: object) -> Exception:
    return ValueError("made")


@ANYWHERE
def answer(*args: object) -> Touchy:
    return Touchy()


@chaospoint.point("foreign.target")
def target(one: object = 1) -> str:
    return "real"


@pytest.fixture
def foreign() -> Iterator[chaospoint.Armed]:
    """Whatever reaches the point fails."""
    with chaospoint.armed(ANYWHERE, exception=OSError("not transparent")) as armed:
        yield armed


RULES: list[dict[str, Any]] = [
    {"exception": Made},
    {"exception": Needs},
    {"exception": {"type": Made, "args": ["x"]}},
    {"exception": {"type": ValueError, "args": [{"type": Made}], "cause": Needs}},
    {"exception": make},
    {"exception": lambda: make()},
    {"exception": [Made, Needs]},
    {"returns": Touchy()},
    {"returns": [Touchy()]},
    {"returns_from": answer},
    {"returns": 1, "where": {"one": Touchy()}},
    {"returns": 1, "where": {"one": [Touchy(), "x*"]}},
]


@pytest.mark.parametrize("keys", RULES)
def test_arming_showing_and_firing_reach_no_point(
    keys: dict[str, Any], foreign: chaospoint.Armed
) -> None:
    rule = Rule(point="foreign.target", **keys)
    str(rule), rule.model_dump(mode="json"), rule.model_dump(), Plan(rules=[rule, rule])
    assert rule == rule.model_copy()
    with chaospoint.armed(rule) as armed:
        chaospoint.point("foreign.target").explain()
        with suppress(Made, Needs, ValueError):
            target(Touchy())
        armed.wait_for(injections=1, timeout=1)
    assert foreign.reaches == 0
    with pytest.raises(OSError, match="not transparent"):
        answer()


def test_an_instance_is_read_and_rebuilt_without_reaching_a_point() -> None:
    pattern = Made()
    with chaospoint.armed(ANYWHERE, exception=OSError("not transparent")) as foreign:
        with chaospoint.armed("foreign.target", exception=pattern), pytest.raises(Made):
            target()
        assert foreign.reaches == 0


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"latency": Touchy()}, "latency"),
        ({"exception": Touchy()}, "exception"),
        ({"exception": {"type": "TimeoutError", "args": Touchy()}}, "exception.args"),
        ({"exception": make, "probability": Touchy()}, "probability"),
        ({"exception": lambda: Touchy()}, "exception"),
        ({"where": Touchy(), "returns": 1}, "where"),
        ({"unknown": Touchy()}, "unknown"),
    ],
)
def test_a_refusal_shows_the_value_without_reaching_a_point(
    keys: dict[str, Any], field: str, foreign: chaospoint.Armed
) -> None:
    with pytest.raises(InvalidPlan) as caught:
        chaospoint.arm("foreign.target", **keys)
    assert caught.value.field == field
    assert foreign.reaches == 0


def test_a_remark_is_shown_without_reaching_a_point(
    foreign: chaospoint.Armed, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    @ANYWHERE
    def shown(message: object, *rest: object) -> None:
        seen.append(message)

    with warnings.catch_warnings():
        warnings.simplefilter("always", ChaosWarning)
        monkeypatch.setattr(warnings, "showwarning", shown)
        chaospoint.arm("foreign.targett", returns=1).disarm()
    assert len(seen) == 1
    assert foreign.reaches == 0
