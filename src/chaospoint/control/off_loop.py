"""Requests of a mounted app are answered beside its loop, so that none holds it up.

An answer comes in steps. All of them run on one thread, which takes the requests by turns, and the
time that a step asks for passes on the loop. Only the order to disable is answered on the loop
itself: it waits for no other request, and works also where no thread can start.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

from chaospoint._kernel.context import in_chaospoint
from chaospoint._kernel.process import after_fork_in_c
from chaospoint.control.http import Response
from chaospoint.control.problem import Problem
from chaospoint.control.service import Steps
from chaospoint.stores.acknowledging import run_blocking

__all__ = ["MOST", "answered", "answered_on_loop"]

MOST = 200
"""How many requests are answered at once; further ones get a 503."""

_TOO_MANY = Problem(
    503,
    "too-many-requests",
    f"{MOST} other requests are being answered: ask again in a second",
    headers={"retry-after": "1"},
)


async def answered(steps: Steps) -> Response:
    """Return the answer that ``steps`` come to, taken on the thread if there can be one.

    Where the task is cancelled, the steps are closed. A loop that is not asyncio's is held up.
    """
    if asyncio._get_running_loop() is None:
        return run_blocking(steps)
    if len(_under_way) >= MOST:
        steps.close()
        return _TOO_MANY.response()
    _under_way.add(steps)
    try:
        while not isinstance(said := await _taken(steps), Response):
            try:
                await asyncio.sleep(said)
            except BaseException:
                _close(steps)
                raise
        return said
    finally:
        _under_way.discard(steps)


async def answered_on_loop(steps: Steps) -> Response:
    """Return the answer that ``steps`` come to, worked out between other tasks of the loop."""
    if asyncio._get_running_loop() is None:
        return run_blocking(steps)
    with closing(steps):
        while not isinstance(said := _take(steps), Response):
            await asyncio.sleep(said)
        return said


async def _taken(steps: Steps) -> float | Response:
    """Take a step on the thread, or here where no thread can start."""
    try:
        step = _thread().submit(_take, steps)
    except RuntimeError:
        return _take(steps)
    try:
        return await asyncio.wrap_future(step)
    except BaseException:
        step.add_done_callback(lambda _: _close(steps))  # the thread may be in the middle of it
        raise


def _close(steps: Steps) -> None:
    """Close steps that are not being taken: on the thread, as closing writes the audit log."""
    try:
        _thread().submit(steps.close)
    except RuntimeError:
        steps.close()


def _take(steps: Steps) -> float | Response:
    """Return the answer, or after how many seconds to take the next step."""
    try:
        return next(steps)
    except StopIteration as end:
        response: Response = end.value
        return response


def _thread() -> ThreadPoolExecutor:
    """Return the thread, once it runs; raises `RuntimeError` if it cannot start."""
    if not _threads:
        # No point acts on it. It starts here, so that no later step is both refused and queued.
        thread = ThreadPoolExecutor(1, "chaospoint-request", partial(in_chaospoint.set, True))
        thread.submit(int)
        _threads.append(thread)
    return _threads[0]


_threads: list[ThreadPoolExecutor] = []
_under_way: set[Steps] = set()


def _begin_anew() -> None:
    _threads.clear()
    _under_way.clear()


# A forked child does not have the thread.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
after_fork_in_c.append(_begin_anew)
