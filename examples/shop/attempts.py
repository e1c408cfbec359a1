"""One attempt at one step of an order: a span around it and, whatever becomes of it, one line.

The lines are what an operator would want of any service. They also let the demo count, without
asking chaospoint's metrics or spans, what was injected.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

import chaospoint

tracer = trace.get_tracer("shop")
lines = logging.getLogger("shop.attempts")


def log_to_stdout() -> None:
    """Write the lines, and nothing else, to stdout: whole, from whatever thread they come."""
    lines.addHandler(logging.StreamHandler(sys.stdout))
    lines.setLevel(logging.INFO)
    lines.propagate = False


@contextmanager
def attempt(step: str, order: str, number: int = 1) -> Iterator[None]:
    """Log `{"step", "order", "attempt", "seconds", "error", "injected"}` at the end of the block.

    `error` is the exception's type. `injected` tells a fault that somebody armed from one that
    just happened, even when SQLAlchemy has wrapped the exception in one of its own.
    """
    line: dict[str, object] = {"step": step, "order": order, "attempt": number}
    begun = time.perf_counter()
    try:
        with tracer.start_as_current_span(step):
            yield
    except BaseException as error:
        line["error"] = type(error).__name__
        if injection := chaospoint.injection_of(error):
            line["injected"] = f"{injection.point} {injection.fault}"
        raise
    finally:
        line["seconds"] = round(time.perf_counter() - begun, 6)
        lines.info(json.dumps(line))
