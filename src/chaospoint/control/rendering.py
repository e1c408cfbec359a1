"""How points, rules, workers and injections are shown: plain data, made anew for each look."""

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
    """Return a time, given in seconds since 1970, as text in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def state_of_point(
    point: Point, rules: Sequence[ArmedRule], *, forbidden: bool
) -> dict[str, object]:
    """Return what a point is, where it is placed, and whether a rule can still act there.

    ``forbidden``: whether only code may arm it.
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
    """Return what rules are, how far they have come, and why they do not fire."""
    told = [asdict(state) for state in states(engine, rules, point)]
    for rule in told:
        left = rule["seconds_left"]
        rule["seconds_left"] = None if left is None else round(left, 3)
    return told


def state_of_worker(worker: Worker, answering: str | None) -> dict[str, object]:
    """Return what a worker has told of itself; ``answering`` is the id of the one that answers."""
    told = asdict(worker)
    del told["points"]
    return told | {
        "started_at": instant(worker.started_at),
        "seconds_silent": round(worker.seconds_silent, 3),
        "answering": None if answering is None else worker.id == answering,
    }


def state_of_taken(entry: Entry, by: str) -> dict[str, object]:
    """Return what a plan takes away, who armed it and when, and whether that is ``by``."""
    return {
        "rule": unseeded(entry.rule),
        "by": entry.by,
        "armed_at": instant(entry.armed_at),
        "own": entry.by == by,
    }


def state_of_injection(at: float, injection: Injection) -> dict[str, object]:
    """Return what one injection was, and when."""
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
    """Say that the master switch is off, and why if a reason was given."""
    return f"the master switch is off ({reason})" if reason else "the master switch is off"
