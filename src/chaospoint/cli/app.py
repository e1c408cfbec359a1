"""The commands: each reads its options, asks the target once, and shows the answer."""

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
from chaospoint.cli.session import (
    CommonOptions,
    JsonOption,
    Session,
    StoreOption,
    UrlOption,
    in_session,
    open_session,
)
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


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"chaospoint {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Arm and disarm the chaos points of a running service.

    Commands go to http://127.0.0.1:8475 unless you give --url or --store. They read the token
    from CHAOSPOINT_ADMIN_TOKEN or CHAOSPOINT_ADMIN_READ_TOKEN. Exit codes: 0 done, 1 refused,
    2 wrong usage, 3 no service or store reached, 4 written but not in force in every worker.
    """
    context.obj = CommonOptions(url, store, json)


@app.command()
@in_session
def points(
    session: Session,
    pattern: Annotated[
        str | None,
        typer.Argument(metavar="PATTERN", help="A name shows one point; a glob lists points."),
    ] = None,
) -> None:
    """List the points, or show one point with its rules."""
    if pattern is not None and not is_glob(read_pattern(pattern)):
        point = session.target.point(pattern)
        views = tables.points([point]), Text(), tables.rules(point.get("rules") or ())
        session.output.show(point, *views)
        return
    answer = session.target.points()
    if pattern is not None:
        listed = answer.get("points") or ()
        answer = {
            **answer,
            "points": [point for point in listed if matches(pattern, point["name"])],
        }
    session.output.show(answer, tables.points(answer.get("points") or ()))


@app.command()
@in_session
def status(session: Session) -> None:
    """Show the master switch and the rules with their counts."""
    answer = session.target.status()
    rules = tables.rules(answer.get("rules") or ())
    session.output.show(answer, _status_facts(answer), Text(), rules)


@app.command()
@in_session
def workers(session: Session) -> None:
    """List the processes and what each one runs."""
    answer = session.target.workers()
    session.output.show(answer, tables.workers(answer))


@app.command()
@in_session
def injections(
    session: Session,
    point: Annotated[
        str | None, typer.Option("--point", metavar="GLOB", help="Only injections at these points.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="The most injections to list.")
    ] = None,
) -> None:
    """List the latest injections, newest first.

    Each process keeps its own injections. You see those of the process that answers.
    """
    answer = session.target.injections(None if point is None else read_pattern(point), limit)
    session.output.show(answer, tables.injections(answer.get("injections") or ()))


app.command()(arm)
app.command()(disarm)
app.command()(release)
app.command()(renew)
app.command()(disable)
app.command()(enable)


@app.command()
@in_session
def watch(
    session: Session,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="Stop after this many updates.")
    ] = None,
) -> None:
    """Show rules, workers, injections and points until Ctrl-C.

    The view updates every second. With --json, each update is one line of JSON.
    """
    try:
        watch_target(session.target, session.output, count, injections=not session.has_store)
    except KeyboardInterrupt:  # the normal way to stop
        raise typer.Exit(ExitCode.DONE) from None


@app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="The program and its arguments.")
    ],
    plan: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="A plan file to start with.")
    ] = None,
) -> None:
    """Run a program with chaospoint enabled in it.

    chaospoint run --plan plan.yaml -- python app.py
    """
    with open_session(context):
        if plan is not None:
            load_plan(plan)  # refuse a bad plan here: the program itself would run without faults
        launch(command, plan=plan)


app.command()(validate)
app.add_typer(plan_app)


def _status_facts(status: Json) -> Table:
    """Return the state of the master switch and of the process."""
    changed, pid = status.get("changed_at"), status.get("pid")
    sources = [
        f"{source.get('source')}: {'read' if source.get('ok') else source.get('reason')}"
        for source in status.get("sources") or ()
    ]
    return tables.facts(
        [
            ("switch", tables.switch(status.get("enabled"))),
            ("may arm", "yes" if status.get("may_arm") else "no"),
            ("why", status.get("why") or None),
            ("environment", status.get("environment")),
            ("store", status.get("store")),
            ("generation", status.get("generation")),
            ("refused", status.get("refusal") or None),
            (
                "changed",
                f"{changed} by {status.get('by') or 'an unknown user'}" if changed else None,
            ),
            ("reason", status.get("reason") or None),
            *(("source", source) for source in sources),
            ("points", status.get("points")),
            ("counts", f"of process {pid} only" if pid else status.get("counts")),
            ("process", pid),
            ("version", status.get("version")),
        ]
    )
