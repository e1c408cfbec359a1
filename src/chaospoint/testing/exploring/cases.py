"""What there is to try in one run: a case for each reach and each fault that fits it.

Nothing here runs anything. The same reaches give the same cases with the same ids in the same
order, so that a case is found again by its id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from heapq import nsmallest
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from chaospoint._kernel.names import matcher
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
    """One call that arrived at a point, or came to its clean end there."""

    point: str
    raises: tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One fault at the n-th reach of one point, or with ``when="after"`` at its n-th clean end.

    ``text``: the fault in words. ``order``: its place among the cases of its run, from 0.
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
        """The rule that does it, once."""
        return Rule(
            point=self.point, faults=[self.fault], when=self.when, skip=self.nth - 1, times=1
        )


@dataclass(frozen=True, slots=True)
class Cases:
    """The cases to run, in order, and what was left out of them and why."""

    cases: tuple[Case, ...]
    left_out: tuple[str, ...] = ()

    def only(self, case: str) -> Case:
        """Return the case with this id; `ChaosError` with the nearest ids if there is none."""
        for one in self.cases:
            if one.id == case:
                return one
        known = [one.id for one in self.cases]
        close = get_close_matches(case, known, n=3, cutoff=0.5) or known[:3]
        hint = f"the nearest: {', '.join(map(repr, close))}" if close else "no point was reached"
        raise ChaosError(f"this run has no case {case!r}; {hint}")


@dataclass(frozen=True, slots=True)
class Faults:
    """Which faults to try.

    ``exceptions``: for placements that declare none, in any form that a rule takes; an instance
    also says how to build its class where a placement declares that. ``latency``: None for none.
    ``after``: whether to lose the answers of calls that succeeded.
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
        """Read them as a user writes them; raises `InvalidPlan` for what makes no sense."""
        given = tuple(exceptions)
        failures = tuple(_given(one) for one in given)
        built = {
            type(one): failure
            for one, failure in zip(given, failures, strict=True)
            if isinstance(one, BaseException)
        }
        return cls(
            failures or (Failure(),),
            None if latency is None else Latency(seconds=latency),
            after,
            built,
        )


def _given(exception: ExceptionForm) -> Failure:
    failure = Failure(exception=exception)
    cure = ": give an instance, or {type: ..., args: [...]}"
    why = _unbuildable(failure)
    if why is None and _ends(failure):
        why, cure = _ENDS, ""
    if why is not None:
        raise InvalidPlan(
            f"exceptions: {exception!r} {why}{cure}", field="exceptions", value=exception
        )
    return failure


def _unbuildable(failure: Failure) -> str | None:
    try:
        failure.resolve("code")
    except Refusal as refusal:
        return refusal.problem
    return None


_ENDS = "is no Exception: it ends a program or a task, and no call fails with it"


def _ends(failure: Failure) -> bool:
    """Whether it raises what ends a program, and with it the run that explores."""
    bound = failure.resolve("code")
    raised = getattr(bound, "raised")  # noqa: B009
    return not all(isinstance(one.build(), Exception) for _, one in raised)


class _Possible(NamedTuple):
    """One case before its order is known; sorted as it stands."""

    rank: int  # of the fault among those of its reach
    nth: int
    place: int  # of the point, by first appearance
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
    """Return the cases that a run with these ``reaches`` and clean ``ends`` has.

    ``points``: a name or glob. ``most``: how many at the most; those that fail each reach once
    come first.
    """
    making = _Making(faults, matcher(points))
    possible = [*making.before(reaches), *(making.after(ends) if faults.after else ())]
    bound = len(possible) if most is None else most
    chosen = nsmallest(bound, possible, key=lambda one: one[:3])
    left_out = list(making.left_out)
    if len(possible) > len(chosen):
        left_out.append(
            f"{len(possible) - len(chosen)} of {len(possible)} cases, for at most {bound} were "
            "asked for"
        )
    return Cases(tuple(_numbered(chosen)), tuple(left_out))


class _Making:
    """Makes the cases of one run, and remembers what cannot be made."""

    def __init__(self, faults: Faults, match: Callable[[str], object]) -> None:
        self._faults = faults
        self._match = match
        self._failures: dict[tuple[str, tuple[type[BaseException], ...]], list[Failure]] = {}
        self._places: dict[str, int] = {}
        self.left_out: dict[str, None] = {}

    def before(self, reaches: Sequence[Reach]) -> Iterator[_Possible]:
        """Yield the cases of calls that fail, or come late, before anything was done."""
        for nth, place, reach in self._counted(reaches):
            for rank, failure in enumerate(self._of(reach)):
                # The answer that is lost, and the one that is late, come after the first failure.
                yield _Possible(rank and 2 * rank + 1, nth, place, reach.point, "before", failure)
            if self._faults.latency is not None:
                yield _Possible(2, nth, place, reach.point, "before", self._faults.latency)

    def after(self, ends: Sequence[Reach]) -> Iterator[_Possible]:
        """Yield the cases of calls that did their work and whose answer is lost."""
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
        found = self._failures.get(reach)
        if found is None:
            found = [failure for one in reach.raises if (failure := self._built(reach, one))]
            found = self._failures[reach] = found or [*self._faults.exceptions]
        return found

    def _built(self, reach: Reach, declared: type[BaseException]) -> Failure | None:
        why: str | None = _ENDS
        if issubclass(declared, Exception):
            if (given := self._faults.built.get(declared)) is not None:
                return given
            try:
                failure = Failure(exception=declared)
                if (why := _unbuildable(failure)) is None:
                    return failure
            except InvalidPlan as error:
                why = str(error)
            why += "; explore(exceptions=[an instance of it]) says how"
        self.left_out[
            f"{declared.__module__}.{declared.__qualname__}, which {reach.point!r} declares: {why}"
        ] = None
        return None


def _numbered(chosen: Iterable[_Possible]) -> Iterator[Case]:
    ids: Counter[str] = Counter()
    for order, one in enumerate(chosen):
        text = _written(one.fault)
        after = "after " if one.when == "after" else ""
        case = f"{one.point}#{one.nth} {after}{text}"
        ids[case] += 1
        if ids[case] > 1:  # two classes that are written alike
            case = f"{case} ({ids[case]})"
        yield Case(case, one.point, one.nth, one.when, one.fault, text, order)


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
