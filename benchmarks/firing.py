"""Measure calls at which a rule fires: the time that a firing adds to raising an exception.

Every call fires, and the three default observers run: metric, span and log.  The base raises the
same exception; if a span is recording, it also makes the two calls of the SDK by hand, with
prepared attributes.  A span keeps its last 128 events, in ours and in the base.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import chaospoint
from benchmarks.budget import Budget
from benchmarks.budget import Kind as Of
from benchmarks.kinds import Kind, trio
from benchmarks.measure import Effort, Part, Trio, sample
from benchmarks.row import Row

__all__ = ["rows"]

_MORE = 2_800.0 if sys.version_info >= (3, 12) else 2_300.0
FIRES = Budget(Of.EXTRA, _MORE)
REPORTED = Budget(Of.EXTRA)
FIRES_ON_SPAN = Budget(Of.EXTRA, _MORE + 1_000.0)

_EXPIRING = "a rule with a deadline, exception"
_CATCH = "try: it()\nexcept TimeoutError: pass"
_RAISE = Kind("exception", "@place\ndef it():\n    raise TimeoutError\n", _CATCH)
_OBSERVE = Kind(
    "exception",
    """
@place
def it():
    add_event("chaospoint.injection", attributes)
    set_attribute("chaospoint.injected", True)
    raise TimeoutError
""",
    _CATCH,
)


def rows() -> Iterator[Row]:
    """Yield the rows."""
    group = "armed, fires"
    yield Row(group, "exception", FIRES, partial(sample, trio(_RAISE, _fires)))
    yield Row(group, _EXPIRING, FIRES, partial(sample, trio(_RAISE, _fires_until_a_deadline)))
    yield Row(group, "exception, on a recording span", FIRES_ON_SPAN, partial(sample, _on_span))
    yield Row(group, "exception, metrics in files (multiprocess mode)", REPORTED, _in_files)


def _fires(stack: ExitStack, **keys: Any) -> Any:
    registry = chaospoint.Registry()
    it = _RAISE.make(registry.point("bench.point"))
    handle = stack.enter_context(
        chaospoint.armed("bench.point", exception=TimeoutError, registry=registry, **keys)
    )
    try:
        it()
    except TimeoutError as error:
        if chaospoint.injection_of(error) is not None and handle.injections == 1:
            return it
    raise RuntimeError("the exception was not injected")


def _fires_until_a_deadline(stack: ExitStack) -> Any:
    return _fires(stack, expires_after="1h")


def _in_files(effort: Effort) -> Sequence[Part]:
    """Measure in a process of its own, because prometheus_client chooses its mode at import."""
    with (
        TemporaryDirectory() as folder,
        patch.dict(os.environ, PROMETHEUS_MULTIPROC_DIR=folder),
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        return pool.submit(_sample_fires, effort).result()


def _sample_fires(effort: Effort) -> Sequence[Part]:
    logging.getLogger("chaospoint").setLevel(logging.ERROR)
    return sample(trio(_RAISE, _fires), effort)


def _on_span(stack: ExitStack) -> Trio:
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    stack.callback(provider.shutdown)
    tracer = provider.get_tracer("benchmarks")
    span: Any = stack.enter_context(
        tracer.start_as_current_span("measured", record_exception=False)
    )
    if not span.is_recording():
        raise RuntimeError("the span does not record")
    ours = _fires(stack)
    event = span.events[-1]
    names: Mapping[str, object] = {
        "add_event": span.add_event,
        "set_attribute": span.set_attribute,
        "attributes": dict(event.attributes),
    }
    if event.name != "chaospoint.injection" or len(event.attributes) < 6:
        raise RuntimeError(f"the span lacks the event that the base adds: {event!r}")
    return trio(_OBSERVE, lambda _: ours, names)(stack)
