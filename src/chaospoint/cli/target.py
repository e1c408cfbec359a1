"""What a command talks to: a service over HTTP, or the store that services share.

Both answer with what the admin API answers; what one cannot know is None in it.
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
    """The plan that is held there; ``tag`` says which state of it this is."""

    tag: str
    document: Json


class Target(Protocol):
    """Everything raises `Failure` or `ChaosError` where it cannot be done.

    A write returns once every worker has brought it into force, or after two seconds.
    """

    @property
    def where(self) -> str:
        """What is talked to, for people."""
        ...

    def status(self) -> Json:
        """Return the switch, the generation and the rules."""
        ...

    def workers(self) -> Json:
        """Return the processes that are there."""
        ...

    def points(self) -> Json:
        """Return the points."""
        ...

    def point(self, name: str) -> Json:
        """Return one point with its rules."""
        ...

    def injections(self, point: str | None, limit: int | None) -> Json:
        """Return the latest injections, the newest first."""
        ...

    def plan(self) -> HeldPlan:
        """Return the plan that is held."""
        ...

    def put_plan(self, plan: Plan, *, tag: str | None) -> Json:
        """Replace the plan, if it is still that of ``tag``."""
        ...

    def taken_away(self, plan: Plan) -> list[Json]:
        """Return what the plan would take away: ``rule``, ``by``, ``armed_at`` and ``own``."""
        ...

    def put(self, name: str, keys: Mapping[str, object], *, force: bool) -> Json:
        """Put a rule in place of those on exactly ``name``; ``force``: though no point has it."""
        ...

    def dry_run(self, name: str, keys: Mapping[str, object]) -> Json:
        """Return what `put` would do."""
        ...

    def disarm(self, pattern: str) -> Json:
        """Disarm what ``pattern`` matches, of every source."""
        ...

    def release(self, pattern: str) -> Json:
        """Release the paused calls there."""
        ...

    def renew(self, pattern: str, expires_after: str | None) -> Json:
        """Move the deadlines of the rules put on what ``pattern`` matches."""
        ...

    def enable(self) -> Json:
        """Turn the switch on."""
        ...

    def disable(self, reason: str) -> Json:
        """Turn the switch off; the reason, if there is one, is kept."""
        ...

    def close(self) -> None:
        """Close what was opened."""
