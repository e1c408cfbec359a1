"""Answer the requests of a mounted ASGI app outside of its loop, so that they do not block it.

One thread runs the steps of all answers in turn, and the loop waits between the steps.  Only
requests to disable are answered on the loop itself: they wait for no other request, and work even
if no thread can be started.
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
"""The most requests that are answered at once; further requests get a 503."""

_TOO_MANY = Problem(
    503,
    "too-many-requests",
    f"{MOST} other requests are being answered: try again in a second",
    headers={"retry-after": "1"},
)


async def answered(steps: Steps) -> Response:
    """Run ``steps`` on the thread, or here if it cannot start, and return the response.

    If the task is cancelled, the steps are closed.  A loop other than asyncio's is blocked.
    """
    if asyncio._get_running_loop() is None:
        return run_blocking(steps)
    if len(_in_flight) >= MOST:
        steps.close()
        return _TOO_MANY.response()
    _in_flight.add(steps)
    try:
        while not isinstance(outcome := await _run_step(steps), Response):
            try:
                await asyncio.sleep(outcome)
            except BaseException:
                _close(steps)
                raise
        return outcome
    finally:
        _in_flight.discard(steps)


async def answered_on_loop(steps: Steps) -> Response:
    """Run ``steps`` on the loop, and return the response."""
    if asyncio._get_running_loop() is None:
        return run_blocking(steps)
    with closing(steps):
        while not isinstance(outcome := _take(steps), Response):
            await asyncio.sleep(outcome)
        return outcome


async def _run_step(steps: Steps) -> float | Response:
    """Run one step on the thread, or here if no thread can be started."""
    try:
        step = _thread().submit(_take, steps)
    except RuntimeError:
        return _take(steps)
    try:
        return await asyncio.wrap_future(step)
    except BaseException:
        step.add_done_callback(lambda _: _close(steps))  # the thread may be running it
        raise


def _close(steps: Steps) -> None:
    """Close idle steps, on the thread, because closing writes the audit log."""
    try:
        _thread().submit(steps.close)
    except RuntimeError:
        steps.close()


def _take(steps: Steps) -> float | Response:
    """Run one step; return the response, or the seconds to wait before the next step."""
    try:
        return next(steps)
    except StopIteration as end:
        response: Response = end.value
        return response


def _thread() -> ThreadPoolExecutor:
    """Return the running thread; raise `RuntimeError` if it cannot start."""
    if not _threads:
        # Points are transparent on it.  It starts here, so that a later step cannot fail and
        # still be queued.
        thread = ThreadPoolExecutor(1, "chaospoint-request", partial(in_chaospoint.set, True))
        thread.submit(int)
        _threads.append(thread)
    return _threads[0]


_threads: list[ThreadPoolExecutor] = []
_in_flight: set[Steps] = set()


def _forget() -> None:
    _threads.clear()
    _in_flight.clear()


# A forked child does not have the thread.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
after_fork_in_c.append(_forget)
