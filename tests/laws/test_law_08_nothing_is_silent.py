"""Law 8. Nothing is silent: rules that will not act as written are reported, with a cure."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import places

from chaospoint import Registry, arm, armed, disarm
from chaospoint.arming import Origin, install_plan
from chaospoint.errors import ChaosWarning, UnknownPoint, UnsupportedFault
from chaospoint.plan import parse_plan


@pytest.fixture
def shop(registry: Registry) -> Registry:
    """A registry with a function and a block."""
    registry.point("payment.charge")(lambda: 7)
    registry.point("db.query")
    return registry


@pytest.mark.parametrize("name", ["payment.chrage", "paymnt.*"])
def test_law_08_a_typo_in_a_name_is_reported(name: str, shop: Registry) -> None:
    """Code that arms a name which no point has is warned, on its own line, with the nearest."""
    with pytest.warns(ChaosWarning, match=r"no point is named .*payment\.charge") as said:
        arm(name, latency=1, registry=shop)
    assert [one.filename for one in said] == [__file__]


@pytest.mark.parametrize("name", ["payment.chrage", "paymnt.*"])
def test_law_08_a_typo_is_an_error_where_asked_for(name: str, shop: Registry) -> None:
    """With ``strict`` it is `UnknownPoint`, and nothing is armed."""
    with pytest.raises(UnknownPoint, match=r"payment\.charge") as refused:
        arm(name, latency=1, strict=True, registry=shop)
    assert refused.value.close == ("payment.charge",)
    assert shop.rules() == ()


def test_law_08_a_typo_from_outside_is_a_line_in_the_log(
    shop: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """What is armed from outside is warned of where its operator looks."""
    plan = parse_plan([{"point": "payment.chrage", "latency": 1}])
    install_plan(plan, origin=Origin("file"), registry=shop, replace=True)
    (line,) = [record for record in caplog.records if "payment.chrage" in record.getMessage()]
    assert line.levelname == "WARNING"
    assert "payment.charge" in line.getMessage()
    assert "file" in line.getMessage()


def test_law_08_where_warnings_are_errors_nothing_stays_armed(shop: Registry) -> None:
    """`arm` that raises has armed nothing: the caller has no handle to disarm it with."""
    with pytest.raises(ChaosWarning, match=r"payment\.chrage"):
        arm("payment.chrage", latency=1, registry=shop)
    assert shop.rules() == ()


@pytest.mark.parametrize(
    "keys",
    [
        {"latency": 1, "probability": 0},
        {"exception": TimeoutError, "failure_rate": 0},
        {"failure_rate": 0},
    ],
    ids=str,
)
def test_law_08_a_rule_that_can_never_fire_is_reported(
    keys: dict[str, Any], shop: Registry
) -> None:
    """A probability of 0 is allowed, for who turns a knob, but not in silence."""
    with pytest.warns(ChaosWarning, match="can never fire.*raise it, or leave the rule out"):
        arm("payment.charge", registry=shop, **keys)


def test_law_08_a_fault_that_no_placement_can_express_is_refused(shop: Registry) -> None:
    """A return value at a block is an error when arming, which names the cure."""
    with pytest.raises(UnsupportedFault, match=r"db\.query.*decorate a function"):
        arm("db.query", returns=8, registry=shop)
    assert shop.rules() == ()


def test_law_08_a_fault_that_one_placement_cannot_express_is_reported_and_left_out_there(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a point has both a function and a block, the block is said to go without."""
    calls = places(registry.point("db.query"))
    with pytest.warns(ChaosWarning, match="'return' is left out at 'db.query': a generator"):
        handle = arm("db.query", returns=8, registry=registry)
    assert calls["function"]() == 8
    assert list(calls["generator"]()) == [7]
    assert calls["block"]() == calls["block"]() == 7
    (line,) = [record for record in caplog.messages if "left out at 'db.query'" in record]
    assert "decorate a function" in line
    assert handle.reaches == 1


def test_law_08_an_armed_rule_that_was_never_reached_is_reported(
    shop: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """A test in which the armed point was not on the way is told so at disarm."""
    with armed("db.query", latency=0, registry=shop):
        pass
    (line,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "never reached" in line.getMessage()
    assert "do the calls go through this point?" in line.getMessage()


def test_law_08_disarming_an_unknown_name_is_not_an_error(shop: Registry) -> None:
    """The one thing that may be silent: the state asked for is the state there is."""
    assert disarm("db.query", registry=shop) == 0
