"""The observers of injections; Prometheus, OpenTelemetry and the log are on by default.

They are imported when the first rule is armed, never before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaospoint._kernel.lock import arming_lock

if TYPE_CHECKING:
    from chaospoint._registry.registry import Registry

__all__ = ["add_defaults"]


def add_defaults(registry: Registry) -> None:
    """Add the Prometheus, OpenTelemetry and log observers to ``registry``, once."""
    engine = registry.engine
    if engine.has_defaults:
        return
    from chaospoint.observers.log import Log
    from chaospoint.observers.otel import OpenTelemetry
    from chaospoint.observers.prometheus import Prometheus

    with arming_lock:
        if not engine.has_defaults:
            engine.add_observer(Prometheus(), OpenTelemetry(), Log(), defaults=True)
