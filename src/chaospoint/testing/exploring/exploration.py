"""The results of an exploration: sorted, merged, and converted to plain data."""

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
    """The results of all cases of one test or function.

    ``left_out``: what was not tried, with reasons; it is `exhaustive` if this is empty. ``beyond``:
    a sentence for each point with calls that happened only under a fault, such as retries; these
    calls were not failed themselves. `exhaustive` is about single faults, and so about the calls
    that happen without a fault. ``calls_beyond``: the number of those extra calls.
    """

    test: str
    cases: tuple[Result, ...] = ()
    left_out: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()
    calls_beyond: int = 0

    @property
    def findings(self) -> tuple[Result, ...]:
        """The cases that failed or hung."""
        return tuple(case for case in self.cases if case.finding)

    @property
    def exhaustive(self) -> bool:
        """Whether every reach was tried with every fault that fits it."""
        return not self.left_out

    @classmethod
    def of(cls, test: str, results: Iterable[Result], left_out: Iterable[str] = ()) -> Self:
        """Sort the results, and move the cases without an outcome to `left_out`."""
        ordered = sorted(results, key=lambda result: result.order)
        skipped = [result for result in ordered if result.outcome == "left out"]
        kept = tuple(result for result in ordered if result.outcome != "left out")
        fallbacks, retries, calls = _beyond(kept)
        unbounded = [result.case for result in kept if result.unbounded]
        if unbounded:
            fallbacks.append(
                f"hangs of {quantity(len(unbounded), 'case')}, first {unbounded[0]}: the program "
                "used the alarm (SIGALRM) that would have ended it"
            )
        silent = [f"{result.case}: {result.reason}" for result in skipped]
        all_left_out = dict.fromkeys((*left_out, *silent, *fallbacks))  # without duplicates
        return cls(test, kept, (*all_left_out,), (*retries,), calls)

    def reaches(self) -> Mapping[str, tuple[Result, ...]]:
        """Return the cases by reach, such as ``payment.charge#2``, sorted by point and number."""
        reaches: dict[str, list[Result]] = {}
        for case in sorted(self.cases, key=lambda case: (case.point, case.nth, case.order)):
            reaches.setdefault(f"{case.point}#{case.nth}", []).append(case)
        return {reach: tuple(results) for reach, results in reaches.items()}

    def as_data(self) -> dict[str, Any]:
        """Return plain data, for JSON; the same program behaviour gives the same data."""
        return {
            "test": self.test,
            "exhaustive": self.exhaustive,
            "left_out": [*self.left_out],
            "beyond": [*self.beyond],
            "findings": len(self.findings),
            "reaches": {
                reach: [_plain(result) for result in results]
                for reach, results in self.reaches().items()
            },
        }

    def to_json(self) -> str:
        """Return `as_data` as JSON."""
        return json.dumps(self.as_data(), indent=2)

    def check(self) -> None:
        """Raise `AssertionError` with all findings, and how to repeat them, if there are any."""
        if self.findings:
            lines = "".join(
                f"\n  {case}\n    repeat it: explore({self.test}, case={case.case!r})"
                for case in self.findings
            )
            share = f"{len(self.findings)} of {quantity(len(self.cases), 'case')}"
            raise AssertionError(f"{self.test} did not handle {share}:{lines}")

    def __str__(self) -> str:
        """Return a table of the reaches, the findings, and what was left out; needs ``rich``."""
        from chaospoint.testing.exploring.table import full_report

        return full_report(self)


def _beyond(cases: Iterable[Result]) -> tuple[list[str], list[str], int]:
    """Return sentences on points reached only, and on points reached more often, under a fault.

    The third value is the number of these additional calls.
    """
    first: dict[str, str] = {}
    most: dict[str, tuple[int, int]] = {}
    for case in cases:
        for point, without, reached in case.beyond:
            first.setdefault(point, case.case)
            most[point] = (without, max(reached, most.get(point, (0, 0))[1]))
    fallbacks, retries = [], []
    for point, (without, reached) in sorted(most.items()):
        if without:
            span = f"#{without + 1}" + (f" to #{reached}" if reached > without + 1 else "")
            retries.append(
                f"{point}{span}: reached only under a fault, first in {first[point]}, and not "
                "failed in turn"
            )
        else:
            fallbacks.append(
                f"{point}: reached only under a fault, first in {first[point]}, and not failed "
                "itself"
            )
    return fallbacks, retries, sum(reached - without for without, reached in most.values())


def _plain(result: Result) -> dict[str, Any]:
    data = asdict(result)
    for name in ("point", "nth", "order", "late", "beyond", "unbounded"):
        del data[name]
    if not data["in_thread"]:
        del data["in_thread"]
    return {name: value for name, value in data.items() if value not in ("", None)}
