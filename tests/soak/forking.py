"""Fork the process, and read the results of the child from a pipe; end a child that hangs.

The child writes JSON if it succeeds, and otherwise a traceback or, if it hangs, the stacks of its
threads.
"""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

SECONDS = 30.0
"""The maximum seconds that a child may take."""


def forked(work: Callable[[], Any]) -> Any:
    """Run ``work`` in a forked child, and return its result."""
    here, there = os.pipe()
    # Written in C, so that it prints even if the child hangs in a fork hook of chaospoint.
    faulthandler.register(signal.SIGUSR1, there, all_threads=True)
    try:
        child = os.fork()
        if child == 0:
            _live(work, there)
    finally:
        faulthandler.unregister(signal.SIGUSR1)
        os.close(there)
    try:
        return _hear(child, here)
    finally:
        os.close(here)


def _live(work: Callable[[], Any], there: int) -> None:
    """Run the child; this never returns."""
    failed = 1
    try:
        signal.alarm(int(SECONDS) * 2)  # should the parent be gone
        said = json.dumps(work())
        failed = 0
    except BaseException:
        said = traceback.format_exc()
    finally:
        os.write(there, said.encode()[:60_000])
        os._exit(failed)


def _hear(child: int, here: int) -> Any:
    said, ended = _read(here, SECONDS)
    if not ended:
        os.kill(child, signal.SIGUSR1)
        said += _read(here, 2.0)[0]
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert ended, f"the child hung:\n{said}"
    assert status == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}:\n{said}"
    return json.loads(said)


def _read(here: int, seconds: float) -> tuple[str, bool]:
    """Return the bytes written, and whether the writer has closed the pipe."""
    said, until = b"", time.monotonic() + seconds
    while select.select([here], [], [], max(0.0, until - time.monotonic()))[0]:
        part = os.read(here, 65536)
        if not part:
            return said.decode(), True
        said += part
    return said.decode(), False
