"""How answers look to people: tables without frames, which `grep` and `cut` can read, too.

Nothing is cut off: in a terminal long text is folded, elsewhere lines are as long as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from chaospoint.cli.acknowledgement import in_force
from chaospoint.cli.output import plain
from chaospoint.cli.target import Json

__all__ = ["acknowledged", "facts", "injections", "points", "preview", "rules", "switch", "workers"]

_STATES = {
    "armed": "green",
    "waiting for an import": "yellow",
    "masked": "yellow",
    "shadowed": "yellow",
    "forbidden": "yellow",
    "failed": "bold red",
}


_WIDE = 1_000_000


@dataclass(frozen=True, slots=True)
class _Fitted:
    """One view for files and pipes; in a terminal the first of others that fits, or the last."""

    pipe: RenderableType
    terminal: Sequence[RenderableType]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not console.is_terminal:
            yield self.pipe
            return
        free = options.update(width=_WIDE)
        fitting = (
            view
            for view in self.terminal
            if Measurement.get(console, free, view).maximum <= options.max_width
        )
        yield next(fitting, self.terminal[-1])


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Return names and values, one a line; what is None is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None:
            grid.add_row(name, value if isinstance(value, Text) else _lines(value))
    return grid


def switch(enabled: object) -> Text:
    """Return the state of the master switch."""
    return Text("on", style="green") if enabled else Text("off", style="bold red")


def rules(states: Sequence[Json]) -> RenderableType:
    """Return rules as a table; in a narrow terminal with author and reason below each rule."""
    rows = [
        (
            one.get("text"),
            _state(one.get("state")),
            one.get("reaches"),
            one.get("injections"),
            _seconds(one.get("seconds_left")),
            one.get("by") or one.get("source"),
            one.get("why"),
        )
        for one in states
    ]
    names = ("RULE", "STATE", "REACHES", "INJECTIONS", "ENDS IN", "BY", "WHY")
    whole = _table(names, rows, "no rules")
    reasons = [(_below(text, why), *others) for text, *others, why in rows]
    narrow = [(_below(text, f"by {by}", why), *others) for text, *others, by, why in rows]
    return _Fitted(
        whole,
        (whole, _table(names[:-1], reasons, "no rules"), _table(names[:-2], narrow, "no rules")),
    )


def points(states: Sequence[Json]) -> Table | Text:
    """Return points and where they are placed."""
    rows = [
        (
            one.get("name"),
            _state("armed" if one.get("armed") else "forbidden" if one.get("forbidden") else "-"),
            ", ".join(map(str, one.get("placements") or ())),
            one.get("description"),
        )
        for one in states
    ]
    return _table(("POINT", "ARMED", "PLACEMENTS", "DESCRIPTION"), rows, "no points")


def workers(document: Json) -> RenderableType:
    """Return the processes; one that is behind says so."""
    found = document.get("workers") or ()
    starts = [one.get("started_at") for one in found]
    return _Fitted(_workers(document, starts), [_workers(document, _instants(starts))])


def _workers(document: Json, starts: Sequence[object]) -> Table | Text:
    latest = document.get("generation")
    rows = [
        (
            f"{one.get('pid')}{' (answering)' if one.get('answering') else ''}",
            one.get("generation") if one.get("generation") == latest else _behind(one, latest),
            switch(one.get("enabled")),
            _ago(one.get("seconds_silent")),
            start,
            one.get("version"),
            one.get("admin"),
            one.get("refusal"),
        )
        for one, start in zip(document.get("workers") or (), starts, strict=True)
    ]
    names = ("PID", "GENERATION", "SWITCH", "LAST REPORT", "STARTED", "VERSION", "ADMIN", "REFUSAL")
    return _table(names, rows, "no workers")


def injections(states: Sequence[Json]) -> RenderableType:
    """Return injections in the order in which they are given, and below them their rules."""
    if not states:
        return Text("no injections")
    times = [one.get("at") for one in states]
    numbers: dict[tuple[object, object], int] = {}
    for one in states:
        numbers.setdefault((one.get("rule"), one.get("source")), len(numbers) + 1)
    legend = [(f"#{number}", source, text) for (text, source), number in numbers.items()]
    named = _table(("#", "SOURCE", "RULE"), legend, "")
    return _Fitted(
        Group(_injections(states, times, numbers), Text(), named),
        [Group(_injections(states, _instants(times), numbers), Text(), named)],
    )


def _injections(
    states: Sequence[Json],
    times: Sequence[object],
    numbers: dict[tuple[object, object], int],
) -> Table | Text:
    rows = [
        (
            at,
            one.get("point"),
            one.get("fault"),
            one.get("ordinal"),
            _seconds(one.get("latency")),
            one.get("exception"),
            f"#{numbers[one.get('rule'), one.get('source')]}",
        )
        for one, at in zip(states, times, strict=True)
    ]
    return _table(("AT", "POINT", "FAULT", "ORDINAL", "LATENCY", "EXCEPTION", "RULE"), rows, "")


def preview(document: Json) -> list[RenderableType]:
    """Return what a dry run says."""
    rows = [
        (
            one.get("text"),
            " + ".join(map(str, one.get("does") or ())),
            _seconds(one.get("expires_after")),
            ", ".join((*map(_reached, one.get("points") or ()), *_more(one))) or "none",
        )
        for one in document.get("rules") or ()
    ]
    names = ("RULE", "DOES", "ENDS IN", "POINTS")
    short = [(text, ends, reached) for text, _, ends, reached in rows]  # the text says it, too
    view = _Fitted(
        _table(names, rows, "no rules"), [_table(("RULE", "ENDS IN", "POINTS"), short, "no rules")]
    )
    replaced = document.get("replaces") or ()
    return [view, *(Text(f"replaces {plain(text)}") for text in replaced)]


def acknowledged(answer: Json) -> str:
    """Return how far a change has come."""
    where = "" if answer.get("workers") is None else f"{in_force(answer)}, "
    return f"{where}generation {answer.get('generation')}"


def _reached(point: Json) -> str:
    left_out = ", ".join(map(str, point.get("left_out") or ()))
    return f"{point.get('name')} (without {left_out})" if left_out else str(point.get("name"))


def _more(rule: Json) -> tuple[str, ...]:
    count = rule.get("more_points")
    return (f"and {count} more",) if count else ()


def _behind(worker: Json, latest: object) -> str:
    return f"{worker.get('generation')} of {latest}"


def _seconds(value: object) -> str | None:
    return f"{value:.3g} s" if isinstance(value, int | float) and value < 100 else _long(value)


def _ago(value: object) -> str | None:
    seconds = _seconds(value)
    return None if seconds is None else f"{seconds} ago"


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


def _instants(times: Sequence[object]) -> list[object]:
    """Return times in UTC without what is the same in all of them: the day, and the zone."""
    texts = [str(time) for time in times]
    whole = [text[:19].replace("T", " ") if text[19:] else text for text in texts]
    days = {text.partition(" ")[0] for text in whole}
    return [text.partition(" ")[2] or text for text in whole] if len(days) == 1 else [*whole]


def _state(state: object) -> Text | None:
    return Text(plain(state), style=_STATES.get(str(state), "")) if _said(state) else None


def _below(text: object, *notes: object) -> Text:
    """Return the text of a rule, with notes on it in lines below."""
    lines = [Text(plain(f"  {note}"), style="yellow") for note in notes if _said(note)]
    return Text("\n").join([Text(plain(text or "-")), *lines])


def _said(value: object) -> bool:
    return value is not None and value != ""


def _cell(value: object) -> Text:
    return value if isinstance(value, Text) else Text(plain(value))


def _lines(value: object) -> Text:
    """Return the value with its lines as lines, as messages with a caret need it."""
    return Text("\n".join(map(plain, str(value).split("\n"))))
