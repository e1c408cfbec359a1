"""The program under test in the inner tests."""

from __future__ import annotations

import chaospoint


@chaospoint.point("payment.charge")
def charge(n: int = 1, k: int = 1) -> int:
    return n


@chaospoint.point("payment.refund")
async def refund(n: int = 1) -> int:
    return n


@chaospoint.point("stock.read")
def read(n: int = 1) -> int:
    return n


@chaospoint.point("stock.write")
def write(n: int = 1) -> int:
    return n


def retried(n: int) -> int | None:
    for _ in range(3):
        try:
            return charge(n)
        except TimeoutError:
            pass
    return None
