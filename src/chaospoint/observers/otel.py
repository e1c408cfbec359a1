"""Mark the current trace span with an event for each injection and an attribute for searches.

OpenTelemetry is replacing span events by events of the log signal; only this module emits them.
"""

from __future__ import annotations

from opentelemetry.trace import INVALID_SPAN, get_current_span

from chaospoint._kernel.injection import Injection

__all__ = ["OpenTelemetry"]


class OpenTelemetry:
    """Marks the span in which an injection happens, if the span is recording."""

    def observe(self, injection: Injection) -> None:
        """Add the event ``chaospoint.injection`` and the attribute ``chaospoint.injected``."""
        span = get_current_span()
        if span is INVALID_SPAN or not span.is_recording():
            return
        attributes: dict[str, str | int | float] = {
            "chaospoint.point": injection.point,
            "chaospoint.fault": injection.fault,
            "chaospoint.rule": injection.rule,
            "chaospoint.ordinal": injection.ordinal,
            "chaospoint.source": injection.source,
        }
        if injection.latency is not None:
            attributes["chaospoint.latency"] = injection.latency
        if injection.exception is not None:
            attributes["exception.type"] = injection.exception
        span.add_event("chaospoint.injection", attributes)
        span.set_attribute("chaospoint.injected", True)
