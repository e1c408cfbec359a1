"""What the admin endpoint answers, as models: made into JSON schema, and never used to answer.

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
    Field(description="what `after` is to be for the next page of a GET; null on the last one"),
]


class Answer(BaseModel):
    """An object with these members and no others."""

    # Built when it is asked for, for most processes never are.
    model_config = ConfigDict(extra="forbid", defer_build=True)


class RuleState(Answer):
    """A rule as it stands in the process that answers."""

    point: str
    source: Source
    by: str
    state: State
    why: str
    text: str
    seed: Whole = Field(description="the effective one")
    reaches: Whole
    ordinal: Annotated[int, Field(ge=1)] | None = Field(description="of its latest injection")
    next_ordinal: Annotated[int, Field(ge=1)] | None = Field(description="the one that fires next")
    injections: Whole
    interrupted: Whole
    shadowed: Whole
    missed: Whole = Field(description="calls that where or scope did not match")
    overflow: Whole
    paused: Whole = Field(description="calls that are held now")
    seconds_left: Number | None = Field(description="null if it does not expire")


class EnvReport(Answer):
    """How reading CHAOSPOINT_POINTS went."""

    source: Literal["env"]
    ok: bool
    reason: str | None


class FileReport(Answer):
    """How reading the plan file went."""

    source: Literal["file"]
    ok: bool
    reason: str | None
    path: str
    read_at: Instant | None


class Status(Answer):
    """Who answers, whether anything may arm and why not, and the rules."""

    version: str
    pid: int
    worker: str = Field(description="what the store knows this process by")
    enabled: bool = Field(description="the master switch")
    environment: str
    allowed: bool
    may_arm: bool
    why: str
    store: str
    generation: Whole
    refusal: str = Field(description="why this process is not as the store says, or empty")
    by: str = Field(description="who made the latest change")
    reason: str = Field(description="why it was disabled, if somebody said so, or empty")
    changed_at: Instant | None
    sources: list[EnvReport | FileReport]
    points: Whole
    counts: Counts
    rules: list[RuleState]
    next: Next


class WorkerState(Answer):
    """A process that runs what the store says, as it last told of itself."""

    id: str
    pid: int
    parent: str = Field(description="the id of the worker that it was forked from, or empty")
    generation: Whole
    enabled: bool
    refusal: str = Field(description="why it does not run all of its generation, or empty")
    admin: str = Field(description="where it serves the admin endpoint, or empty")
    version: str
    started_at: Instant
    seconds_silent: Number
    answering: bool | None = Field(
        description="whether it gave this answer; null where a store was read and nobody answered"
    )


class Workers(Answer):
    """The processes that run what the store says."""

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
    """The points of the process that answers, by name."""

    points: list[PointState]
    next: Next


class ReachedPoint(PointState):
    """A point, and the rules that reach it."""

    rules: list[RuleState]
    next: Next


class MatchedPoints(Answer):
    """A glob, the points of this process that it matches, and the rules that stand there."""

    name: str
    points: list[str]
    rules: list[RuleState]
    next: Next


class Missing(Answer):
    """A worker that does not run the generation that was written."""

    id: str
    pid: int
    generation: Whole
    why: str


class Written(Answer):
    """Which generation was written, and how many workers run it."""

    generation: Annotated[int, Field(ge=1)]
    workers: Whole
    acknowledged: Whole
    missing: list[Missing] = Field(default=[], description="left out where all run it")
    reached: str = Field(
        default="", description="that it is one process alone; left out where there is a store"
    )


class _Put(Written):
    remarks: list[str] = Field(description="what to know of them: a name without a point, say")


class WrittenPlan(_Put):
    """A plan is in force."""


class PutAtPoint(_Put, ReachedPoint):
    """Rules are in force at a point."""


class PutAtMatchedPoints(_Put, MatchedPoints):
    """Rules are in force at what a glob matches."""


class WrittenDisarm(Written):
    """Rules are disarmed."""

    disarmed: Whole = Field(description="how many rules of this process that were")


class WrittenRelease(Written):
    """Paused calls are released."""

    released: Whole = Field(description="how many calls of this process that were")


class WrittenRenewal(Written):
    """Deadlines are moved."""

    renewed: Whole = Field(description="how many rules of the store that are")
    rules: list[RuleState] = Field(
        description="how the first 100 of them stand in the process that answers"
    )


class Switched(Written, Status):
    """The master switch was turned."""


class PreviewedPoint(Answer):
    """What a rule would reach."""

    name: str
    placements: list[str]
    left_out: list[str] = Field(description="faults that nothing there can express")


class PreviewedRule(Answer):
    """What a rule would do."""

    text: str
    does: list[str]
    when: Literal["before", "after"]
    expires_after: Number | None
    points: list[PreviewedPoint]
    more_points: Whole = Field(description="how many other points its name matches")


class TakenRule(Answer):
    """A rule that a plan takes away."""

    rule: str
    by: str
    armed_at: Instant
    own: bool = Field(description="whether the same client armed it")


class DryRun(Answer):
    """What a write would do; nothing was written."""

    dry_run: Literal[True]
    generation: Whole
    rules: list[PreviewedRule]
    replaces: list[str]
    takes_away: list[TakenRule] = Field(description="what stands and a whole plan does not hold")
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
    """The latest injections in the process that answers, the newest first."""

    pid: int
    counts: Counts
    injections: list[InjectionState]


class ProblemDocument(BaseModel):
    """A refusal (RFC 9457): what happened, and beside it the value, the field and the cure."""

    model_config = ConfigDict(extra="allow", defer_build=True)

    type: Annotated[str, Field(pattern="^urn:chaospoint:problem:[a-z-]+$")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    cure: Any = Field(default=None, description="left out where there is none")


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
"""Those that stand alone, and hold the others."""
