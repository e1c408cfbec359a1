"""What the reports of one test have told so far, from one process or from several.

A share of a test, with its cases, runs in one process; with ``--dist each`` every process runs all
of them, so cases are counted for each process, and of each case the worst outcome is kept.
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
    """All that is known of the test of this name."""

    def __init__(self, test: str) -> None:
        self.test = test
        self.expected: Counter[str] = Counter()  # cases, by process
        self._done: defaultdict[str, set[str]] = defaultdict(set)
        self._results: dict[str, Result] = {}
        self._left_out: dict[str, None] = {}
        self._of = 0  # cases of all shares
        self._reaches: set[object] = set()

    def learn(self, said: Mapping[str, Any], process: str) -> None:
        """Take what was said of a share that was learnt."""
        self.expected[process] += said["cases"]
        self._left_out.update(dict.fromkeys(said["left_out"]))
        self._of = max(self._of, said.get("of", 0))
        self._reaches.add(said.get("hash"))

    def add(self, result: Result, process: str) -> None:
        """Take what became of a case."""
        self._done[process].add(result.case)
        known = self._results.get(result.case)
        if known is None or _WORSE.index(result.outcome) > _WORSE.index(known.outcome):
            self._results[result.case] = result

    @property
    def results(self) -> tuple[Result, ...]:
        """The cases that were run."""
        return tuple(self._results.values())

    @property
    def tried(self) -> bool:
        """Whether a case of it says something."""
        return any(one.outcome != "left out" for one in self.results)

    @property
    def found(self) -> bool:
        """Whether something was not handled."""
        return any(one.finding for one in self.results)

    def exploration(self) -> Exploration:
        """Return all of it, with what is missing."""
        left_out = [*self._left_out]
        if len(self._reaches) > 1:
            left_out.append(
                "the processes learnt different reaches, so some cases may have fallen to none"
            )
        begun = sum(
            max(0, many - len(self._done[process])) for process, many in self.expected.items()
        )
        missing = max(begun, self._of - len(self._results))  # also of shares that were not begun
        if missing:
            left_out.append(f"{quantity(missing, 'case')} not run, because the run ended before")
        return Exploration.of(self.test, self.results, left_out)
