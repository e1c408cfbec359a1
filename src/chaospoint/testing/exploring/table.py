"""Format explorations for a terminal, with rich."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from chaospoint._kernel.quantity import quantity
from chaospoint.errors import ChaosError

try:
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text
except ModuleNotFoundError:
    raise ChaosError(
        "the table of an exploration needs rich, which is not installed: "
        "pip install 'chaospoint[testing]'"
    ) from None

if TYPE_CHECKING:
    from rich.console import RenderableType

    from chaospoint.testing.exploring.result import Outcome, Result

__all__ = ["full_report", "patience", "summary", "table", "waited_out"]

_WIDTH = 100


class Exploration(Protocol):
    """The attributes of an exploration that are shown."""

    @property
    def test(self) -> str:
        """The name of the test."""
        ...

    @property
    def cases(self) -> tuple[Result, ...]:
        """The cases that were run."""
        ...

    @property
    def findings(self) -> tuple[Result, ...]:
        """The cases that were not handled."""
        ...

    @property
    def left_out(self) -> tuple[str, ...]:
        """What was left out, with reasons."""
        ...

    @property
    def beyond(self) -> tuple[str, ...]:
        """The points that were reached more often under a fault, in sentences."""
        ...

    @property
    def calls_beyond(self) -> int:
        """The number of those additional calls."""
        ...

    def reaches(self) -> Mapping[str, tuple[Result, ...]]:
        """Return the cases by reach."""
        ...


def table(explorations: Iterable[Exploration]) -> Group:
    """Return a table for each test: a row for each reach, with the number of cases by outcome.

    Consecutive reaches of a point with equal numbers share a row.
    """
    rows_of = {exploration: [*_rows(exploration)] for exploration in explorations}
    width = max((len(reach) for rows in rows_of.values() for reach, _ in rows), default=0)
    parts: list[RenderableType] = []
    for exploration, rows in rows_of.items():
        grid = Table(box=None, padding=(0, 2), header_style="dim")
        grid.add_column("", min_width=width, overflow="fold")
        for heading in _STYLES:
            grid.add_column(heading, justify="right", no_wrap=True)
        for reach, counts in rows:
            grid.add_row(Text(reach), *_cells(counts))
        parts += [Text(exploration.test, style="bold", no_wrap=True, overflow="ignore"), grid]
    return Group(*parts)


_STYLES: dict[Outcome, str] = {"handled": "green", "failed": "bold red", "hung": "bold red"}


def _rows(exploration: Exploration) -> Iterator[tuple[str, list[int]]]:
    reaches = [
        (results[0].point, results[0].nth, [_count(results, outcome) for outcome in _STYLES])
        for results in exploration.reaches().values()
    ]
    for (point, _), same in groupby(reaches, key=lambda row: (row[0], row[2])):
        nths = [(nth, counts) for _, nth, counts in same]
        first, last = nths[0][0], nths[-1][0]
        reach = f"{point}#{first}" + (f" to #{last}" if last != first else "")
        yield reach, [sum(column) for column in zip(*(c for _, c in nths), strict=True)]


def _count(results: Iterable[Result], outcome: Outcome) -> int:
    return sum(result.outcome == outcome for result in results)


def _cells(counts: Iterable[int]) -> Iterator[Text]:
    for count, style in zip(counts, _STYLES.values(), strict=True):
        yield Text(str(count) if count else "-", style=style if count else "dim")


def summary(explorations: Iterable[Exploration]) -> str:
    """Return one line: the number of cases, of findings, and whether it was exhaustive."""
    every = [*explorations]
    cases = [case for exploration in every for case in exploration.cases]
    findings = sum(case.finding for case in cases)
    left_out = sum(len(exploration.left_out) for exploration in every)
    reaches = sum(len(exploration.reaches()) for exploration in every)
    extent = "exhaustive" if cases else "nothing was tried"
    if left_out:
        extent = f"not exhaustive: {left_out} left out"
    if beyond := sum(exploration.calls_beyond for exploration in every):
        calls, were = ("call", "was") if beyond == 1 else ("calls", "were")
        extent += f"; {beyond} {calls} happened only under a fault and {were} not failed in turn"
    tried = f"{quantity(len(cases), 'case')} at {quantity(reaches, 'reach', 'reaches')}"
    return f"{tried}, {findings} not handled; {extent}"


def waited_out(explorations: Iterable[Exploration]) -> list[str]:
    """Return the names of the points where the program waited for the whole late answer."""
    return sorted({case.point for case in _patient(explorations)})


def patience(explorations: Iterable[Exploration]) -> Iterator[str]:
    """Yield sentences about late answers that the program waited for to the end."""
    every = [*explorations]
    waited = "the test waited for the late answer: nothing timed out"
    if points := sorted({case.point for case in _patient(every) if not _in_thread(case)}):
        yield f"at {', '.join(points)} {waited}"
    if points := sorted({case.point for case in _patient(every) if _in_thread(case)}):
        yield (
            f"at {', '.join(points)} {waited}. In plain threads this proves nothing, because only "
            "chaospoint's waits skip time"
        )


def _patient(explorations: Iterable[Exploration]) -> Iterator[Result]:
    for exploration in explorations:
        for case in exploration.cases:
            if case.waited is not None and case.late is not None and case.waited >= case.late:
                yield case


def _in_thread(case: Result) -> bool:
    return bool(getattr(case, "in_thread", False))


def full_report(exploration: Exploration) -> str:
    """Return an exploration as text: the table, the findings, and what was left out."""
    parts: list[RenderableType] = [table([exploration]), Text(summary([exploration]))]
    parts += [Text(f"NOT HANDLED {finding}") for finding in exploration.findings]
    parts += [Text(sentence) for sentence in patience([exploration])]
    parts += [Text(f"left out: {sentence}") for sentence in exploration.left_out]
    parts += [Text(f"not failed: {sentence}") for sentence in exploration.beyond]
    out = StringIO()
    Console(file=out, width=_WIDTH, color_system=None).print(Group(*parts), crop=False)
    return out.getvalue().rstrip()
