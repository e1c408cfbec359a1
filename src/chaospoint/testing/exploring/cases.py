"""Derive the cases of an exploration: one for each reach and each fault that fits it.

This is a pure computation. The same reaches give the same cases, ids and order, so that a case can
be repeated by its id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from chaospoint._kernel.names import matcher, nearest
from chaospoint.errors import ChaosError, InvalidPlan
from chaospoint.faults.base import FaultModel
from chaospoint.faults.failure import Failure
from chaospoint.faults.latency import Latency
from chaospoint.models.refusal import Refusal
from chaospoint.plan.rule import Rule

if TYPE_CHECKING:
    from chaospoint.faults.failure import ExceptionForm

__all__ = ["Case", "Cases", "Faults", "Reach", "cases_of"]


class Reach(NamedTuple):
    """One call that reached a point, or that ended successfully there."""

    point: str
    raises: tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One fault at the n-th reach of a point, or with ``when="after"`` at its n-th successful end.

    ``text``: the fault as text. ``order``: its position among the cases of the run, from 0.
    """

    id: str
    point: str
    nth: int
    when: Literal["before", "after"]
    fault: FaultModel
    text: str
    order: int

    @property
    def rule(self) -> Rule:
        """A rule that injects this fault once."""
        return Rule(
            point=self.point, faults=[self.fault], when=self.when, skip=self.nth - 1, times=1
        )


@dataclass(frozen=True, slots=True)
class Cases:
    """The cases to run, in order, and what was left out, with reasons."""

    cases: tuple[Case, ...]
    left_out: tuple[str, ...] = ()

    def only(self, case: str) -> Case:
        """Return the case with this id; `ChaosError` with the nearest ids if there is none."""
        cases = {known.id: known for known in self.cases}
        if case in cases:
            return cases[case]
        similar = nearest(case, cases) or [*cases][:3]
        hint = f"the nearest: {', '.join(map(repr, similar))}"
        if not similar:
            hint = "no point was reached"
        raise ChaosError(f"this run has no case {case!r}; {hint}")


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults to try.

    ``exceptions``: raised at placements that declare none. ``built``: the instances among them, by
    class, for placements that declare the class. ``latency``: the delay to try, or None. ``after``:
    whether to raise after successful calls too.
    """

    exceptions: tuple[Failure, ...] = (Failure(),)
    latency: Latency | None = None
    after: bool = True
    built: dict[type[BaseException], Failure] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        exceptions: Iterable[ExceptionForm] = (),
        latency: float | str | None = None,
        after: bool = True,
    ) -> Self:
        """Read the arguments of `explore`; raises `InvalidPlan` for invalid values."""
        given = tuple(exceptions)
        failures = tuple(map(_failure, given))
        built = {
            type(exception): failure
            for exception, failure in zip(given, failures, strict=True)
            if isinstance(exception, BaseException)
        }
        return cls(
            failures or (Failure(),),
            None if latency is None else Latency(seconds=latency),
            after,
            built,
        )


def _failure(exception: ExceptionForm) -> Failure:
    failure = Failure(exception=exception)
    cure = ": pass an instance, or {type: ..., args: [...]}"
    problem = _unbuildable(failure)
    if problem is None and _ends_the_program(failure):
        problem, cure = _NOT_AN_EXCEPTION, ""
    if problem is not None:
        raise InvalidPlan(
            f"exceptions: {exception!r} {problem}{cure}", field="exceptions", value=exception
        )
    return failure


def _unbuildable(failure: Failure) -> str | None:
    try:
        failure.resolve("code")
    except Refusal as refusal:
        return refusal.problem
    return None


_NOT_AN_EXCEPTION = (
    "is not an Exception: it would end the program or the task and not only fail a call"
)


def _ends_the_program(failure: Failure) -> bool:
    """Whether the raised type would end a program, and so the exploration."""
    bound = failure.resolve("code")
    raised = getattr(bound, "raised")  # noqa: B009
    return not all(isinstance(spec.build(), Exception) for _, spec in raised)


class _Possible(NamedTuple):
    """A case before its order is known; sorted by the first three fields."""

    rank: int  # of the fault, among the faults at its reach
    nth: int
    place: int  # of the point, in the order of first reaches
    point: str
    when: Literal["before", "after"]
    fault: FaultModel


def cases_of(
    reaches: Sequence[Reach],
    ends: Sequence[Reach],
    faults: Faults,
    *,
    points: str = "*",
    most: int | None = None,
) -> Cases:
    """Return the cases for a run with these ``reaches`` and successful ``ends``.

    ``points``: a name or glob. ``most``: the maximum number of cases; the first case of each reach
    comes before the second of any.
    """
    making = _Making(faults, matcher(points))
    possible = [*making.before(reaches), *(making.after(ends) if faults.after else ())]
    bound = len(possible) if most is None else most
    chosen = nsmallest(bound, possible, key=lambda case: case[:3])
    left_out = list(making.left_out)
    if len(possible) > len(chosen):
        left_out.append(
            f"{len(possible) - len(chosen)} of {len(possible)} cases, because the maximum is "
            f"{bound}"
        )
    return Cases(tuple(_numbered(chosen)), tuple(left_out))


class _Making:
    """Makes the cases of one run, and records what was left out."""

    def __init__(self, faults: Faults, match: Callable[[str], object]) -> None:
        self._faults = faults
        self._match = match
        self._failures: dict[tuple[str, tuple[type[BaseException], ...]], list[Failure]] = {}
        self._places: dict[str, int] = {}
        self.left_out: dict[str, None] = {}

    def before(self, reaches: Sequence[Reach]) -> Iterator[_Possible]:
        """Yield the cases in which a call fails, or is delayed, before it does anything."""
        for nth, place, reach in self._counted(reaches):
            for rank, failure in enumerate(self._of(reach)):
                # Ranks 1 and 2, after the first failure, are the lost answer and the late one.
                yield _Possible(rank and 2 * rank + 1, nth, place, reach.point, "before", failure)
            if self._faults.latency is not None:
                yield _Possible(2, nth, place, reach.point, "before", self._faults.latency)

    def after(self, ends: Sequence[Reach]) -> Iterator[_Possible]:
        """Yield the cases in which a call does its work and then fails, so its answer is lost."""
        for nth, place, end in self._counted(ends):
            for rank, failure in enumerate(self._of(end)):
                yield _Possible(
                    2 * rank + 2 if rank else 1, nth, place, end.point, "after", failure
                )

    def _counted(self, reaches: Sequence[Reach]) -> Iterator[tuple[int, int, Reach]]:
        counts: Counter[str] = Counter()
        for reach in reaches:
            if self._match(reach.point):
                counts[reach.point] += 1
                place = self._places.setdefault(reach.point, len(self._places))
                yield counts[reach.point], place, reach

    def _of(self, reach: Reach) -> list[Failure]:
        failures = self._failures.get(reach)
        if failures is None:
            declared = [self._built(reach, exception) for exception in reach.raises]
            failures = [failure for failure in declared if failure is not None]
            failures = self._failures[reach] = failures or [*self._faults.exceptions]
        return failures

    def _built(self, reach: Reach, declared: type[BaseException]) -> Failure | None:
        problem: str | None = _NOT_AN_EXCEPTION
        if issubclass(declared, Exception):
            if (given := self._faults.built.get(declared)) is not None:
                return given
            try:
                failure = Failure(exception=declared)
                if (problem := _unbuildable(failure)) is None:
                    return failure
            except InvalidPlan as error:
                problem = str(error)
            problem += "; pass an instance, as in explore(exceptions=[...]), to try it"
        self.left_out[
            f"{declared.__module__}.{declared.__qualname__}, which {reach.point!r} declares: "
            f"{problem}"
        ] = None
        return None


def _numbered(chosen: Iterable[_Possible]) -> Iterator[Case]:
    ids: Counter[str] = Counter()
    for order, (_, nth, _, point, when, fault) in enumerate(chosen):
        text = _written(fault)
        after = "after " if when == "after" else ""
        case = f"{point}#{nth} {after}{text}"
        ids[case] += 1
        if ids[case] > 1:  # two classes have the same text
            case = f"{case} ({ids[case]})"
        yield Case(case, point, nth, when, fault, text, order)


def _written(fault: FaultModel) -> str:
    text = fault.to_text()
    if text == "raise":
        return "raise(InjectedFault)"
    if text is not None and "<" not in text:
        return text
    if not isinstance(fault, Failure):
        return fault.kind
    raised = fault.resolve("code")
    assert raised is not None
    return f"raise({getattr(raised, 'raised')[0][1].name})"  # noqa: B009
