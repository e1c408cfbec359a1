"""Requests of a mounted app are answered on threads of their own, so that none holds up its loop.

Only the order to disable is answered on the loop itself: it works also where no thread can start.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import closing, suppress
from threading import Thread

from chaospoint._bell import Bell, TaskBell
from chaospoint._inside import inside
from chaospoint._process import after_fork_in_c
from chaospoint._start import start
from chaospoint.control.messages import Response
from chaospoint.control.service import Steps

__all__ = ["MOST_THREADS", "answered", "answered_on_loop"]

MOST_THREADS = 32
"""How many requests are answered on threads at once; further ones take turns with the loop."""


async def answered(steps: Steps) -> Response:
    """Return the answer that ``steps`` come to, on a thread if there can be one.

    Where the task is cancelled, the steps are closed.
    """
    if len(_under_way) >= MOST_THREADS:
        return await answered_on_loop(steps)
    answering = _Answering(steps, TaskBell(asyncio.get_running_loop()))
    try:
        start(Thread(target=answering.run, name="chaospoint-request", daemon=True))
    except RuntimeError:
        _under_way.discard(answering)
        return await answered_on_loop(steps)
    try:
        await answering.done.future
    except BaseException:
        answering.gone.set()
        raise
    if answering.response is None:
        raise RuntimeError("the thread that was to answer has failed") from answering.error
    return answering.response


async def answered_on_loop(steps: Steps) -> Response:
    """Return the answer that ``steps`` come to, worked out between other tasks of the loop."""
    with closing(steps):
        try:
            while True:
                await asyncio.sleep(next(steps))
        except StopIteration as end:
            response: Response = end.value
            return response


class _Answering:
    """One request that a thread answers. ``gone``: nobody waits for it any more."""

    def __init__(self, steps: Steps, done: TaskBell) -> None:
        self.done = done
        self.gone = Bell()
        self.response: Response | None = None
        self.error: BaseException | None = None
        self._steps = steps
        _under_way.add(self)

    def run(self) -> None:
        """Answer; called on the thread."""
        inside.set(True)
        try:
            self._answer()
        except BaseException as error:
            self.error = error
        finally:
            _under_way.discard(self)
            with suppress(RuntimeError):  # the loop is closed
                self.done.set()

    def _answer(self) -> None:
        with closing(self._steps):
            try:
                while not self.gone.is_set():
                    self.gone.wait(next(self._steps))
            except StopIteration as end:
                self.response = end.value


_under_way: set[_Answering] = set()

# A forked child has none of these threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_under_way.clear)
after_fork_in_c.append(_under_way.clear)
