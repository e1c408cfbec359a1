"""Render points, rules, workers and injections as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from chaospoint._kernel.armed_rule import ArmedRule
from chaospoint._kernel.injection import Injection
from chaospoint._kernel.point import Point
from chaospoint._registry.engine import Engine
from chaospoint._registry.explain import states
from chaospoint._registry.fits import fits
from chaospoint.plan.compiling import unseeded
from chaospoint.stores.desired import Entry
from chaospoint.stores.store import Worker

__all__ = [
    "instant",
    "state_of_injection",
    "state_of_point",
    "state_of_rules",
    "state_of_taken",
    "state_of_worker",
    "switched_off",
]


def instant(seconds: float) -> str:
    """Return a time in seconds since 1970 as ISO 8601 text in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def state_of_point(
    point: Point, rules: Sequence[ArmedRule], *, forbidden: bool
) -> dict[str, object]:
    """Return a point, its placements, and whether a rule can still act there.

    ``forbidden`` says that only code may arm it.
    """
    return {
        "name": point.name,
        "description": point.description,
        "armed": any(rule.state != "spent" and fits(rule, point) for rule in rules),
        "forbidden": forbidden,
        "placements": list(point.placements),
    }


def state_of_rules(
    engine: Engine, rules: Iterable[ArmedRule], point: Point | None = None
) -> list[dict[str, object]]:
    """Return rules with their states and counts, and why they do not fire."""
    rendered = [asdict(state) for state in states(engine, rules, point)]
    for rule in rendered:
        left = rule["seconds_left"]
        rule["seconds_left"] = None if left is None else round(left, 3)
    return rendered


def state_of_worker(worker: Worker, answering: str | None) -> dict[str, object]:
    """Return a worker as it reported itself; ``answering`` is the id of the answering one."""
    rendered = asdict(worker)
    del rendered["points"]
    return rendered | {
        "started_at": instant(worker.started_at),
        "seconds_silent": round(worker.seconds_silent, 3),
        "answering": None if answering is None else worker.id == answering,
    }


def state_of_taken(entry: Entry, by: str) -> dict[str, object]:
    """Return a rule that a plan removes, and whether ``by`` armed it."""
    return {
        "rule": unseeded(entry.rule),
        "by": entry.by,
        "armed_at": instant(entry.armed_at),
        "own": entry.by == by,
    }


def state_of_injection(at: float, injection: Injection) -> dict[str, object]:
    """Return one injection with its time."""
    return {
        "at": instant(at),
        "point": injection.point,
        "fault": injection.fault,
        "rule": injection.rule,
        "ordinal": injection.ordinal,
        "source": injection.source,
        "latency": injection.latency,
        "exception": injection.exception,
    }


def switched_off(reason: str) -> str:
    """Return the text that the master switch is off, with its reason if there is one."""
    return f"the master switch is off ({reason})" if reason else "the master switch is off"
