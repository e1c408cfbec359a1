"""Does one thing again and again while a signal handler raises in the middle of it.

``python interrupted.py WHAT HANDLERS``: says what was left behind.  It fails if anything was, or if
fewer than nine in ten handlers interrupted the deed.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable

import chaospoint
from chaospoint._bug import bugs
from chaospoint._inside import inside
from chaospoint._lock import arming
from chaospoint.errors import NotPermitted

logging.disable()  # the locks of the standard library are not what is tested here
faulthandler.dump_traceback_later(280, exit=True)
registry = chaospoint.Registry.default()
point = chaospoint.point("a.b")


class Stop(BaseException):
    """What the handler raises, as that of Ctrl-C does."""


@point
def call() -> str:
    """Be what is armed."""
    return "plain"


plain = call.__code__


def enter_and_leave() -> None:
    """Arm for the length of a block."""
    with chaospoint.armed("a.b", returns="chaos"):
        call()


def glob() -> None:
    """Arm a glob for the length of a block, with a bound on injections."""
    with chaospoint.armed("a.*", returns="chaos", max_active=1):
        call()


def arm() -> None:
    """Arm, and disarm without a block."""
    chaospoint.arm("a.b", returns="chaos")
    chaospoint.disarm()


def start() -> None:
    """Arm where the keeper has ended, so that it has to start."""
    registry.board.keeper.stop()
    registry.board.keeper.resume()
    with chaospoint.armed("a.b", returns="chaos"):
        pass


def explain() -> None:
    """Look at everything."""
    point.explain()


def switch() -> None:
    """Turn the master switch."""
    chaospoint.disable()
    chaospoint.enable()


def fork() -> None:
    """Make a child that ends."""
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)


DEEDS: dict[str, Callable[[], object]] = {
    "armed": enter_and_leave,
    "glob": glob,
    "arm": arm,
    "start": start,
    "fire": call,
    "explain": explain,
    "switch": switch,
    "fork": fork,
}


raising = False


def raises(*_: object) -> None:
    """Be the signal handler."""
    if raising:
        raise Stop


def repeat(deed: Callable[[], object]) -> None:
    """Do it for ever; a function, because CPython leaves jumps of loops out of blocks."""
    while True:
        deed()


def interrupted(deed: Callable[[], object], seconds: float) -> bool:
    """Repeat a deed until a handler raises within it; return whether that came out of the deed."""
    global raising
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, 0.02)
            raising = True
            repeat(deed)
        finally:
            raising = False  # first, for a second signal may be waiting
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Stop:
        return True
    except (ChildProcessError, NotPermitted):
        return False
    except Exception as error:  # pydantic wraps what is raised within it
        if "Stop" not in repr(error):
            raise
        return True
    return False


def free() -> bool:
    """Whether another thread can take the lock."""
    taken: list[bool] = []

    def take() -> None:
        if arming.acquire(timeout=5):
            arming.release()
            taken.append(True)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join(10)
    return taken == [True]


def main(what: str, handlers: int) -> int:
    """Return whether anything was left behind, or too few handlers raised within the deed."""
    deed, chance, left = DEEDS[what], random.Random(1), Counter[str]()
    sys.unraisablehook = lambda _: None  # Python reports what is raised in hooks, and goes on
    signal.signal(signal.SIGALRM, raises)
    stays = what in ("fire", "explain", "fork")
    if stays:
        chaospoint.arm("a.b", returns="chaos", max_active=3, probability=0.5)
    deed()
    came = 0
    for nth in range(handlers):
        came += interrupted(deed, chance.uniform(2e-5, 4e-3 if what == "fork" else 9e-4))
        left["the lock is held"] += arming.owned
        left["points are transparent"] += inside.get()
        rules = registry.rules()
        if what == "arm":
            chaospoint.disarm()  # it may come before `arm` has returned, or after it
        else:
            left["rules are armed"] += len(rules) != stays
            left["the code is another"] += not stays and call.__code__ is not plain
        if what == "switch":
            chaospoint.enable()
        left["a tally is locked"] += any(rule.tally._lock.owned for rule in rules)
        left["the keeper is locked"] += registry.board.keeper._lock.owned
        left["no thread can start"] += threading._active_limbo_lock._is_owned()
        if nth % 500 == 0 and not free():
            left["no other thread can take the lock"] += 1
            faulthandler.dump_traceback()
            break
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    fork()
    chaospoint.disarm()
    with chaospoint.armed("a.b", returns="chaos"):
        left["what is armed does not act"] += call() != "chaos"
    left["the code is not restored"] += call.__code__ is not plain or call() != "plain"
    found = {name: count for name, count in left.items() if count}
    print(what, handlers, f"interrupted by {came}", found, list(bugs))
    return bool(found or bugs) or came < 0.9 * handlers


if __name__ == "__main__":
    failed = main(sys.argv[1], int(sys.argv[2]))
    sys.stdout.flush()
    os._exit(failed)
