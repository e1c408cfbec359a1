"""Use a store in a directory. Arguments: the directory, an action, and its arguments.

``report ID``: report a worker, and run until standard input ends.
``fork ID``: the same, with a forked child that reports ``ID-child``.
``fork-silently ID``: the same, with a child that reports nothing.
``fork-updating``: fork in the middle of an update that the parent never finishes.
``count N``: make N updates, each of which adds a rule.
"""

import os
import sys
from typing import NoReturn

from chaospoint.errors import StoreBusy
from chaospoint.plan import Rule
from chaospoint.stores.desired import Desired
from chaospoint.stores.directory import DirectoryStore
from chaospoint.stores.store import Worker

path, what, *rest = sys.argv[1:]
store = DirectoryStore(path)


def live() -> NoReturn:
    print(os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)


def forked() -> bool:
    if os.fork():
        return False
    store.renew()
    return True


def update(name: str) -> None:
    rule = Rule(point=name, latency="1ms")
    while True:
        try:
            store.update(
                lambda desired: desired.put(
                    [(rule, 1)], name=name, default_seconds=60.0, by="", now=1e9
                )
            )
            return
        except StoreBusy:
            pass


def halfway(_: Desired) -> Desired:
    forked()
    live()


if what == "count":
    for nth in range(int(rest[1])):
        update(f"{rest[0]}.{nth}")
elif what == "fork-updating":
    store.update(halfway)
else:
    store.report(Worker(rest[0], os.getpid()))
    if what == "fork" and forked():
        store.report(Worker(f"{rest[0]}-child", os.getpid(), parent=rest[0]))
    elif what == "fork-silently":
        forked()
    live()
