"""The results of one test so far, from one or several processes.

Each share of a test runs in one process. With ``--dist each`` every process runs all shares, so
cases are counted for each process, and the worst outcome of each case is kept.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from chaospoint._kernel.quantity import quantity
from chaospoint.testing.exploring.exploration import Exploration
from chaospoint.testing.exploring.result import Outcome, Result

__all__ = ["Gathered"]

_WORSE: tuple[Outcome, ...] = ("left out", "handled", "failed", "hung")


class Gathered:
    """The results of the test with this name."""

    def __init__(self, test: str) -> None:
        self.test = test
        self.expected: Counter[str] = Counter()  # the number of cases, by process
        self._done: defaultdict[str, set[str]] = defaultdict(set)
        self._results: dict[str, Result] = {}
        self._left_out: dict[str, None] = {}
        self._of = 0  # the number of cases in all shares
        self._hashes: set[object] = set()

    def add_share(self, share: Mapping[str, Any], process: str) -> None:
        """Add the data of a share, as in the attribute `RECORDED` of its report."""
        self.expected[process] += share["cases"]
        self._left_out.update(dict.fromkeys(share["left_out"]))
        self._of = max(self._of, share.get("of", 0))
        self._hashes.add(share.get("hash"))

    def add(self, result: Result, process: str) -> None:
        """Add the result of a case."""
        self._done[process].add(result.case)
        known = self._results.get(result.case)
        if known is None or _WORSE.index(result.outcome) > _WORSE.index(known.outcome):
            self._results[result.case] = result

    @property
    def results(self) -> tuple[Result, ...]:
        """The results of the cases that were run."""
        return tuple(self._results.values())

    @property
    def tried(self) -> bool:
        """Whether at least one case was not left out."""
        return any(result.outcome != "left out" for result in self.results)

    @property
    def has_findings(self) -> bool:
        """Whether at least one case was not handled."""
        return any(result.finding for result in self.results)

    def exploration(self) -> Exploration:
        """Return all results, with missing cases as left out."""
        left_out = [*self._left_out]
        if len(self._hashes) > 1:
            left_out.append(
                "the processes recorded different reaches, so some cases may have been run by none"
            )
        unfinished = sum(
            max(0, expected - len(self._done[process]))
            for process, expected in self.expected.items()
        )
        missing = max(unfinished, self._of - len(self._results))  # also of shares not started
        if missing:
            left_out.append(f"{quantity(missing, 'case')} not run, because the run ended early")
        return Exploration.of(self.test, self.results, left_out)
