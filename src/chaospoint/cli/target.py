"""The target of a command: a service over HTTP, or the store that the processes share.

Both return documents of the HTTP API; a value that the target does not know is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from chaospoint.plan.plan import Plan

__all__ = ["HeldPlan", "Json", "Target"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class HeldPlan:
    """The plan of a target; ``tag`` identifies its version."""

    tag: str
    document: Json


class Target(Protocol):
    """A service or a store.  Every method raises `Failure` or `ChaosError` if it fails.

    A write returns once every worker has brought it into force, or after two seconds.
    """

    @property
    def where(self) -> str:
        """The address of the target, for messages."""
        ...

    def status(self) -> Json:
        """Return the master switch, the generation and the rules."""
        ...

    def workers(self) -> Json:
        """Return the processes that are alive."""
        ...

    def points(self) -> Json:
        """Return the points."""
        ...

    def point(self, name: str) -> Json:
        """Return one point with its rules."""
        ...

    def injections(self, point: str | None, limit: int | None) -> Json:
        """Return the latest injections, newest first."""
        ...

    def plan(self) -> HeldPlan:
        """Return the plan in force."""
        ...

    def put_plan(self, plan: Plan, *, tag: str | None) -> Json:
        """Replace the plan, if ``tag`` is None or still the tag of the plan in force."""
        ...

    def taken_away(self, plan: Plan) -> list[Json]:
        """Return the rules that the plan would remove: ``rule``, ``by``, ``armed_at``, ``own``."""
        ...

    def put(self, name: str, keys: Mapping[str, object], *, force: bool) -> Json:
        """Replace the rules of exactly ``name``; ``force`` arms even if no point has the name."""
        ...

    def dry_run(self, name: str, keys: Mapping[str, object]) -> Json:
        """Return what `put` would do."""
        ...

    def disarm(self, pattern: str) -> Json:
        """Disarm the rules of every source at the points that ``pattern`` matches."""
        ...

    def release(self, pattern: str) -> Json:
        """Release the paused calls at the points that ``pattern`` matches."""
        ...

    def renew(self, pattern: str, expires_after: str | None) -> Json:
        """Restart the lifetime of the rules whose names ``pattern`` matches."""
        ...

    def enable(self) -> Json:
        """Turn the master switch on."""
        ...

    def disable(self, reason: str) -> Json:
        """Turn the master switch off and keep the reason, if there is one."""
        ...

    def close(self) -> None:
        """Close the connection."""
