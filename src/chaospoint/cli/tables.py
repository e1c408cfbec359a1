"""Render answers as tables without frames, which `grep` and `cut` can read.

No text is truncated: a terminal gets folded cells, and a file or pipe gets lines of any length.
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

_STYLES = {
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
    """One view for files and pipes; in a terminal, the first view that fits, or else the last."""

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
    """Return names and values, one pair a line, without values that are None."""
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
    """Return rules as a table; a narrow terminal shows author and reason below each rule."""
    rows = [
        (
            state.get("text"),
            _state(state.get("state")),
            state.get("reaches"),
            state.get("injections"),
            _seconds(state.get("seconds_left")),
            state.get("by") or state.get("source"),
            state.get("why"),
        )
        for state in states
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
    """Return points with their placements."""
    rows = [
        (
            state.get("name"),
            _state(
                "armed" if state.get("armed") else "forbidden" if state.get("forbidden") else "-"
            ),
            ", ".join(map(str, state.get("placements") or ())),
            state.get("description"),
        )
        for state in states
    ]
    return _table(("POINT", "ARMED", "PLACEMENTS", "DESCRIPTION"), rows, "no points")


def workers(document: Json) -> RenderableType:
    """Return the processes; a process that lags behind shows both generations."""
    starts = [worker.get("started_at") for worker in document.get("workers") or ()]
    return _Fitted(_workers(document, starts), [_workers(document, _instants(starts))])


def _workers(document: Json, starts: Sequence[object]) -> Table | Text:
    latest = document.get("generation")
    rows = [
        (
            f"{worker.get('pid')}{' (answering)' if worker.get('answering') else ''}",
            worker.get("generation")
            if worker.get("generation") == latest
            else _behind(worker, latest),
            switch(worker.get("enabled")),
            _ago(worker.get("seconds_silent")),
            start,
            worker.get("version"),
            worker.get("admin"),
            worker.get("refusal"),
        )
        for worker, start in zip(document.get("workers") or (), starts, strict=True)
    ]
    names = ("PID", "GENERATION", "SWITCH", "LAST REPORT", "STARTED", "VERSION", "ADMIN", "REFUSAL")
    return _table(names, rows, "no workers")


def injections(states: Sequence[Json]) -> RenderableType:
    """Return injections in the given order, and below them a legend of their rules."""
    if not states:
        return Text("no injections")
    times = [state.get("at") for state in states]
    numbers: dict[tuple[object, object], int] = {}
    for state in states:
        numbers.setdefault((state.get("rule"), state.get("source")), len(numbers) + 1)
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
            state.get("point"),
            state.get("fault"),
            state.get("ordinal"),
            _seconds(state.get("latency")),
            state.get("exception"),
            f"#{numbers[state.get('rule'), state.get('source')]}",
        )
        for state, at in zip(states, times, strict=True)
    ]
    return _table(("AT", "POINT", "FAULT", "ORDINAL", "LATENCY", "EXCEPTION", "RULE"), rows, "")


def preview(document: Json) -> list[RenderableType]:
    """Return the result of a dry run."""
    rows = [
        (
            rule.get("text"),
            " + ".join(map(str, rule.get("does") or ())),
            _seconds(rule.get("expires_after")),
            ", ".join((*map(_reached, rule.get("points") or ()), *_more(rule))) or "none",
        )
        for rule in document.get("rules") or ()
    ]
    names = ("RULE", "DOES", "ENDS IN", "POINTS")
    short = [(text, ends, reached) for text, _, ends, reached in rows]  # the text says what it does
    view = _Fitted(
        _table(names, rows, "no rules"), [_table(("RULE", "ENDS IN", "POINTS"), short, "no rules")]
    )
    replaced = document.get("replaces") or ()
    return [view, *(Text(f"replaces {plain(text)}") for text in replaced)]


def acknowledged(answer: Json) -> str:
    """Return where a change is in force, and its generation."""
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
    # Empty columns are left out.
    filled = [index for index in range(len(names)) if any(_has_value(row[index]) for row in rows)]
    for index in filled:
        table.add_column(names[index], overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[index]) for index in filled))
    return table


def _instants(times: Sequence[object]) -> list[object]:
    """Return times in UTC without the zone, and without the day if it is the same in all."""
    texts = [str(time) for time in times]
    whole = [text[:19].replace("T", " ") if text[19:] else text for text in texts]
    days = {text.partition(" ")[0] for text in whole}
    return [text.partition(" ")[2] or text for text in whole] if len(days) == 1 else [*whole]


def _state(state: object) -> Text | None:
    return Text(plain(state), style=_STYLES.get(str(state), "")) if _has_value(state) else None


def _below(text: object, *notes: object) -> Text:
    """Return the text of a rule, with notes in the lines below."""
    lines = [Text(plain(f"  {note}"), style="yellow") for note in notes if _has_value(note)]
    return Text("\n").join([Text(plain(text or "-")), *lines])


def _has_value(value: object) -> bool:
    return value is not None and value != ""


def _cell(value: object) -> Text:
    if not _has_value(value):
        return Text("-")
    return value if isinstance(value, Text) else Text(plain(value))


def _lines(value: object) -> Text:
    """Return the value with its line breaks, which messages with a caret need."""
    return Text("\n".join(map(plain, str(value).split("\n"))))
