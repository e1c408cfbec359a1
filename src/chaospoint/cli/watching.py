"""Show the state of a target every second; a failed request is shown and does not end it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from itertools import count
from time import sleep

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from chaospoint.cli import tables
from chaospoint.cli.failures import Failure, refused
from chaospoint.cli.output import Output, plain
from chaospoint.cli.target import Json, Target
from chaospoint.errors import ChaosError

__all__ = ["PERIOD_SECONDS", "watch"]

PERIOD_SECONDS = 1.0
LATEST = 10
"""The number of injections that are shown."""


def watch(target: Target, output: Output, times: int | None, *, injections: bool) -> None:
    """Show ``times`` updates, or update until interrupted; raises an error of the first request."""
    state = _read(target, injections)
    live = Live(console=output.console, auto_refresh=False, vertical_overflow="crop")
    in_place = output.console.is_terminal and not output.as_json
    around: AbstractContextManager[object] = live if in_place else nullcontext()
    with around:
        for number in count(1):
            if output.as_json:
                output.line(state)
            elif in_place:
                live.update(_view(target, state), refresh=True)
            else:
                output.console.print(_view(target, state))
            if number == times:
                return
            sleep(PERIOD_SECONDS)
            state = _read_again(target, injections)


def _read(target: Target, injections: bool) -> Json:
    state: Json = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": target.status(),
        "workers": target.workers(),
        "points": target.points(),
    }
    return state | ({"injections": target.injections(None, LATEST)} if injections else {})


def _read_again(target: Target, injections: bool) -> Json:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        return _read(target, injections)
    except Failure as failure:
        return {"at": at, "problem": failure.document}
    except ChaosError as error:
        return {"at": at, "problem": refused(error).document}


def _view(target: Target, state: Json) -> RenderableType:
    if (problem := state.get("problem")) is not None:
        return Text(plain(f"{state['at']}  {problem.get('detail')}"), style="red")
    status, injections = state["status"], state.get("injections")
    enabled = status.get("enabled")
    head = Text(plain(f"{state['at']}  {target.where}  "), style="bold")
    head.append("enabled" if enabled else "DISABLED", style="green" if enabled else "red")
    head.append(f"  generation {status.get('generation')}")
    if status.get("pid") is not None:
        head.append(f"  counts of pid {status['pid']}")
    parts: list[RenderableType] = [
        head,
        Text(),
        tables.rules(status.get("rules") or ()),
        Text(),
        tables.workers(state["workers"]),
        Text(),
    ]
    if injections is not None:
        parts += [tables.injections(injections.get("injections") or ()), Text()]
    points = state["points"].get("points") or ()
    parts.append(tables.points(sorted(points, key=_unarmed)))  # armed points first
    return Group(*parts)


def _unarmed(point: Json) -> bool:
    return not point.get("armed")
