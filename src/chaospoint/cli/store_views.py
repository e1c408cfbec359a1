"""Show a store in the shape of the HTTP API; values that only a process knows are None."""

from __future__ import annotations

from collections.abc import Iterable

from chaospoint._kernel.names import matches
from chaospoint._version import __version__
from chaospoint.cli.target import Json
from chaospoint.control.rendering import instant, switched_off
from chaospoint.plan.compiling import unseeded
from chaospoint.stores.desired import Desired, Entry

__all__ = ["live", "point_of", "points_of", "rules_of", "status_of"]

_COUNTS = (
    "reaches",
    "ordinal",
    "next_ordinal",
    "injections",
    "interrupted",
    "shadowed",
    "missed",
    "overflow",
    "paused",
)


def live(desired: Desired, now: float) -> list[Entry]:
    """Return the entries that have not expired."""
    now = desired.time(now)
    return [entry for entry in desired.entries if entry.seconds_left(now) > 0]


def status_of(desired: Desired, *, store: str, points: int, now: float) -> Json:
    """Return what ``GET /v1/status`` answers, as far as the store knows it."""
    return {
        "version": __version__,
        "pid": None,
        "worker": None,
        "enabled": desired.enabled,
        "environment": None,
        "allowed": None,
        "may_arm": desired.enabled,
        "why": "" if desired.enabled else switched_off(desired.reason),
        "generation": desired.generation,
        "refusal": None,
        "store": store,
        "by": desired.by,
        "reason": desired.reason,
        "changed_at": instant(desired.at) if desired.generation else None,
        "sources": [],
        "points": points,
        "counts": "not in the store",
        "rules": rules_of(live(desired, now), desired.time(now)),
        "next": None,
    }


def point_of(desired: Desired, name: str, now: float) -> Json:
    """Return what ``GET /v1/points/{name}`` answers, as far as the store knows it."""
    (point,) = points_of(desired, [name], now)["points"]
    acting = [entry for entry in live(desired, now) if _acts_at(entry, name)]
    return {**point, "rules": rules_of(acting, desired.time(now)), "next": None}


def points_of(desired: Desired, names: Iterable[str], now: float) -> Json:
    """Return what ``GET /v1/points`` answers, as far as the store knows it."""
    entries = live(desired, now)
    points = [
        {
            "name": name,
            "description": None,
            "armed": any(_acts_at(entry, name) for entry in entries),
            "forbidden": None,
            "placements": None,
        }
        for name in names
    ]
    return {"points": points, "next": None}


def rules_of(entries: Iterable[Entry], now: float) -> list[Json]:
    """Return the states of rules, as far as the store knows them."""
    return [
        {
            "point": entry.rule.point,
            "source": "store",
            "by": entry.by,
            "state": "armed",
            "why": f"without {', '.join(entry.excluded)}" if entry.excluded else "",
            "text": unseeded(entry.rule),
            "seed": entry.seed,
            **dict.fromkeys(_COUNTS),
            "seconds_left": round(entry.seconds_left(now), 3),
        }
        for entry in entries
    ]


def _acts_at(entry: Entry, name: str) -> bool:
    excluded = any(matches(pattern, name) for pattern in entry.excluded)
    return matches(entry.rule.point, name) and not excluded
