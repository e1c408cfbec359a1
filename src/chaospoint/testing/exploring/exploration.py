"""What an exploration found: each case with what became of it, and what was left out.

Values only; they are merged, sorted and turned into plain data here, and drawn elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from chaospoint._kernel.quantity import quantity

if TYPE_CHECKING:
    from chaospoint.testing.exploring.result import Result

__all__ = ["Exploration"]


@dataclass(frozen=True, slots=True)
class Exploration:
    """All cases of one test, or of one function, and what became of them.

    ``left_out``: what was not tried, and why; `exhaustive` if there is nothing. ``beyond``: the
    calls that came only under a fault, such as retries, by point: they were not failed themselves.
    `exhaustive` is about single faults, so about the calls that come without any. ``calls_beyond``:
    how many they are.
    """

    test: str
    cases: tuple[Result, ...] = ()
    left_out: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()
    calls_beyond: int = 0

    @property
    def findings(self) -> tuple[Result, ...]:
        """The cases that failed or hung."""
        return tuple(one for one in self.cases if one.finding)

    @property
    def exhaustive(self) -> bool:
        """Whether every reach was tried with every fault that applies."""
        return not self.left_out

    @classmethod
    def of(cls, test: str, results: Iterable[Result], left_out: Iterable[str] = ()) -> Self:
        """Put the results in order; a case that said nothing is left out, and said to be."""
        cases = sorted(results, key=lambda one: one.order)
        silent = [f"{one.case}: {one.reason}" for one in cases if one.outcome == "left out"]
        kept = tuple(one for one in cases if one.outcome != "left out")
        fallbacks, retries, calls = _beyond(kept)
        unbounded = [one.case for one in kept if one.unbounded]
        if unbounded:
            fallbacks.append(
                f"hangs of {quantity(len(unbounded), 'case')}, first {unbounded[0]}: what ran "
                "took the alarm (SIGALRM) that would have ended it"
            )
        said = dict.fromkeys((*left_out, *silent, *fallbacks))
        return cls(test, kept, (*said,), (*retries,), calls)

    def reaches(self) -> Mapping[str, tuple[Result, ...]]:
        """Return the cases by their reach, ``payment.charge#2``, in the order of the points."""
        found: dict[str, list[Result]] = {}
        for one in sorted(self.cases, key=lambda one: (one.point, one.nth, one.order)):
            found.setdefault(f"{one.point}#{one.nth}", []).append(one)
        return {reach: tuple(results) for reach, results in found.items()}

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data, the same for the same behaviour."""
        return {
            "test": self.test,
            "exhaustive": self.exhaustive,
            "left_out": [*self.left_out],
            "beyond": [*self.beyond],
            "findings": len(self.findings),
            "reaches": {
                reach: [_plain(one) for one in results] for reach, results in self.reaches().items()
            },
        }

    def to_json(self) -> str:
        """Return `as_data` as JSON."""
        return json.dumps(self.as_data(), indent=2)

    def check(self) -> None:
        """Raise `AssertionError` with every finding and how to repeat it, if there is any."""
        if self.findings:
            lines = "".join(
                f"\n  {one}\n    to repeat: explore({self.test}, case={one.case!r})"
                for one in self.findings
            )
            many = f"{len(self.findings)} of {quantity(len(self.cases), 'case')}"
            raise AssertionError(f"{self.test} did not cope with {many}:{lines}")

    def __str__(self) -> str:
        """Return a table of the reaches, the findings and what was left out."""
        from chaospoint.testing.exploring.table import drawn

        return drawn(self)


def _beyond(cases: Iterable[Result]) -> tuple[list[str], list[str], int]:
    """Say which points came only under a fault, which came more often, and how many calls."""
    first: dict[str, str] = {}
    most: dict[str, tuple[int, int]] = {}
    for one in cases:
        for point, without, reached in one.beyond:
            first.setdefault(point, one.case)
            most[point] = (without, max(reached, most.get(point, (0, 0))[1]))
    fallbacks, retries = [], []
    for point, (without, reached) in sorted(most.items()):
        if without:
            span = f"#{without + 1}" + (f" to #{reached}" if reached > without + 1 else "")
            retries.append(
                f"{point}{span}: reached only under a fault, first that of {first[point]}; not "
                "failed in turn"
            )
        else:
            fallbacks.append(
                f"{point}: reached only under a fault, first that of {first[point]}; it was not "
                "failed itself"
            )
    return fallbacks, retries, sum(reached - without for without, reached in most.values())


def _plain(result: Result) -> dict[str, Any]:
    data = asdict(result)
    for name in ("point", "nth", "order", "late", "beyond", "unbounded"):
        del data[name]
    if not data["in_thread"]:
        del data["in_thread"]
    return {name: value for name, value in data.items() if value not in ("", None)}
