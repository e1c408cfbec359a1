"""A latency in a coroutine never blocks the event loop; a hang ends when the rule is disarmed.

python examples/coroutine.py
"""

import asyncio
import time

import chaospoint

FETCH = chaospoint.point("rates.fetch")


@chaospoint.point("payment.charge")
async def charge(cents: int) -> str:
    return f"charged {cents}"


async def rate() -> float:
    async with FETCH:
        return 1.08


async def tick(until: asyncio.Future[list[str]]) -> int:
    ticks = 0
    while not until.done():
        await asyncio.sleep(0.005)
        ticks += 1
    return ticks


async def main() -> None:
    with chaospoint.armed("payment.charge", latency="200ms"):
        begun = time.perf_counter()
        charges = asyncio.ensure_future(asyncio.gather(*(charge(cents) for cents in range(50))))
        ticks = await tick(charges)
        took = time.perf_counter() - begun
    # 50 times 200 ms would be 10 s if they queued, and no tick if the loop were blocked.
    print(f"50 charges side by side: {took < 2}, the loop ran on: {ticks > 5}")

    hang = chaospoint.arm("rates.fetch", hang=True)
    waiting = asyncio.create_task(rate())
    await hang.await_for(injections=1, timeout=5)
    hang.disarm()
    print(f"disarmed, the call goes through: {await waiting}")

    with chaospoint.armed("rates.fetch", hang="10ms"):
        try:
            await rate()
        except TimeoutError as error:
            print(f"a bounded hang ends in {type(error).__name__}")


asyncio.run(main())
