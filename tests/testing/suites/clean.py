"""What is used rightly, and by other means: run with warnings as errors and asyncio's auto mode.

>>> charge()
'the first of the module'
"""

from __future__ import annotations

import pytest
from shop import charge, refund

from chaospoint.testing import Chaos

pytestmark = [
    pytest.mark.chaos("payment.charge", returns="the first of the module", times=1),
    pytest.mark.chaos("payment.charge", returns="the second of the module"),
]


def test_markers_of_a_module() -> None:
    assert [charge(), charge()] == ["the first of the module", "the second of the module"]


async def test_auto_mode(chaos: Chaos) -> None:
    chaos.arm("payment.refund", returns=5, scope="context")
    assert await refund() == 5


def test_nothing_need_fire_in_this_run(chaos: Chaos) -> None:
    chaos.arm("payment.refund", returns=5)


@pytest.mark.expected("failed", "payment.refund=return(5)", "never reached")
def test_but_what_says_so(chaos: Chaos) -> None:
    chaos.arm("payment.refund", returns=5, must_fire=True)


@pytest.mark.expected("failed", "payment.refund=return(6)", "never reached")
@pytest.mark.chaos("payment.refund", returns=6, must_fire=True)
def test_but_a_marker_that_says_so() -> None:
    pass


def test_what_other_plugins_have(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getoption("--chaos-seed") == 3
    assert pytestconfig.getoption("--chaos")
