"""How answers look to people: tables without frames, which `grep` and `cut` can read, too.

Nothing is cut off: in a terminal long text is folded, elsewhere lines are as long as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from chaospoint.cli.output import plain
from chaospoint.cli.target import Json

__all__ = ["acknowledged", "facts", "injections", "points", "preview", "rules", "workers"]


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Return names and values, one a line; what is None is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None:
            grid.add_row(name, _cell(value))
    return grid


def rules(states: Sequence[Json]) -> Table | Text:
    """Return rules as they stand."""
    rows = [
        (
            one.get("text"),
            one.get("state"),
            one.get("reaches"),
            one.get("injections"),
            _seconds(one.get("seconds_left")),
            one.get("by") or one.get("source"),
            one.get("why"),
        )
        for one in states
    ]
    names = ("RULE", "STATE", "REACHES", "INJECTIONS", "ENDS IN", "BY", "WHY")
    return _table(names, rows, "no rules")


def points(states: Sequence[Json]) -> Table | Text:
    """Return points and where they are placed."""
    rows = [
        (
            one.get("name"),
            "armed" if one.get("armed") else "-",
            ", ".join(map(str, one.get("placements") or ())),
            one.get("description"),
        )
        for one in states
    ]
    return _table(("POINT", "ARMED", "PLACEMENTS", "DESCRIPTION"), rows, "no points")


def workers(document: Json) -> Table | Text:
    """Return the processes; one that is behind says so."""
    latest = document.get("generation")
    rows = [
        (
            f"{one.get('pid')}{' (answering)' if one.get('answering') else ''}",
            one.get("generation") if one.get("generation") == latest else _behind(one, latest),
            "on" if one.get("enabled") else "off",
            _seconds(one.get("seconds_silent")),
            one.get("started_at"),
            one.get("version"),
            one.get("admin"),
            one.get("refusal"),
        )
        for one in document.get("workers") or ()
    ]
    names = ("PID", "GENERATION", "SWITCH", "SILENT", "STARTED", "VERSION", "ADMIN", "REFUSAL")
    return _table(names, rows, "no workers")


def injections(states: Sequence[Json]) -> Table | Text:
    """Return injections in the order in which they are given."""
    rows = [
        (
            one.get("at"),
            one.get("point"),
            one.get("fault"),
            one.get("ordinal"),
            one.get("source"),
            _seconds(one.get("latency")),
            one.get("exception"),
            one.get("rule"),
        )
        for one in states
    ]
    names = ("AT", "POINT", "FAULT", "ORDINAL", "SOURCE", "LATENCY", "EXCEPTION", "RULE")
    return _table(names, rows, "no injections")


def preview(document: Json) -> list[Table | Text]:
    """Return what a dry run says."""
    rows = [
        (
            one.get("text"),
            " + ".join(map(str, one.get("does") or ())),
            _seconds(one.get("expires_after")),
            ", ".join(_reached(point) for point in one.get("points") or ()),
        )
        for one in document.get("rules") or ()
    ]
    views = [_table(("RULE", "DOES", "ENDS IN", "POINTS"), rows, "no rules")]
    replaced = document.get("replaces") or ()
    return [*views, *(Text(f"replaces {plain(text)}") for text in replaced)]


def acknowledged(answer: Json) -> str:
    """Return how far a change has come."""
    there, done = answer.get("workers"), answer.get("acknowledged")
    where = "" if there is None else f"in force in {done} of {there} workers, "
    return f"{where}generation {answer.get('generation')}"


def _reached(point: Json) -> str:
    left_out = ", ".join(map(str, point.get("left_out") or ()))
    return f"{point.get('name')} (without {left_out})" if left_out else str(point.get("name"))


def _behind(worker: Json, latest: object) -> str:
    return f"{worker.get('generation')} of {latest}"


def _seconds(value: object) -> str | None:
    return f"{value:.3g} s" if isinstance(value, int | float) and value < 100 else _long(value)


def _long(value: object) -> str | None:
    return f"{value:.0f} s" if isinstance(value, int | float) else None


def _table(names: Sequence[str], rows: Sequence[Sequence[object]], none: str) -> Table | Text:
    if not rows:
        return Text(none)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    # A column in which nothing stands is left out.
    filled = [nth for nth in range(len(names)) if any(_said(row[nth]) for row in rows)]
    for nth in filled:
        table.add_column(names[nth], overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[nth]) if _said(row[nth]) else Text("-") for nth in filled))
    return table


def _said(value: object) -> bool:
    return value is not None and value != ""


def _cell(value: object) -> Text:
    return Text(plain(value))
