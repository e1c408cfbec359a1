"""Show all results in one table, for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from benchmarks.budget import Kind, Spread, Verdict
from benchmarks.row import Result, Unit

__all__ = ["COLUMNS", "cells", "duration", "markdown", "table"]

_SLOW = 1.05  # a smaller slowness is noise

COLUMNS = ("", "ours", "base", "figure", "half of the rounds", "A/A noise", "budget", "verdict")

_COLOURS = {
    Verdict.MET: "green",
    Verdict.NOISE: "yellow",
    Verdict.MISSED: "bold red",
    Verdict.FAILED: "bold red",
    Verdict.REPORTED: "dim",
}


def duration(nanoseconds: float, sign: str = "") -> str:
    """Return a duration with about three digits, and its unit."""
    size, unit = abs(nanoseconds), "ns"
    for name in ("µs", "ms", "s"):
        if size < 1_000:
            break
        size, nanoseconds, unit = size / 1_000, nanoseconds / 1_000, name
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{nanoseconds:{sign}.{digits}f} {unit}"


def amount(value: float, unit: Unit, sign: str = "") -> str:
    """Return a sample in its unit."""
    return duration(value, sign) if unit is Unit.NANOSECONDS else f"{value:{sign},.0f} {unit}"


def cells(result: Result) -> tuple[str, ...]:
    """Return the cells of the row, one for each of `COLUMNS`."""
    row, figure = result.row, result.figure
    kind, unit = row.budget.kind, row.unit
    tried = f" ({result.tries} tries)" if result.tries > 1 else ""
    verdict = f"{result.verdict}{tried}"
    if figure is None or result.ours is None or result.base is None:
        return (row.name, "", "", "", "", "", _limit(result), verdict)

    def shown(value: float, sign: str = "") -> str:
        if kind in (Kind.RATIO, Kind.RATE):
            return f"{value:.{3 if value < 10 else 1 if value < 1000 else 0}f}"
        return amount(value, unit, "+" if kind is Kind.EXTRA else sign)

    def between(spread: Spread) -> str:
        return f"{shown(spread.low)} … {shown(spread.high)}"

    times = " x" if kind in (Kind.RATIO, Kind.RATE) else ""
    noise = f"{figure.noise:.3f}" if times else amount(figure.noise, unit)
    return (
        row.name,
        amount(result.ours.median, unit),
        "" if kind is Kind.VALUE else amount(result.base.median, unit),
        shown(figure.value.median) + times,
        between(figure.value),
        f"± {noise}",
        _limit(result),
        verdict,
    )


def _limit(result: Result) -> str:
    budget, unit = result.row.budget, result.row.unit
    if budget.limit is None:
        return ""
    if budget.kind in (Kind.RATIO, Kind.RATE):
        limit = f"{budget.limit:g} x"
    else:
        limit = amount(budget.limit, unit, "+" if budget.kind is Kind.EXTRA else "")
    if result.slowness >= _SLOW:
        limit += f" x {result.slowness:.1f}"
    return f"{'at least' if budget.at_least else 'at most'} {limit}"


def table(results: Sequence[Result], title: str) -> Table:
    """Return the table for a terminal."""
    grid = Table(title=title, title_justify="left", header_style="bold")
    for nth, column in enumerate(COLUMNS):
        grid.add_column(column, justify="right" if 0 < nth < 6 else "left", overflow="fold")
    for group, members in _grouped(results):
        grid.add_section()
        grid.add_row(Text(group, style="bold"))
        for result in members:
            *first, verdict = cells(result)
            grid.add_row(*first, Text(verdict, style=_COLOURS[result.verdict]))
            if result.error:
                grid.add_row(Text(f"  {result.error}", style="dim"))
    return grid


def markdown(results: Sequence[Result]) -> str:
    """Return the table for a page."""
    lines = [_line(COLUMNS), _line(["---"] + ["---:"] * 5 + ["---"] * 2)]
    for group, members in _grouped(results):
        lines.append(_line([f"**{group}**"] + [""] * (len(COLUMNS) - 1)))
        for result in members:
            name, *rest = cells(result)
            shown = f"`{name}`" if "(" in name or ":" in name else name
            lines.append(_line([shown + (f": {result.error}" if result.error else ""), *rest]))
    return "\n".join(lines) + "\n"


def _line(texts: Iterable[str]) -> str:
    escaped = (text.replace("\\", "\\\\").replace("|", "\\|") for text in texts)
    return f"| {' | '.join(escaped)} |"


def _grouped(results: Iterable[Result]) -> list[tuple[str, list[Result]]]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.row.group, []).append(result)
    return list(groups.items())
