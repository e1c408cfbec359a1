"""Break a shop that serves real orders, watch it cope, and have every injection accounted for.

Starts the shop and its bank as two processes on loopback, sends a steady stream of orders and
walks through seven phases: baseline; a latency armed over HTTP; 30 % failures armed over HTTP; a
rule added by editing the plan file; the master switch off and on; recovery.

Ends with a table, a row a phase, and a verdict. It exits with 1 if the scraped metrics, the span
events received and the services' own lines do not agree exactly in every phase, or if the median
answer time after recovery is not within 10 % or 5 ms of the baseline, and with 2 if it could not
run. It takes about 35 seconds. Both processes are ended whatever happens.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
from admin import Admin
from evidence import Armed, Evidence
from load import send
from report import Report, Row, same_median
from services import DemoError, Services, end_on_sigterm, running

PLAN = """\
seed: 7
rules:
  - point: db.query
    exception: {type: sqlite3.OperationalError, args: [database is locked]}
    every: 5
"""
LATENCY = Armed("payment.charge", "latency", seconds=0.12)
FAILURE = Armed("payment.charge", "exception")
LOCKED = Armed("db.query", "exception")  # what the plan arms


async def walk(services: Services, report: Report, rate: float, seconds: float) -> list[Row]:
    """Walk through the phases; nothing is under way when this changes what is armed."""
    evidence = Evidence(services.directory)
    rows: list[Row] = []
    async with (
        httpx.AsyncClient(base_url=services.shop_url, timeout=10) as customers,
        httpx.AsyncClient(base_url=services.admin_url, timeout=10) as admin_client,
    ):
        admin = Admin(admin_client)

        async def phase(name: str, armed: Armed | None = None) -> None:
            count = max(1, round(rate * seconds))
            with report.phase(name, count) as each:
                load = await send(customers, rate=rate, count=count, each=each)
            # All orders are answered; each wrote its lines and spans before its answer was sent.
            found = evidence.take(await admin.metrics(), load.statuses[201], armed)
            rows.append(Row(name, load, found))

        report.say("  warming up …")
        await warm_up(customers, rate)
        evidence.take(await admin.metrics(), paid=0)  # not counted

        await phase("baseline")

        await admin.arm("payment.charge", {"latency": f"{1000 * LATENCY.seconds:.0f}ms"})
        await phase("latency 120 ms (HTTP)", LATENCY)

        # PUT replaces what is armed on the point: the latency is gone.
        timeout = {"type": "httpx.ConnectTimeout", "args": ["the bank is far away"]}
        await admin.arm("payment.charge", {"exception": timeout, "failure_rate": 0.3, "seed": 7})
        await phase("30 % failures (HTTP)", FAILURE)
        await admin.disarm("payment.charge")

        services.plan.write_text(PLAN, encoding="utf-8")
        await until(only(admin, file=1), "the rule in the plan file to be armed")
        await phase("every 5th fails (file)", LOCKED)

        await admin.switch(on=False)
        if not await admin.refuses("payment.charge", {"exception": timeout}):
            raise DemoError("a rule could be armed while the master switch was off")
        await phase("switched off")

        await admin.switch(on=True)
        await until(only(admin, file=1), "the rule in the plan file to be back")
        await phase("switched on again", LOCKED)

        services.plan.write_text("rules: []\n", encoding="utf-8")
        await until(only(admin), "everything to be disarmed")
        await phase("recovery")
    return rows


async def warm_up(customers: httpx.AsyncClient, rate: float) -> None:
    """Send orders until the median of one second is that of the one before, 10 s at most."""
    before = 0.0
    for _ in range(10):
        now = (await send(customers, rate=rate, count=max(1, round(rate)))).p50
        if same_median(before, now):
            return
        before = now


def only(admin: Admin, **armed: int) -> Callable[[], Awaitable[bool]]:
    """A question: do the metrics say that these numbers of rules, by source, are armed, no more?"""

    async def ask() -> bool:
        return +(await admin.metrics()).armed == Counter(armed)

    return ask


async def until(question: Callable[[], Awaitable[bool]], what: str, patience: float = 5.0) -> None:
    deadline = time.monotonic() + patience
    while not await question():
        if time.monotonic() > deadline:
            raise DemoError(f"waited {patience:g} s for {what}")
        await asyncio.sleep(0.05)


def run(directory: Path, report: Report, rate: float, seconds: float, chart: Path | None) -> int:
    try:
        with running(directory) as services:
            report.say(
                f"bank {services.bank_url}, shop {services.shop_url}, "
                f"the shop's admin endpoint {services.admin_url}"
            )
            rows = asyncio.run(walk(services, report, rate, seconds))
    except (DemoError, httpx.HTTPError) as error:
        report.say(f"the demo could not go on: {type(error).__name__}: {error}")
        return 2
    report.table(rows)
    if chart is not None:
        from chart import draw  # matplotlib takes a second to import

        draw(rows, chart)
        report.say(f"the chart is in {chart}")
    return 0 if report.verdict(rows) else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=50.0, help="orders a second (50)")
    parser.add_argument("--seconds", type=float, default=3.5, help="length of a phase (3.5)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave logs and spans in DIR")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the orders as SVG")
    options = parser.parse_args()
    if options.rate <= 0 or options.seconds <= 0:
        parser.error("--rate and --seconds must be above 0")

    os.environ["no_proxy"] = "127.0.0.1"  # all that is asked here, whatever proxy there is
    terminated = end_on_sigterm()
    report = Report()
    directory = options.keep or Path(tempfile.mkdtemp(prefix="chaospoint-demo-"))
    directory.mkdir(parents=True, exist_ok=True)
    code = 2
    try:
        code = run(directory.resolve(), report, options.rate, options.seconds, options.chart)
    except KeyboardInterrupt:
        report.say("interrupted")
        code = 128 + terminated[0] if terminated else 130
    finally:
        if code in (1, 2) or options.keep:
            report.say(f"logs, lines, spans and the database are in {directory}")
        else:
            shutil.rmtree(directory)
    return code


if __name__ == "__main__":
    sys.exit(main())
