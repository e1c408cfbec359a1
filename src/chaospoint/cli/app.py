"""The commands: each takes its options, asks the target once, and shows the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from chaospoint._kernel.names import is_glob, matches
from chaospoint._version import __version__
from chaospoint.cli import tables
from chaospoint.cli.failures import ExitCode
from chaospoint.cli.plans import plan_app, validate
from chaospoint.cli.rule_keys import read_pattern
from chaospoint.cli.session import Common, JsonOption, StoreOption, UrlOption, session
from chaospoint.cli.target import Json
from chaospoint.cli.watching import watch as watch_target
from chaospoint.cli.writes import arm, disable, disarm, enable, release, renew
from chaospoint.plan.plan import load_plan
from chaospoint.sources.launching import launch

__all__ = ["app"]

app = typer.Typer(
    name="chaospoint",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"chaospoint {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Arm and disarm the chaos points of a running service.

    The service is at http://127.0.0.1:8475 unless --url or --store says another place. The token
    is read from CHAOSPOINT_ADMIN_TOKEN, or CHAOSPOINT_ADMIN_READ_TOKEN. Exit codes: 0 done, 1
    refused, 2 wrong usage, 3 no service answers, 4 written but not in force in every worker.
    """
    context.obj = Common(url, store, json)


@app.command()
def points(
    context: typer.Context,
    pattern: Annotated[
        str | None, typer.Argument(metavar="PATTERN", help="One point with its rules, or a glob.")
    ] = None,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the points, or show one."""
    with session(context, url, store, json) as here:
        if pattern is not None and not is_glob(read_pattern(pattern)):
            told = here.target.point(pattern)
            views = tables.points([told]), Text(), tables.rules(told.get("rules") or ())
            here.output.show(told, *views)
            return
        told = here.target.points()
        if pattern is not None:
            listed = told.get("points") or ()
            told = {**told, "points": [one for one in listed if matches(pattern, one["name"])]}
        here.output.show(told, tables.points(told.get("points") or ()))


@app.command()
def status(
    context: typer.Context,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show the switch, and the rules with counts."""
    with session(context, url, store, json) as here:
        told = here.target.status()
        here.output.show(told, _switch(told), Text(), tables.rules(told.get("rules") or ()))


@app.command()
def workers(
    context: typer.Context,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the processes, and what each runs."""
    with session(context, url, store, json) as here:
        told = here.target.workers()
        here.output.show(told, tables.workers(told))


@app.command()
def injections(
    context: typer.Context,
    point: Annotated[
        str | None, typer.Option("--point", metavar="GLOB", help="Only those of these points.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")] = None,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the latest injections.

    Those of the process that answers, the newest first.
    """
    with session(context, url, store, json) as here:
        told = here.target.injections(None if point is None else read_pattern(point), limit)
        here.output.show(told, tables.injections(told.get("injections") or ()))


app.command()(arm)
app.command()(disarm)
app.command()(release)
app.command()(renew)
app.command()(disable)
app.command()(enable)


@app.command()
def watch(
    context: typer.Context,
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many.")] = None,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show what is going on, until Ctrl-C.

    It looks each second; with --json it prints a line of JSON for each look.
    """
    with session(context, url, store, json) as here:
        try:
            watch_target(here.target, here.output, count, injections=not here.has_store)
        except KeyboardInterrupt:  # as it is meant to end
            raise typer.Exit(ExitCode.DONE) from None


@app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="What to run.")],
    plan: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="A plan file to start with.")
    ] = None,
) -> None:
    """Run a program with chaospoint in it.

    chaospoint run --plan plan.yaml -- python app.py
    """
    with session(context):
        if plan is not None:
            load_plan(plan)  # a program that runs without chaos by mistake tells nobody
        launch(command, plan=plan)


app.command()(validate)
app.add_typer(plan_app)


def _switch(told: Json) -> Table:
    """Return what the master switch says, and who turned it."""
    changed, pid = told.get("changed_at"), told.get("pid")
    by = f"{changed} by {told.get('by') or 'somebody'}" if changed else None
    sources = [
        f"{one.get('source')}: {'read' if one.get('ok') else one.get('reason')}"
        for one in told.get("sources") or ()
    ]
    return tables.facts(
        [
            ("switch", tables.switch(told.get("enabled"))),
            ("may arm", "yes" if told.get("may_arm") else "no"),
            ("why", told.get("why") or None),
            ("environment", told.get("environment")),
            ("store", told.get("store")),
            ("generation", told.get("generation")),
            ("refused", told.get("refusal") or None),
            ("changed", by),
            ("reason", told.get("reason") or None),
            *(("source", one) for one in sources),
            ("points", told.get("points")),
            (
                "counts",
                f"of process {pid} only" if pid else told.get("counts"),
            ),
            ("process", pid),
            ("version", told.get("version")),
        ]
    )
