"""The responses of the admin endpoint as models, which serve only for their JSON schemas.

That the answers are like this is what `tests/openapi` holds them to.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from chaospoint._kernel.explanation import Source, State

__all__ = [
    "ANSWERS",
    "DryRun",
    "Injections",
    "MatchedPoints",
    "Points",
    "ProblemDocument",
    "PutAtMatchedPoints",
    "PutAtPoint",
    "ReachedPoint",
    "Status",
    "Switched",
    "Workers",
    "WrittenDisarm",
    "WrittenPlan",
    "WrittenRelease",
    "WrittenRenewal",
]

Instant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Whole = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(ge=0)]
Counts = Annotated[
    Literal["of this process alone"], Field(description="what the numbers are counts of")
]


Next = Annotated[
    str | None,
    Field(description="the value of `after` for the next page of a GET; null on the last page"),
]


class Answer(BaseModel):
    """An object with these members and no others."""

    # Built on first use, because most processes never need it.
    model_config = ConfigDict(extra="forbid", defer_build=True)


class RuleState(Answer):
    """A rule in the process that answers."""

    point: str
    source: Source
    by: str
    state: State
    why: str
    text: str
    seed: Whole = Field(description="the effective seed")
    reaches: Whole
    ordinal: Annotated[int, Field(ge=1)] | None = Field(description="of its latest injection")
    next_ordinal: Annotated[int, Field(ge=1)] | None = Field(description="of its next injection")
    injections: Whole
    interrupted: Whole
    shadowed: Whole
    missed: Whole = Field(description="calls that where or scope did not match")
    overflow: Whole
    paused: Whole = Field(description="calls that are held now")
    seconds_left: Number | None = Field(description="null if it does not expire")


class EnvReport(Answer):
    """The result of reading CHAOSPOINT_POINTS."""

    source: Literal["env"]
    ok: bool
    reason: str | None


class FileReport(Answer):
    """The result of reading the plan file."""

    source: Literal["file"]
    ok: bool
    reason: str | None
    path: str
    read_at: Instant | None


class Status(Answer):
    """The process that answers, whether arming is allowed and why not, and the rules."""

    version: str
    pid: int
    worker: str = Field(description="the id of this process in the store")
    enabled: bool = Field(description="the master switch")
    environment: str
    allowed: bool
    may_arm: bool
    why: str
    store: str
    generation: Whole
    refusal: str = Field(description="why this process does not follow the store, or empty")
    by: str = Field(description="the client that made the latest change")
    reason: str = Field(description="the reason for disabling, or empty")
    changed_at: Instant | None
    sources: list[EnvReport | FileReport]
    points: Whole
    counts: Counts
    rules: list[RuleState]
    next: Next


class WorkerState(Answer):
    """A process that follows the store, as it last reported itself."""

    id: str
    pid: int
    parent: str = Field(description="the id of the worker that it was forked from, or empty")
    generation: Whole
    enabled: bool
    refusal: str = Field(description="why it did not apply all of its generation, or empty")
    admin: str = Field(description="the URL of its admin endpoint, or empty")
    version: str
    started_at: Instant
    seconds_silent: Number
    answering: bool | None = Field(
        description="whether it sent this response; null if the store was read directly"
    )


class Workers(Answer):
    """The processes that follow the store."""

    generation: Whole
    store: str
    workers: list[WorkerState]


class PointState(Answer):
    """A point, and whether a rule can act there."""

    name: str
    description: str
    armed: bool
    forbidden: bool = Field(description="by CHAOSPOINT_FORBIDDEN_POINTS: only code may arm it")
    placements: list[str]


class Points(Answer):
    """The points of the process that answers, sorted by name."""

    points: list[PointState]
    next: Next


class ReachedPoint(PointState):
    """A point, and the rules that reach it."""

    rules: list[RuleState]
    next: Next


class MatchedPoints(Answer):
    """A glob, the points of this process that it matches, and their rules."""

    name: str
    points: list[str]
    rules: list[RuleState]
    next: Next


class Missing(Answer):
    """A worker that has not applied the new generation."""

    id: str
    pid: int
    generation: Whole
    why: str


class Written(Answer):
    """The new generation, and the number of workers that have applied it."""

    generation: Annotated[int, Field(ge=1)]
    workers: Whole
    acknowledged: Whole
    missing: list[Missing] = Field(default=[], description="left out if all have applied it")
    reached: str = Field(
        default="", description="a note that only one process was reached; left out with a store"
    )


class _Put(Written):
    remarks: list[str] = Field(description="warnings, for example of a name without a point")


class WrittenPlan(_Put):
    """A plan is in force."""


class PutAtPoint(_Put, ReachedPoint):
    """Rules are in force at a point."""


class PutAtMatchedPoints(_Put, MatchedPoints):
    """Rules are in force at the points of a glob."""


class WrittenDisarm(Written):
    """Rules are disarmed."""

    disarmed: Whole = Field(description="the number of rules in this process that changed")


class WrittenRelease(Written):
    """Paused calls are released."""

    released: Whole = Field(description="the number of calls in this process")


class WrittenRenewal(Written):
    """Deadlines are moved."""

    renewed: Whole = Field(description="the number of rules in the store")
    rules: list[RuleState] = Field(description="the first 100 of them in the process that answers")


class Switched(Written, Status):
    """The master switch was turned."""


class PreviewedPoint(Answer):
    """A point that a rule would reach."""

    name: str
    placements: list[str]
    left_out: list[str] = Field(description="faults that no placement there can express")


class PreviewedRule(Answer):
    """The effect that a rule would have."""

    text: str
    does: list[str]
    when: Literal["before", "after"]
    expires_after: Number | None
    points: list[PreviewedPoint]
    more_points: Whole = Field(description="the number of other points that its name matches")


class TakenRule(Answer):
    """A rule that a plan removes."""

    rule: str
    by: str
    armed_at: Instant
    own: bool = Field(description="whether the same client armed it")


class DryRun(Answer):
    """The effect that a write would have; nothing was written."""

    dry_run: Literal[True]
    generation: Whole
    rules: list[PreviewedRule]
    replaces: list[str]
    takes_away: list[TakenRule] = Field(
        description="armed rules that the new plan does not contain"
    )
    remarks: list[str]


class InjectionState(Answer):
    """One firing of one rule."""

    at: Instant
    point: str
    fault: str
    rule: str
    ordinal: Annotated[int, Field(ge=1)]
    source: str
    latency: Number | None
    exception: str | None


class Injections(Answer):
    """The latest injections in the process that answers, newest first."""

    pid: int
    counts: Counts
    injections: list[InjectionState]


class ProblemDocument(BaseModel):
    """A refusal (RFC 9457): what happened, the value, the field and the cure."""

    model_config = ConfigDict(extra="allow", defer_build=True)

    type: Annotated[str, Field(pattern="^urn:chaospoint:problem:[a-z-]+$")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    cure: Any = Field(default=None, description="left out if there is none")


ANSWERS: tuple[type[BaseModel], ...] = (
    DryRun,
    Injections,
    MatchedPoints,
    Points,
    ProblemDocument,
    PutAtMatchedPoints,
    PutAtPoint,
    ReachedPoint,
    Status,
    Switched,
    Workers,
    WrittenDisarm,
    WrittenPlan,
    WrittenRelease,
    WrittenRenewal,
)
"""The schemas of whole responses."""
