"""A process and its children, which share a store. Arguments: the kind and number of children.

``fork``, ``spawn``: children of `multiprocessing`. ``daemon``: one child that becomes a daemon and
closes all files. ``late-daemon``: the same, after it serves the admin endpoint. Each process first
calls its point and prints a line about itself. It prints another line after SIGUSR1, forks after
SIGUSR2, calls `stop` after SIGHUP, and ends after SIGTERM.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading

import chaospoint
from chaospoint import config

ASKED = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, ASKED)


@chaospoint.point("payment.charge")
def charge() -> str:
    return "paid"


def call() -> str:
    try:
        return charge()
    except TimeoutError:
        return "timed out"


def tell(said: str) -> None:
    """Print the data of this process in one write."""
    files = {}
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            files[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass  # it was that of the listing
    line = {
        "pid": os.getpid(),
        "said": said,
        "files": files,
        "threads": sorted(one.name for one in threading.enumerate()),
    }
    os.write(1, f"{json.dumps(line)}\n".encode())


def live() -> None:
    """Carry out the commands on standard input until it ends."""
    tell(call())
    while True:
        asked = signal.sigwait(ASKED)
        if asked == signal.SIGUSR1:
            tell(call())
        elif asked == signal.SIGUSR2:
            forked()
        elif asked == signal.SIGHUP:
            config.stop()
            tell(call())
        elif asked == signal.SIGCHLD:
            reap()
        else:
            config.stop()
            os._exit(0)


def reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def forked() -> None:
    if os.fork() == 0:
        live()


def daemon(late: bool) -> None:
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    if late:
        while config._running is None or config._running._server.url is None:  # type: ignore[union-attr]
            threading.Event().wait(0.01)
    os.closerange(3, 256)
    held = [open(os.devnull) for _ in range(20)]  # noqa: SIM115 - the numbers are used again
    live()
    del held


def main() -> None:
    how, count = sys.argv[1], int(sys.argv[2])
    if how.endswith("daemon"):
        daemon(how.startswith("late"))
    context = multiprocessing.get_context(how)
    for _ in range(count):
        context.Process(target=live).start()
    live()


if __name__ == "__main__":
    main()
