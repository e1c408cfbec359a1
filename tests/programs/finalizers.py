"""Call armed functions in threads and tasks while finalizers use chaospoint.

``python finalizers.py SECONDS``: the objects are in reference cycles, so the garbage collector
finalizes them at any time. The finalizers reach armed points, set context variables, arm and disarm
rules, use the master switch, explain and read counts. The program fails if the state is wrong
afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import decimal
import faulthandler
import logging
import os
import pickle
import random
import sys
import threading
import time
from collections.abc import Callable

import chaospoint
from chaospoint._kernel.context import in_chaospoint
from chaospoint._kernel.lock import arming_lock
from chaospoint._kernel.reporting import bugs
from chaospoint.errors import NotPermitted

logging.disable()
seconds = float(sys.argv[1])
faulthandler.enable()
faulthandler.dump_traceback_later(seconds + 60, exit=True)

registry = chaospoint.Registry.default()
changed = chaospoint.Registry()
close = chaospoint.point("db.close")(lambda: "closed")
query = chaospoint.point("db.query")(lambda: "row")
bounded = chaospoint.point("db.bounded")(lambda: "row")
compared = chaospoint.point("db.compared")(lambda value: "row")
other = changed.point("db.other")(lambda: "row")
statement = registry.point("db.statement")


@chaospoint.point("db.aquery")
async def aquery() -> str:
    """Be armed, and asynchronous."""
    return "row"


class Odd:
    """A value whose comparison reaches a point."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, _: object) -> bool:
        close()
        return True


def set_variable() -> None:
    """Set a context variable, and reset it."""
    with decimal.localcontext():
        pass


def arm() -> None:
    """Arm and disarm rules."""
    with contextlib.suppress(NotPermitted):
        chaospoint.arm("db.other", returns="chaos", registry=changed).disarm()


def arm_exceptions() -> None:
    """Arm exceptions that are built and shown first, and pickle objects that refuse it."""
    for exception in (OSError(2, "no such file"), "httpx.NoSuchError"):
        try:
            chaospoint.arm("db.other", exception=exception, registry=changed).disarm()
        except chaospoint.ChaosError as refusal:
            pickle.loads(pickle.dumps(refusal))


def switch() -> None:
    """Turn the master switch of a registry."""
    chaospoint.disable(registry=changed)
    chaospoint.enable(registry=changed)


def look() -> None:
    """Read counts, and explain."""
    for rule in registry.rules():
        injections = rule.injections  # first, for both go on growing
        assert rule.reaches >= injections
    registry.point("db.query").explain()


LIGHT: tuple[Callable[[], object], ...] = (close, set_variable)
HEAVY: tuple[Callable[[], object], ...] = (
    statement.hit,
    arm,
    arm_exceptions,
    switch,
    look,
    lambda: chaospoint.disarm("db.*", registry=changed),
)
wrong: list[str] = []
done = 0


class Connection:
    """An object with a finalizer that the garbage collector runs."""

    def __init__(self, finalize: Callable[[], object]) -> None:
        self.me, self.finalize = self, finalize

    def __del__(self) -> None:
        global done
        try:
            self.finalize()
        except BaseException as error:
            wrong.append(repr(error))
        done += 1


began = time.monotonic()
until = began + seconds


def litter(chance: random.Random) -> list[list[object]]:
    """Leave an object to collect, and return objects that vary the time of the next collection.

    Most of the time the finalizers are quick, so that collections are frequent.
    """
    light = time.monotonic() < began + 0.7 * seconds
    Connection(chance.choice(LIGHT if light else HEAVY))
    return [[] for _ in range(chance.randrange(60))]


def work(seed: int) -> None:
    """Call armed functions in a thread."""
    chance = random.Random(seed)
    while time.monotonic() < until and len(wrong) < 10:
        held = litter(chance)
        for _ in range(20):
            query()
        if seed < 2:
            compared(Odd())
            bounded()
            set_variable()
        del held


async def awork(seed: int) -> None:
    """Call armed functions in a task."""
    chance = random.Random(seed)
    while time.monotonic() < until and len(wrong) < 10:
        held = litter(chance)
        for _ in range(20):
            await aquery()
        del held
        await asyncio.sleep(0)


async def tasks() -> None:
    """Run the tasks."""
    await asyncio.gather(*map(awork, range(10, 13)))


chaospoint.arm("db.aquery", returns="chaos", max_active=2, probability=0.5)
chaospoint.arm("db.bounded", returns="chaos", max_active=2, probability=0.5)
chaospoint.arm("db.compared", returns="chaos", where={"value": "asked for"})
chaospoint.arm("db.*", returns="chaos")
threads = [threading.Thread(target=work, args=(seed,)) for seed in range(5)]
for thread in threads:
    thread.start()
asyncio.run(tasks())
for thread in threads:
    thread.join(60)

query()
assert not any(thread.is_alive() for thread in threads)
assert done, "nothing was finalized"
assert not wrong, wrong[:3]
assert not bugs, bugs
assert not arming_lock.owned
assert not in_chaospoint.get()
chaospoint.disarm()
chaospoint.disarm(registry=changed)
changed.enable()
for engine in (registry.engine, changed.engine):
    assert not engine.rules()
    assert set(engine._table.counts.values()) <= {0}, engine._table.counts
assert (query(), other()) == ("row", "row")
with chaospoint.armed("db.query", returns="chaos"):
    assert query() == "chaos"
print(done)
sys.stdout.flush()
os._exit(0)
