"""Metrics in base units and with bounded labels, on the metric classes of prometheus_client.

The names of the program's points become labels unchanged. Rules can add other values: globs, names
without a point, and combinations of more than two faults. Each process uses at most `MOST_VALUES`
of these per label and counts the rest under `OTHER`, so that rules cannot flood a metrics server.

Injections and reaches are counted without a lock and passed to prometheus_client when the metrics
are collected, which makes a firing a third cheaper. In multiprocess mode other processes read the
files, so each injection is passed on at once.
"""

from __future__ import annotations

import logging
import os
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache, partial
from time import time
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from chaospoint._kernel.context import transparently
from chaospoint._kernel.fork import engines, guards
from chaospoint._kernel.injection import Injection
from chaospoint._kernel.lock import Lock, arming_lock
from chaospoint._kernel.names import is_glob
from chaospoint._kernel.reporting import log
from chaospoint._kernel.tally import counted, counter
from chaospoint._registry.notices import (
    Notice,
    Overflowed,
    Reached,
    Reloaded,
    RuleArmed,
    RuleDisarmed,
    StateChanged,
    Switched,
)

__all__ = ["MOST_VALUES", "OTHER", "Prometheus"]

_OURS = "_chaospoint_metrics"
_LATENCY_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


MOST_VALUES = 100
"""The most values from rules that a label has in one process."""

OTHER = "(other)"
"""The label value for all values beyond `MOST_VALUES`; no point can have this name."""


class _Values:
    """The values from rules of one label. Safe from any thread."""

    def __init__(self) -> None:
        self._kept: set[str] = set()

    def label(self, value: str) -> str:
        """Return the value, or `OTHER` if the label has too many values already."""
        if value in self._kept:
            return value
        if len(self._kept) >= MOST_VALUES:
            return OTHER
        with _counting.lock:
            if len(self._kept) < MOST_VALUES:
                self._kept.add(value)
        return value if value in self._kept else OTHER


class _Tallies(dict[tuple[str, str], Iterator[int]]):
    """A counter, implemented in C, for each point and fault."""

    def __init__(self) -> None:
        super().__init__()
        self._faults = _Values()

    def __missing__(self, key: tuple[str, str]) -> Iterator[int]:
        point, fault = key
        label = self.label(fault)
        if label != fault:
            return self[point, label]
        return self.setdefault(key, counter())  # if two threads get here, both use the same counter

    def label(self, fault: str) -> str:
        """Return the label of a fault; single faults and pairs are few, so they have no limit."""
        return fault if fault.count("+") < 2 else self._faults.label(fault)


class _CountedElsewhere(Counter):
    """A counter that updates itself before it is collected, even if it is collected alone."""

    update: Callable[[], None] | None = None

    def collect(self) -> Iterable[Metric]:
        if self.update is not None:
            self.update()
        return super().collect()


class _Metrics:
    """The metrics of one collector registry, which allows each name only once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.tallies = _Tallies()
        self.patterns = _Values()
        self._passed_on: Counts[tuple[str, str]] = Counts()
        self.injections = _CountedElsewhere(
            "chaospoint_injections",
            "Injections, by point and by what acted.",
            ["point", "fault"],
            registry=None,
        )
        self.latency = Histogram(
            "chaospoint_injected_latency_seconds",
            "Injected latency as asked for, in seconds.",
            ["point"],
            buckets=_LATENCY_BUCKETS,
            registry=None,
        )
        self.reaches = _CountedElsewhere(
            "chaospoint_reaches",
            "Calls that reached an armed rule and matched it; point is the rule's name or glob, or "
            f"{OTHER} beyond {MOST_VALUES} globs and names without a point.",
            ["point"],
            registry=None,
        )
        self.armed = Gauge(
            "chaospoint_armed_rules",
            "Rules that are armed now, by who armed them.",
            ["source"],
            multiprocess_mode="livesum",
            registry=None,
        )
        self.enabled = Gauge(
            "chaospoint_enabled",
            "1 while arming is allowed, 0 while the master switch is off.",
            multiprocess_mode="livemin",
            registry=None,
        )
        _take_safely(self.enabled)
        self.enabled.set(1)
        self.overflow = _CountedElsewhere(
            "chaospoint_overflow",
            "Firings that passed because max_active injections were going on; point as above.",
            ["point"],
            registry=None,
        )
        self.expired = Counter(
            "chaospoint_expired",
            "Rules that disarmed themselves at their deadline; point is the rule's name or glob.",
            ["point"],
            registry=None,
        )
        self.reloads = Counter(
            "chaospoint_plan_reloads",
            "Readings of a plan, by source and result.",
            ["source", "result"],
            registry=None,
        )
        self.reloaded = Gauge(
            "chaospoint_plan_last_reload_success_timestamp_seconds",
            "When a plan was last read with success, in seconds since the epoch.",
            multiprocess_mode="livemax",
            registry=None,
        )
        _take_safely(self.reloaded)
        for metric in (self.injections, self.reaches, self.overflow):
            metric.update = self.hand_over
        _register(
            registry,
            self.injections,
            self.latency,
            self.reaches,
            self.armed,
            self.enabled,
            self.overflow,
            self.expired,
            self.reloads,
            self.reloaded,
        )

    def point(self, pattern: str, *, known: bool) -> str:
        """Return the label of a rule's name or glob; ``known``: the program has that point."""
        return pattern if known and not is_glob(pattern) else self.patterns.label(pattern)

    def hand_over(self) -> None:
        """Pass the counts so far to prometheus_client."""
        with arming_lock:
            current = list(engines)
        for engine in current:
            engine.flush()
        with _counting.lock:
            transparently(self._hand_over)

    def _hand_over(self) -> None:
        for key, numbers in self.tallies.copy().items():
            if fresh := counted(numbers) - self._passed_on[key]:
                self._passed_on[key] += fresh
                _child(self.injections, *key).inc(fresh)


metrics_in = cache(_Metrics)


def _child(metric: Any, *labels: str) -> Any:
    """Return the child of a metric for these labels, with safe locks."""
    child = metric.labels(*labels)
    _take_safely(child)
    return child


def _take_safely(child: Any) -> None:
    """Replace the locks of a metric's values by ones that a signal handler cannot deadlock.

    In multiprocess mode prometheus_client has one lock for all values, which stays.
    """
    values = (
        getattr(child, "_value", None),
        getattr(child, "_sum", None),
        *getattr(child, "_buckets", ()),
    )
    for value in values:
        lock = getattr(value, "_lock", None)
        if (
            value is not None
            and type(value).__name__ == "MutexValue"
            and not isinstance(lock, Lock)
        ):
            value._lock = Lock()


def _register(registry: CollectorRegistry, *metrics: Collector) -> None:
    """Add the metrics to the registry; remove those of an earlier copy of this module.

    A program that clears `sys.modules` imports this module again and continues with that copy.
    """
    earlier: Iterable[Collector] = getattr(registry, _OURS, ())
    for metric in earlier:
        with suppress(KeyError):  # the program has unregistered it
            registry.unregister(metric)
    taken = []
    for metric in metrics:
        try:
            registry.register(metric)
        except ValueError as error:
            taken.append(str(error))
    setattr(registry, _OURS, metrics)
    if earlier:
        log(
            logging.WARNING,
            "chaospoint was imported a second time in this process: its metrics begin again, and "
            "count what is armed through the second copy",
        )
    for reason in taken:
        log(
            logging.WARNING,
            "a metric of chaospoint is not exported, because another one has its name (%s): "
            "rename the other one",
            reason,
        )


class _Counting:
    """Holds the lock of all counting, which the fork hooks acquire before a fork.

    Without it, a child could inherit a lock of prometheus_client that a thread of the parent held.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.lock = Lock()


_counting = _Counting()
guards.append(_counting)


class Prometheus:
    """An observer that counts injections and changes of rules."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._metrics = metrics_in(registry)
        self._tallies = self._metrics.tallies
        self._at_once = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._injections = cache(partial(_child, self._metrics.injections))
        self._latency = cache(partial(_child, self._metrics.latency))
        self._armed_by = cache(partial(_child, self._metrics.armed))
        self._reaches = cache(partial(_child, self._metrics.reaches))
        self._number = 0
        self._armed: Counts[str] = Counts()
        self._enabled: bool | None = None

    def observe(self, injection: Injection) -> None:
        """Count one injection."""
        point, fault, _, _, _, latency, _ = injection
        if self._at_once:
            with _counting.lock:
                self._injections(point, self._tallies.label(fault)).inc()
        else:
            for _ in self._tallies[point, fault]:  # adds one; cheaper than next()
                break
        if latency is not None:
            with _counting.lock:
                self._latency(point).observe(latency)

    def notice(self, notice: Notice) -> None:
        """Count a change of a rule or of the switch."""
        if isinstance(notice, RuleDisarmed):
            if notice.why != "expired":
                return  # a StateChanged follows
        elif isinstance(
            notice, (RuleArmed, Switched)
        ):  # a tuple, because X | Y would build a union each time
            return
        with _counting.lock:
            self._notice(notice)

    def _notice(self, notice: Notice) -> None:
        metrics = self._metrics
        match notice:
            case Reached(pattern, reaches):
                self._reaches(metrics.point(pattern, known=True)).inc(reaches)
            case Overflowed(pattern, count):
                _child(metrics.overflow, metrics.point(pattern, known=True)).inc(count)
            case StateChanged():
                self._stand(notice)
            case RuleDisarmed(rule, "expired"):
                known = bool(rule.runtime.names(rule.pattern))
                _child(metrics.expired, metrics.point(rule.pattern, known=known)).inc()
            case Reloaded(source, ok):
                _child(metrics.reloads, source, "success" if ok else "failure").inc()
                if ok:
                    metrics.reloaded.set(time())

    def _stand(self, standing: StateChanged) -> None:
        if standing.number <= self._number:
            return
        self._number = standing.number
        if standing.forked and "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            self._armed = Counts()  # a new process, whose gauges start at zero
            self._enabled = None
        for source, armed in standing.armed.items():
            if (
                change := armed - self._armed[source]
            ):  # a difference, because registries share the gauge
                self._armed_by(source).inc(change)
                self._armed[source] = armed
        if standing.enabled is not self._enabled:
            self._enabled = standing.enabled
            self._metrics.enabled.set(standing.enabled)
