"""How explorations are drawn for a terminal, with rich."""

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

__all__ = ["drawn", "patience", "summary", "table", "waited_out"]

_WIDTH = 100


class Exploration(Protocol):
    """What is drawn."""

    @property
    def test(self) -> str:
        """The name of the test."""
        ...

    @property
    def cases(self) -> tuple[Result, ...]:
        """What was tried."""
        ...

    @property
    def findings(self) -> tuple[Result, ...]:
        """What was not handled."""
        ...

    @property
    def left_out(self) -> tuple[str, ...]:
        """What was left out, and why."""
        ...

    @property
    def beyond(self) -> tuple[str, ...]:
        """What was reached more often under a fault, and not failed."""
        ...

    @property
    def calls_beyond(self) -> int:
        """How many calls those are."""
        ...

    def reaches(self) -> Mapping[str, tuple[Result, ...]]:
        """Return the cases by their reach."""
        ...


def table(explorations: Iterable[Exploration]) -> Group:
    """Return, under each test, a row for each reach: how many cases came out how.

    Reaches of a point that follow each other and came out alike share a row.
    """
    rows = {one: [*_rows(one)] for one in explorations}
    width = max((len(row[0]) for found in rows.values() for row in found), default=0)
    parts: list[RenderableType] = []
    for one, found in rows.items():
        made = Table(box=None, padding=(0, 2), header_style="dim")
        made.add_column("", min_width=width, overflow="fold")
        for heading in _STYLES:
            made.add_column(heading, justify="right", no_wrap=True)
        for reach, counts in found:
            made.add_row(Text(reach), *_cells(counts))
        parts += [Text(one.test, style="bold", no_wrap=True, overflow="ignore"), made]
    return Group(*parts)


_STYLES: dict[Outcome, str] = {"handled": "green", "failed": "bold red", "hung": "bold red"}


def _rows(exploration: Exploration) -> Iterator[tuple[str, list[int]]]:
    found = [
        (results[0].point, results[0].nth, [_count(results, outcome) for outcome in _STYLES])
        for results in exploration.reaches().values()
    ]
    for (point, _), same in groupby(found, key=lambda row: (row[0], row[2])):
        nths = [(nth, counts) for _, nth, counts in same]
        first, last = nths[0][0], nths[-1][0]
        reach = f"{point}#{first}" + (f" to #{last}" if last != first else "")
        yield reach, [sum(column) for column in zip(*(c for _, c in nths), strict=True)]


def _count(results: Iterable[Result], outcome: Outcome) -> int:
    return sum(one.outcome == outcome for one in results)


def _cells(counts: Iterable[int]) -> Iterator[Text]:
    for count, style in zip(counts, _STYLES.values(), strict=True):
        yield Text(str(count) if count else "-", style=style if count else "dim")


def summary(explorations: Iterable[Exploration]) -> str:
    """Return one line: how much was tried, how much was not handled, and if it was all."""
    every = [*explorations]
    cases = [case for one in every for case in one.cases]
    findings = sum(case.finding for case in cases)
    left_out = sum(len(one.left_out) for one in every)
    reaches = sum(len(one.reaches()) for one in every)
    whole = "exhaustive" if cases else "nothing was tried"
    if left_out:
        whole = f"not exhaustive: {left_out} left out"
    if beyond := sum(one.calls_beyond for one in every):
        calls, were = ("call", "was") if beyond == 1 else ("calls", "were")
        whole += f"; {beyond} {calls} came only under a fault and {were} not failed in turn"
    tried = f"{quantity(len(cases), 'case')} at {quantity(reaches, 'reach', 'reaches')}"
    return f"{tried}, {findings} not handled; {whole}"


def waited_out(explorations: Iterable[Exploration]) -> list[str]:
    """Return the points at which a late answer was waited for to the end, by name."""
    return sorted({case.point for case in _patient(explorations)})


def patience(explorations: Iterable[Exploration]) -> Iterator[str]:
    """Yield what is to be said of late answers that were waited for to the end."""
    every = [*explorations]
    told = "the test waited for the late answer: nothing timed out"
    if waited := sorted({case.point for case in _patient(every) if not _in_thread(case)}):
        yield f"at {', '.join(waited)} {told}"
    if threads := sorted({case.point for case in _patient(every) if _in_thread(case)}):
        yield (
            f"at {', '.join(threads)} {told}. In plain threads this proves nothing, as only "
            "chaospoint's waits skip time"
        )


def _patient(explorations: Iterable[Exploration]) -> Iterator[Result]:
    for one in explorations:
        for case in one.cases:
            if case.waited is not None and case.late is not None and case.waited >= case.late:
                yield case


def _in_thread(case: Result) -> bool:
    return bool(getattr(case, "in_thread", False))


def drawn(exploration: Exploration) -> str:
    """Return one exploration as text: the table, the findings, what was left out."""
    parts: list[RenderableType] = [table([exploration]), Text(summary([exploration]))]
    parts += [Text(f"NOT HANDLED {one}") for one in exploration.findings]
    parts += [Text(said) for said in patience([exploration])]
    parts += [Text(f"left out: {one}") for one in exploration.left_out]
    parts += [Text(f"not failed: {one}") for one in exploration.beyond]
    out = StringIO()
    Console(file=out, width=_WIDTH, color_system=None).print(Group(*parts), crop=False)
    return out.getvalue().rstrip()
