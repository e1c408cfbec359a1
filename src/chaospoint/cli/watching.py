"""What is going on, looked at again each second; a service that is away for a moment is no end."""

from __future__ import annotations

from collections.abc import Callable
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
"""How many injections are shown."""


def watch(target: Target, output: Output, times: int | None, *, injections: bool) -> None:
    """Look ``times`` times, or for ever; raises what the first look raises."""
    told = _look(target, injections)
    live = Live(console=output.console, auto_refresh=False, vertical_overflow="crop")
    in_place = output.console.is_terminal and not output.as_json
    around: AbstractContextManager[object] = live if in_place else nullcontext()
    with around:
        for nth in count(1):
            if output.as_json:
                output.line(told)
            elif in_place:
                live.update(_view(target, told), refresh=True)
            else:
                output.console.print(_view(target, told))
            if nth == times:
                return
            sleep(PERIOD_SECONDS)
            told = _look_again(target, injections)


def _look(target: Target, injections: bool) -> Json:
    told: Json = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": target.status(),
        "workers": target.workers(),
        "points": target.points(),
    }
    return told | ({"injections": target.injections(None, LATEST)} if injections else {})


def _look_again(target: Target, injections: bool) -> Json:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        return _look(target, injections)
    except Failure as failure:
        return {"at": at, "problem": failure.document}
    except ChaosError as error:
        return {"at": at, "problem": refused(error).document}


def _view(target: Target, told: Json) -> RenderableType:
    if (problem := told.get("problem")) is not None:
        return Text(plain(f"{told['at']}  {problem.get('detail')}"), style="red")
    status, seen = told["status"], told.get("injections")
    enabled = status.get("enabled")
    head = Text(plain(f"{told['at']}  {target.where}  "), style="bold")
    head.append("enabled" if enabled else "DISABLED", style="green" if enabled else "red")
    head.append(f"  generation {status.get('generation')}")
    if status.get("pid") is not None:
        head.append(f"  counts of pid {status['pid']}")
    parts: list[RenderableType] = [
        head,
        Text(),
        tables.rules(status.get("rules") or ()),
        Text(),
        tables.workers(told["workers"]),
        Text(),
    ]
    if seen is not None:
        parts += [tables.injections(seen.get("injections") or ()), Text()]
    armed_first: Callable[[Json], bool] = lambda one: not one.get("armed")  # noqa: E731
    parts.append(tables.points(sorted(told["points"].get("points") or (), key=armed_first)))
    return Group(*parts)
