"""Metrics: base units and bounded labels, on prometheus_client's own metric classes.

Children are kept, for looking one up costs four times what counting costs; and there is no custom
collector, so that all of it works in multiprocess mode.
"""

from __future__ import annotations

import os
from collections import Counter as Counts
from functools import cache
from threading import RLock
from time import time
from typing import Any, cast

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from chaospoint._fork import guards
from chaospoint._injection import Injection
from chaospoint._notice import (
    Notice,
    Overflowed,
    Reached,
    Reloaded,
    RuleArmed,
    RuleDisarmed,
    Standing,
    Switched,
)

__all__ = ["Prometheus"]

_LATENCY_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class _Metrics:
    """The metrics in one collector registry: two of one name cannot be."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.injections = Counter(
            "chaospoint_injections",
            "Injections, by point and by what acted.",
            ["point", "fault"],
            registry=registry,
        )
        self.latency = Histogram(
            "chaospoint_injected_latency_seconds",
            "Injected latency as asked for, in seconds.",
            ["point"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.reaches = Counter(
            "chaospoint_reaches",
            "Calls that reached an armed rule and matched it; point is the rule's name or glob.",
            ["point"],
            registry=registry,
        )
        self.armed = Gauge(
            "chaospoint_armed_rules",
            "Rules that are armed now, by who armed them.",
            ["source"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.enabled = Gauge(
            "chaospoint_enabled",
            "1 while arming is allowed, 0 while the master switch is off.",
            multiprocess_mode="livemin",
            registry=registry,
        )
        self.enabled.set(1)
        self.overflow = Counter(
            "chaospoint_overflow",
            "Firings that passed because max_active injections were going on; point as above.",
            ["point"],
            registry=registry,
        )
        self.expired = Counter(
            "chaospoint_expired",
            "Rules that disarmed themselves at their deadline; point is the rule's name or glob.",
            ["point"],
            registry=registry,
        )
        self.reloads = Counter(
            "chaospoint_plan_reloads",
            "Readings of a plan, by source and result.",
            ["source", "result"],
            registry=registry,
        )
        self.reloaded = Gauge(
            "chaospoint_plan_last_reload_success_timestamp_seconds",
            "When a plan was last read with success, in seconds since the epoch.",
            multiprocess_mode="livemax",
            registry=registry,
        )


metrics_in = cache(_Metrics)


class _Counting:
    """The lock over all that counts: prometheus_client's own may be held at a fork by a thread
    that the child has not got, and ours is held over the fork instead.
    """

    def __init__(self) -> None:
        self.renew()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        self._lock = RLock()


_counting = _Counting()
guards.append(_counting)


class Prometheus:
    """Counts injections and all that happens to rules."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._metrics = metrics_in(registry)
        self._injections = cache(self._metrics.injections.labels)
        self._latency = cache(self._metrics.latency.labels)
        self._number = 0
        self._armed: Counts[str] = Counts()

    def observe(self, injection: Injection) -> None:
        """Count one injection."""
        with _counting:
            self._injections(injection.point, injection.fault).inc()
            if injection.latency is not None:
                self._latency(injection.point).observe(injection.latency)

    def notice(self, notice: Notice) -> None:
        """Count what happened to a rule or to the switch."""
        with _counting:
            self._notice(notice)

    def _notice(self, notice: Notice) -> None:
        metrics = self._metrics
        match notice:
            case Reached(pattern, reaches):
                metrics.reaches.labels(pattern).inc(reaches)
            case Overflowed(pattern, count):
                metrics.overflow.labels(pattern).inc(count)
            case Standing():
                self._stand(notice)
            case RuleDisarmed(rule, "expired"):
                metrics.expired.labels(rule.pattern).inc()
            case Reloaded(source, ok):
                metrics.reloads.labels(source, "success" if ok else "failure").inc()
                if ok:
                    metrics.reloaded.set(time())
            case RuleArmed() | RuleDisarmed() | Switched():
                pass  # what stands after it is told, too

    def _stand(self, standing: Standing) -> None:
        if standing.number <= self._number:
            return
        self._number = standing.number
        if standing.forked and "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            self._armed = Counts()  # a process of its own, whose gauges begin at zero
        # Differences, for registries share the gauge.
        for source in self._armed | Counts(standing.armed):
            change = standing.armed.get(cast(Any, source), 0) - self._armed[source]
            self._metrics.armed.labels(source).inc(change)
        self._armed = Counts(standing.armed)
        self._metrics.enabled.set(standing.enabled)
