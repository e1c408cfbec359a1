"""Plans as files: looked at without any service, compared with what is held, put in its place."""

from __future__ import annotations

import json as json_text
import sys
from difflib import unified_diff
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from chaospoint._kernel.quantity import quantity
from chaospoint.cli import tables
from chaospoint.cli.failures import ExitCode, Failure
from chaospoint.cli.output import plain
from chaospoint.cli.session import JsonOption, Session, StoreOption, UrlOption, session
from chaospoint.cli.target import Json
from chaospoint.errors import InvalidPlan
from chaospoint.plan.compiling import check_from_outside, refuse_placements, seeds
from chaospoint.plan.plan import load_plan, parse_rules
from chaospoint.plan.rule import Rule

__all__ = ["plan_app", "validate"]

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A .yaml, .toml or .json plan file.")
]

plan_app = typer.Typer(
    name="plan", no_args_is_help=True, help="The plan that a service or store holds."
)


def validate(context: typer.Context, file: FileArgument, json: JsonOption = False) -> None:
    """Check a plan file; no service is needed."""
    with session(context, json=json) as here:
        plan = load_plan(file)
        check_from_outside(plan)
        document = {"file": str(file), "valid": True, **plan.model_dump(mode="json")}
        document.setdefault("seed", None)
        lines = [
            *(f"{nth}. {rule}" for nth, rule in enumerate(plan.rules, 1)),
            *(f"{place} is {point}" for place, point in plan.placements.items()),
        ]
        counts = quantity(len(plan.rules), "rule")
        if plan.placements:
            counts += f" and {quantity(len(plan.placements), 'placement')}"
        views = [*lines, f"{file}: {counts}, valid"]
        here.output.show(document, *(Text(plain(line)) for line in views))


@plan_app.command()
def show(
    context: typer.Context,
    seeds: Annotated[
        bool, typer.Option("--seeds", help="With the seed of each rule, as --json has it.")
    ] = False,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Print it; with --json as a plan file."""
    with session(context, url, store, json) as here:
        held = here.target.plan()
        lines = _lines(held.document, seeded=seeds)
        here.output.show(held.document, *(Text(plain(one)) for one in lines))


@plan_app.command()
def apply(
    context: typer.Context,
    file: FileArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Apply even if the plan has changed since.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also what others armed, without asking.")
    ] = False,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Put a plan file in place of it.

    All rules that came over HTTP or a store are replaced; those of env and file stay. What
    others armed and the file lacks is named: it asks on a terminal, and needs --replace elsewhere.
    """
    with session(context, url, store, json) as here:
        plan = load_plan(file)
        refuse_placements(plan)
        tag = None if force else here.target.plan().tag
        taken = here.target.taken_away(plan)
        for one in taken:
            here.output.say(
                f"this takes away {one.get('rule')}, armed by {one.get('by') or 'somebody'} at "
                f"{one.get('armed_at')}"
            )
        others = [one for one in taken if not one.get("own")]
        if others and not replace:
            _ask(file, others, here)
        answer = here.target.put_plan(plan, tag=tag)
        what = f"{file}: {quantity(len(plan.rules), 'rule')}, {tables.acknowledged(answer)}"
        here.written(answer, Text(plain(what)))


@plan_app.command()
def diff(
    context: typer.Context,
    file: FileArgument,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Compare it with a plan file.

    Exits with 1 if they differ, as diff does.
    """
    with session(context, url, store, json) as here:
        plan = load_plan(file)
        held = here.target.plan()
        found = seeds(plan)
        wanted = [_seeded(*pair) for pair in zip(plan.rules, found, strict=True)]
        lines = [
            *unified_diff(
                _lines(held.document, seeded=any(seed is not None for seed in found)),
                [str(rule) for rule in wanted],
                fromfile=here.target.where,
                tofile=str(file),
                lineterm="",
            )
        ]
        document = {"different": bool(lines), "diff": lines}
        here.output.show(document, *(Text(plain(one), style=_style(one)) for one in lines))
        if lines:
            raise typer.Exit(ExitCode.REFUSED)


def _ask(file: Path, others: list[Json], here: Session) -> None:
    """Have the user of a terminal confirm; raise the `Failure` of anybody else."""
    if not here.output.as_json and on_terminal():
        if typer.confirm("take away what others armed?", err=True):
            return
        raise typer.Exit(ExitCode.REFUSED)
    document = {
        "type": "urn:chaospoint:problem:armed-by-others",
        "title": "Armed by others",
        "detail": f"{file} lacks {quantity(len(others), 'rule')} that others armed",
        "cure": "add them to the file, or apply it with --replace",
        "takes_away": others,
    }
    raise Failure(ExitCode.REFUSED, document)


def on_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _seeded(rule: Rule, seed: int | None) -> Rule:
    return rule.model_copy(update={"seed": seed})


def _lines(document: dict[str, Any], *, seeded: bool) -> list[str]:
    """Return the text of each rule; that of a kind which is not installed here as it came.

    Without their seeds if not ``seeded``: a file without any takes those that it gets.
    """
    lines = []
    for data in document.get("rules") or ():
        try:
            rules = parse_rules(data)
            lines += [str(rule if seeded else _seeded(rule, None)) for rule in rules]
        except InvalidPlan:
            lines.append(json_text.dumps(data, sort_keys=True))
    return lines


def _style(line: str) -> str:
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
