"""The three sinks: names, values and levels."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from helpers import Threads, python
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY, CollectorRegistry, Gauge, generate_latest

import chaospoint
from chaospoint import Registry
from chaospoint._kernel.lock import Lock
from chaospoint._kernel.logger import LOGGER
from chaospoint._kernel.tally import counted
from chaospoint._registry.notices import Overflowed, Reloaded
from chaospoint.observers import add_defaults, prometheus
from chaospoint.observers.log import Log
from chaospoint.observers.otel import OpenTelemetry
from chaospoint.observers.prometheus import Prometheus, metrics_in
from chaospoint.testing import FakeClock

from .kit import Boom, Does, hangs, raises, rule, sleeps


@pytest.fixture(autouse=True)
def point(registry: Registry) -> Any:
    registry.engine.housekeeper.stop()  # nothing is flushed but by the tests
    return registry.point("p")


def arm(registry: Registry, *terms: Any, source: Any = "test") -> Any:
    return registry.install(terms, source=source)


def hit(registry: Registry, name: str = "p") -> None:
    try:
        registry.point(name).hit()
    except Boom:
        pass


# -- the loggers ---------------------------------------------------------------------------


_CONFIGURED = {
    "dictConfig": """
        logging.config.dictConfig({"version": 1})
        """,
    "fileConfig": """
        from io import StringIO
        logging.config.fileConfig(StringIO(
            "[loggers]\\nkeys=root\\n[handlers]\\nkeys=\\n[formatters]\\nkeys=\\n"
            "[logger_root]\\nhandlers=\\n"
        ))
        """,
}


@pytest.mark.parametrize("how", _CONFIGURED)
def test_a_logging_configuration_that_does_not_name_our_loggers_leaves_them_enabled(
    how: str,
) -> None:
    done = python(
        f"""
        import logging, logging.config
        import chaospoint

        call = chaospoint.point("p")(lambda: 7)
        {_CONFIGURED[how]}
        chaospoint.arm("p", returns=8)
        assert call() == 8
        assert not logging.getLogger("chaospoint").disabled
        import chaospoint.control.audit
        assert not logging.getLogger("chaospoint.audit").disabled
        """
    )
    assert done.stderr.startswith("chaospoint: injected return at p: reach 1 of p=return(8)")


def test_a_line_names_the_logger_only_where_no_handler_formats_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    LOGGER.warning("%d%% of %s", 3, "calls")
    assert caplog.messages == ["3% of calls"]
    monkeypatch.setattr(LOGGER, "propagate", False)
    LOGGER.warning("%d%% of %s", 3, "calls")
    LOGGER.warning("chaospoint is not started")
    assert capsys.readouterr().err == "chaospoint: 3% of calls\nchaospoint is not started\n"


def test_a_logger_of_a_class_of_the_host_stays_of_that_class() -> None:
    python(
        """
        import logging

        class Theirs(logging.Logger):
            marked = True

        logging.setLoggerClass(Theirs)
        import chaospoint

        chaospoint.arm("p", returns=8, registry=chaospoint.Registry())
        found = logging.getLogger("chaospoint")
        found.disabled = True
        assert isinstance(found, Theirs) and found.marked and not found.disabled
        found.setLevel(logging.CRITICAL)
        assert not found.isEnabledFor(logging.WARNING), "a level silences it"
        """
    )


# -- Prometheus ----------------------------------------------------------------------------


@pytest.fixture
def metrics(registry: Registry) -> CollectorRegistry:
    collector = CollectorRegistry()
    registry.add_observer(Prometheus(collector))
    return collector


INJECTIONS = "chaospoint_injections_total"


def value(metrics: CollectorRegistry, name: str, **labels: str) -> float | None:
    return metrics.get_sample_value(name, labels)


def test_the_metrics_are_those_that_were_promised(metrics: CollectorRegistry) -> None:
    found = {
        family.name: (family.type, family.samples[0].labels.keys() if family.samples else None)
        for family in metrics.collect()
    }
    assert {name: kind for name, (kind, _) in found.items()} == {
        "chaospoint_injections": "counter",
        "chaospoint_reaches": "counter",
        "chaospoint_injected_latency_seconds": "histogram",
        "chaospoint_armed_rules": "gauge",
        "chaospoint_enabled": "gauge",
        "chaospoint_expired": "counter",
        "chaospoint_overflow": "counter",
        "chaospoint_plan_reloads": "counter",
        "chaospoint_plan_last_reload_success_timestamp_seconds": "gauge",
    }


def test_no_value_of_a_metric_keeps_a_lock_that_a_signal_handler_can_leave_held(
    registry: Registry, metrics: CollectorRegistry
) -> None:
    """A handler that raises may come where prometheus_client has a lock and not yet its block."""
    handle = arm(registry, rule("p", sleeps(0), raises()))
    hit(registry)
    handle.rules[0].deadline = 0.0
    registry.engine.expire()
    registry.engine.say(Reloaded("file", True), Overflowed("p", 1))
    registry.flush()
    exposed(metrics)  # the injections are handed over now
    locks: dict[str, set[type]] = {}
    for metric in set(metrics._collector_to_names):
        found = locks.setdefault(metric._name, set())
        for child in metric._metrics.values() if metric._labelnames else (metric,):
            values = [getattr(child, name, None) for name in ("_value", "_sum")]
            values += getattr(child, "_buckets", ())
            found |= {type(value._lock) for value in values if value is not None}
    assert locks == {name: {Lock} for name in locks}
    assert len(locks) == 9


def test_one_injection_is_one_count_under_what_acted(
    registry: Registry, metrics: CollectorRegistry
) -> None:
    arm(registry, rule("p", sleeps(0), raises(), times=2), rule("p", raises(), times=1))
    for _ in range(5):
        hit(registry)
    name = "chaospoint_injections_total"
    assert value(metrics, name, point="p", fault="latency+exception") == 2
    assert value(metrics, name, point="p", fault="exception") == 1
    assert value(metrics, name, point="p", fault="latency") is None


def exposed(metrics: CollectorRegistry, point: str = "p") -> float:
    """Return what a scraper reads."""
    start = f'chaospoint_injections_total{{fault="exception",point="{point}"}} '
    lines = generate_latest(metrics).decode().splitlines()
    return sum(float(line.removeprefix(start)) for line in lines if line.startswith(start))


def test_an_injection_is_visible_right_after_it(
    registry: Registry, metrics: CollectorRegistry
) -> None:
    arm(registry, rule("p", raises()))
    for times in (1, 3, 5):
        hit(registry)
        assert exposed(metrics) == times
        hit(registry)
        assert value(metrics, INJECTIONS, point="p", fault="exception") == times + 1


@pytest.mark.parametrize(
    ("name", "labels", "count"),
    [
        (INJECTIONS, {"point": "p", "fault": "exception"}, 2),
        ("chaospoint_reaches_total", {"point": "p"}, 4),
        ("chaospoint_overflow_total", {"point": "p"}, 1),
    ],
)
def test_a_metric_that_is_scraped_alone_by_its_name_has_all_counts(
    registry: Registry,
    metrics: CollectorRegistry,
    name: str,
    labels: dict[str, str],
    count: int,
) -> None:
    """As `GET /metrics?name[]=...` of prometheus_client does."""
    arm(registry, rule("p", raises(), max_active=1))
    (armed,) = registry.rules()
    slot = armed.tally.take(next(armed.tally.ordinals))
    hit(registry)  # it passes, for the one slot is taken
    assert slot is not None
    slot.release()
    hit(registry)
    hit(registry)
    (alone,) = metrics.restricted_registry([name]).collect()
    found = {
        tuple(sample.labels.items()): sample.value
        for sample in alone.samples
        if sample.name == name
    }
    assert found == {tuple(labels.items()): count}


def test_counts_are_exact_with_many_threads_while_one_looks(
    registry: Registry, metrics: CollectorRegistry, pool: Threads, restless: None
) -> None:
    arm(registry, rule("p", raises()))
    firing = [pool.submit(lambda: [hit(registry) for _ in range(1_000)]) for _ in range(8)]
    seen = [0.0]
    while not all(one.done() for one in firing):
        seen.append(value(metrics, INJECTIONS, point="p", fault="exception") or 0.0)
        seen.append(exposed(metrics))
    assert seen == sorted(seen)
    assert exposed(metrics) == 8_000


def test_looking_from_many_threads_adds_nothing_twice(
    registry: Registry,
    metrics: CollectorRegistry,
    pool: Threads,
    restless: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slowly(numbers: Any) -> int:
        found = counted(numbers)
        for _ in range(20_000):
            pass  # others come in between
        return found

    monkeypatch.setattr(prometheus, "counted", slowly)
    arm(registry, rule("p", raises()))

    def work(_: int) -> None:
        for _ in range(50):
            hit(registry)
            metrics_in(metrics).hand_over()

    pool.map(work, range(8))
    assert exposed(metrics) == 400


def test_a_forked_child_goes_on_from_what_it_inherited() -> None:
    python(
        """
        import os
        import chaospoint
        from prometheus_client import REGISTRY, generate_latest

        call = chaospoint.point("p")(lambda: 7)
        chaospoint.arm("p", returns=8)

        def count():
            labels = {"point": "p", "fault": "return"}
            return REGISTRY.get_sample_value("chaospoint_injections_total", labels)

        call(), call()
        assert count() == 2
        call()  # nobody looks at this one before the fork
        pid = os.fork()
        if pid == 0:
            good = count() == 3
            call()
            os._exit(0 if good and count() == 4 else 1)
        call(), call()
        assert os.waitpid(pid, 0)[1] == 0
        assert count() == 5
        """,
        "-W",
        "ignore::DeprecationWarning",
    )


def test_a_second_copy_of_the_package_takes_the_metrics_over_and_says_so() -> None:
    done = python(
        """
        import sys
        import chaospoint
        from prometheus_client import REGISTRY

        first = chaospoint.point("p")(lambda: 7)
        chaospoint.arm("p", returns=8)
        assert first() == 8
        for name in [name for name in sys.modules if name.partition(".")[0] == "chaospoint"]:
            del sys.modules[name]

        import chaospoint as again
        assert again is not chaospoint

        second = again.point("p")(lambda: 7)
        with again.armed("p", returns=9) as armed:
            assert [second(), second()] == [9, 9]
        labels = {"point": "p", "fault": "return"}
        assert REGISTRY.get_sample_value("chaospoint_injections_total", labels) == 2
        assert REGISTRY.get_sample_value("chaospoint_reaches_total", {"point": "p"}) == 2
        """
    )
    assert done.stderr.count("chaospoint was imported a second time in this process") == 1


def test_a_metric_of_the_host_that_has_one_of_our_names_stays_and_arming_goes_on(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    collector = CollectorRegistry()
    theirs = Gauge("chaospoint_enabled", "the host's", registry=collector)
    theirs.set(7)
    registry.add_observer(Prometheus(collector))
    arm(registry, rule("p", raises()))
    hit(registry)
    assert value(collector, INJECTIONS, point="p", fault="exception") == 1
    assert value(collector, "chaospoint_enabled") == 7
    (said,) = [one.getMessage() for one in caplog.records if "not exported" in one.getMessage()]
    assert "chaospoint_enabled" in said


def test_in_multiprocess_mode_each_injection_is_in_the_files_at_once(tmp_path: Path) -> None:
    python(
        """
        import chaospoint
        from prometheus_client import CollectorRegistry, multiprocess

        files = CollectorRegistry()
        multiprocess.MultiProcessCollector(files)
        call = chaospoint.point("p")(lambda: 7)
        chaospoint.arm("p", returns=8)
        labels = {"point": "p", "fault": "return"}
        for number in (1, 2, 3):
            call()
            assert files.get_sample_value("chaospoint_injections_total", labels) == number
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )


def test_registries_that_share_a_collector_registry_add_up(
    registry: Registry, metrics: CollectorRegistry
) -> None:
    other = Registry()
    other.add_observer(Prometheus(metrics))
    other.engine.housekeeper.stop()
    other.point("p")
    for one in (registry, other):
        arm(one, rule("p", raises()))
    for one in (registry, other, other, registry, other):
        hit(one)
        assert exposed(metrics) > 0
    other.disarm()
    assert exposed(metrics) == 5


def test_latency_is_observed_as_asked_for(registry: Registry, metrics: CollectorRegistry) -> None:
    handle = arm(registry, rule("p", sleeps(0.2), sleeps(0.1)))
    registry.add_observer(Disarms(handle))  # so that nobody sleeps
    hit(registry)
    name = "chaospoint_injected_latency_seconds"
    assert value(metrics, f"{name}_count", point="p") == 1
    assert value(metrics, f"{name}_sum", point="p") == pytest.approx(0.3)
    assert value(metrics, f"{name}_bucket", point="p", le="0.5") == 1
    assert value(metrics, f"{name}_bucket", point="p", le="0.25") == 0


class Disarms:
    def __init__(self, handle: Any) -> None:
        self.handle = handle

    def observe(self, _: object) -> None:
        self.handle.disarm()


def test_an_injection_without_latency_is_not_in_the_histogram(
    registry: Registry, metrics: CollectorRegistry
) -> None:
    handle = arm(registry, rule("p", hangs()))
    registry.add_observer(Disarms(handle))
    hit(registry)
    assert value(metrics, "chaospoint_injections_total", point="p", fault="hang") == 1
    assert value(metrics, "chaospoint_injected_latency_seconds_count", point="p") is None


def test_reaches_are_those_of_the_moment_when_they_are_read(
    registry: Registry, metrics: CollectorRegistry
) -> None:
    handle = arm(registry, rule("p", Does("off", ())), rule("*", raises(), skip=100))
    name = "chaospoint_reaches_total"
    hit(registry)
    assert value(metrics, name, point="p") == 1
    assert value(metrics, name, point="*") is None  # shadowed
    hit(registry)
    handle.disarm()
    assert value(metrics, name, point="p") == 2


def test_gauges_show_the_armed_rules(registry: Registry, metrics: CollectorRegistry) -> None:
    def armed(source: str) -> float | None:
        return value(metrics, "chaospoint_armed_rules", source=source)

    first = arm(registry, rule("p", raises(), times=1), rule("p", raises()))
    arm(registry, rule("p", raises()), source="http")
    registry.replace([rule("p", raises(), every=2), rule("p", raises(), every=3)], source="env")
    assert (armed("test"), armed("http"), armed("env")) == (2, 1, 2)
    registry.replace([rule("p", raises(), every=2)], source="env")
    first.disarm()
    first.disarm()
    assert (armed("test"), armed("http"), armed("env")) == (0, 1, 1)
    assert value(metrics, "chaospoint_enabled") == 1
    registry.disable()
    registry.disable()
    assert (armed("test"), armed("http"), armed("env")) == (0, 0, 0)
    assert value(metrics, "chaospoint_enabled") == 0
    registry.enable()
    assert (armed("http"), armed("env")) == (0, 1)
    assert value(metrics, "chaospoint_enabled") == 1


def test_expiry_is_counted(
    registry: Registry, metrics: CollectorRegistry, clock: FakeClock
) -> None:
    arm(registry, rule("p*", raises(), expires_after=5), rule("p", raises()))
    clock.advance(5)
    registry.engine.expire()
    registry.disarm()
    assert value(metrics, "chaospoint_expired_total", point="p*") == 1
    assert value(metrics, "chaospoint_expired_total", point="p") is None


def test_reloads_are_counted_and_dated(registry: Registry, metrics: CollectorRegistry) -> None:
    registry.say(Reloaded("file", False, "a typo"))
    name = "chaospoint_plan_reloads_total"
    when = "chaospoint_plan_last_reload_success_timestamp_seconds"
    assert value(metrics, name, source="file", result="failure") == 1
    assert value(metrics, when) == 0
    registry.say(Reloaded("file", True))
    assert value(metrics, name, source="file", result="success") == 1
    assert (value(metrics, when) or 0) > 1.7e9


def test_two_sinks_may_share_a_collector_registry(metrics: CollectorRegistry) -> None:
    other = Registry()
    other.add_observer(Prometheus(metrics))
    other.point("q")
    other.engine.housekeeper.stop()
    arm(other, rule("q", raises()))
    hit(other, "q")
    other.disarm()
    assert value(metrics, "chaospoint_injections_total", point="q", fault="exception") == 1
    assert b"chaospoint_injections_total" in generate_latest(metrics)


def test_arming_many_points_makes_no_children(
    registry: Registry, metrics: CollectorRegistry
) -> None:
    for n in range(50):
        registry.point(f"many.{n}")
    arm(registry, rule("many.*", raises()))
    families = {family.name: family for family in metrics.collect()}
    assert families["chaospoint_injections"].samples == []


# -- OpenTelemetry ----------------------------------------------------------------------------


@pytest.fixture
def spans(registry: Registry) -> Any:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    registry.add_observer(OpenTelemetry())
    yield provider.get_tracer("test"), exporter
    provider.shutdown()


def test_an_injection_is_an_event_and_an_attribute_of_the_current_span(
    registry: Registry, spans: Any
) -> None:
    tracer, exporter = spans
    handle = arm(registry, rule("p", sleeps(0.2), raises(), text="the rule"))
    registry.add_observer(Disarms(handle))
    with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner"):
        registry.point("p").hit(secret="a value")
    inner, outer = exporter.get_finished_spans()
    assert dict(inner.attributes) == {"chaospoint.injected": True}
    (event,) = inner.events
    assert event.name == "chaospoint.injection"
    assert dict(event.attributes) == {
        "chaospoint.point": "p",
        "chaospoint.fault": "latency+exception",
        "chaospoint.rule": "the rule",
        "chaospoint.ordinal": 1,
        "chaospoint.source": "test",
        "chaospoint.latency": 0.2,
        "exception.type": "Boom",
    }
    assert outer.events == ()


def test_what_does_not_apply_is_left_out(registry: Registry, spans: Any) -> None:
    tracer, exporter = spans
    handle = arm(registry, rule("p", hangs()))
    registry.add_observer(Disarms(handle))
    with tracer.start_as_current_span("span"):
        hit(registry)
    (event,) = exporter.get_finished_spans()[0].events
    assert not {"chaospoint.latency", "exception.type"} & set(event.attributes)


def test_the_event_is_there_before_the_exception(registry: Registry, spans: Any) -> None:
    tracer, exporter = spans
    arm(registry, rule("p", raises()))
    with pytest.raises(Boom), tracer.start_as_current_span("span"):
        registry.point("p").hit()
    names = [event.name for event in exporter.get_finished_spans()[0].events]
    assert names == ["chaospoint.injection", "exception"]


def test_a_coroutine_marks_the_span_in_which_it_is_awaited(registry: Registry, spans: Any) -> None:
    tracer, exporter = spans

    @registry.point("p")
    async def function() -> None:
        pass

    arm(registry, rule("p", raises()))

    async def main() -> None:
        with tracer.start_as_current_span("made"):
            made = function()
        with pytest.raises(Boom), tracer.start_as_current_span("awaited"):
            await made

    asyncio.run(main())
    made, awaited = exporter.get_finished_spans()
    assert made.events == ()
    assert awaited.attributes["chaospoint.injected"] is True


def test_a_span_that_is_not_recording_is_left_alone(registry: Registry, spans: Any) -> None:
    class Deaf(trace.NonRecordingSpan):
        def add_event(self, *_: object, **__: object) -> None:
            raise AssertionError("attributes were made for nobody")

    arm(registry, rule("p", raises()))
    with trace.use_span(Deaf(trace.INVALID_SPAN_CONTEXT)):
        hit(registry)


def test_without_a_recording_span_nothing_happens(registry: Registry, spans: Any) -> None:
    arm(registry, rule("p", raises()))
    hit(registry)
    with trace.use_span(trace.NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)):
        hit(registry)
    assert spans[1].get_finished_spans() == ()


# -- the log ----------------------------------------------------------------------------------


@pytest.fixture
def lines(registry: Registry, log: pytest.LogCaptureFixture) -> Any:
    registry.add_observer(Log())
    return lambda: [(one.levelname, one.getMessage()) for one in log.records]


def test_the_first_injection_is_a_warning_and_the_others_debug(
    registry: Registry, lines: Any
) -> None:
    arm(registry, rule("p", raises(), text="one", times=3), rule("p", raises(), text="two"))
    for _ in range(5):
        hit(registry)
    said = [(level, text) for level, text in lines() if text.startswith("injected")]
    assert [level for level, _ in said] == ["WARNING", "DEBUG", "DEBUG", "WARNING", "DEBUG"]
    assert said[0][1] == (
        "injected exception at p: reach 1 of one (test); "
        "further injections of this rule are logged at DEBUG"
    )
    assert said[1][1] == "injected exception at p: reach 2 of one (test)"


def test_armed_again_the_first_is_a_warning_again(registry: Registry, lines: Any) -> None:
    for _ in range(2):
        handle = arm(registry, rule("p", raises(), text="one"))
        hit(registry)
        handle.disarm()
    assert [level for level, text in lines() if text.startswith("injected")] == ["WARNING"] * 2


def test_a_hot_point_formats_nothing_that_is_not_logged(
    registry: Registry, lines: Any, log: pytest.LogCaptureFixture
) -> None:
    log.set_level(logging.INFO, logger="chaospoint")
    arm(registry, rule("p", raises(), text="one"))
    for _ in range(3):
        hit(registry)
    assert [level for level, text in lines() if text.startswith("injected")] == ["WARNING"]


def test_arming_is_logged_at_info_and_the_switch_at_warning(registry: Registry, lines: Any) -> None:
    terms = rule("p", Does("off", ()), text="one", seed=7, expires_after=90)
    registry.install([terms], source="http", by="10.0.0.1")
    hit(registry)
    registry.disarm("p", by="ann")
    registry.disable(by="bob")
    registry.enable(by="cy")
    assert lines() == [
        ("INFO", "armed one (source http, by 10.0.0.1, seed 7, for 90 s)"),
        (
            "INFO",
            "disarmed one (source http, by ann): 0 injections in 1 reach",
        ),
        ("WARNING", "chaospoint disabled by bob"),
        ("WARNING", "chaospoint enabled by cy"),
    ]


@pytest.mark.parametrize("how", ["disarmed", "expired"])
def test_a_rule_that_was_never_reached_is_a_warning(
    registry: Registry, lines: Any, clock: FakeClock, how: str
) -> None:
    arm(registry, rule("p", raises(), text="one", expires_after=5))
    if how == "expired":
        clock.advance(5)
        registry.engine.expire()
    else:
        registry.disarm("p")
    level, said = lines()[-1]
    assert level == "WARNING"
    assert said.startswith(f"{how} one (source test")
    assert "it was never reached" in said


def test_a_program_that_configured_no_logging_sees_warnings_on_stderr() -> None:
    assert not [
        one
        for one in logging.getLogger("chaospoint").handlers
        if isinstance(one, logging.NullHandler)
    ]
    assert logging.getLogger("chaospoint").propagate


# -- all three ---------------------------------------------------------------------------------


def test_the_defaults_are_added_once(registry: Registry) -> None:
    for _ in range(2):
        add_defaults(registry)
    assert [type(one) for one in registry.observers] == [Prometheus, OpenTelemetry, Log]


@pytest.mark.parametrize("sink", ["prometheus.Prometheus", "otel.OpenTelemetry", "log.Log"])
def test_the_defaults_are_added_all_or_none(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, sink: str
) -> None:
    """Ctrl-C comes while the first rule is being armed, and the program goes on."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"chaospoint.observers.{sink}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            add_defaults(registry)
    assert registry.observers == ()
    name = f"interrupted.{sink.lower()}"  # the default collector registry is that of all tests
    point = registry.point(name)
    chaospoint.arm(name, exception=Boom, registry=registry)
    with pytest.raises(Boom):
        point.hit()
    assert [type(one) for one in registry.observers] == [Prometheus, OpenTelemetry, Log]
    assert exposed(REGISTRY, name) == 1


def test_the_default_sinks_are_added_once_and_stay_away_when_removed(registry: Registry) -> None:
    add_defaults(registry)
    add_defaults(registry)
    assert [type(one) for one in registry.observers] == [Prometheus, OpenTelemetry, Log]
    for one in registry.observers:
        registry.remove_observer(one)
    add_defaults(registry)
    assert registry.observers == ()


def test_label_values_are_seen_nowhere(
    registry: Registry, metrics: CollectorRegistry, spans: Any, lines: Any
) -> None:
    tracer, exporter = spans

    @registry.point("p", labels={"tenant": "sesame"})
    def function(password: str) -> None:
        pass

    arm(registry, rule("p", raises()))
    with pytest.raises(Boom), tracer.start_as_current_span("span"):
        function("sesame")
    with pytest.raises(Boom), tracer.start_as_current_span("span"):
        registry.point("p", labels={"tenant": "sesame"}).hit(other="sesame")
    registry.flush()
    assert b"sesame" not in generate_latest(metrics)
    assert "sesame" not in str(lines())
    for span in exporter.get_finished_spans():
        assert "sesame" not in str([dict(one.attributes) for one in span.events[:1]])
