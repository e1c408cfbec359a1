"""Plan files: check one, compare it with the plan of a service or store, or replace that plan."""

from __future__ import annotations

import json
import sys
from difflib import unified_diff
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from chaospoint._kernel.quantity import quantity
from chaospoint.cli import tables
from chaospoint.cli.failures import ExitCode, problem
from chaospoint.cli.output import plain
from chaospoint.cli.session import JsonOption, Session, in_session, open_session
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
    name="plan", no_args_is_help=True, help="Show, compare or replace the plan in force."
)


def validate(
    context: typer.Context,
    file: FileArgument,
    json: JsonOption = False,
) -> None:
    """Check a plan file; needs no service."""
    with open_session(context, json=json) as session:
        plan = load_plan(file)
        check_from_outside(plan)
        document = {"file": str(file), "valid": True, **plan.model_dump(mode="json")}
        document.setdefault("seed", None)
        lines = [
            *(f"{number}. {rule}" for number, rule in enumerate(plan.rules, 1)),
            *(f"{place} is {point}" for place, point in plan.placements.items()),
        ]
        counts = quantity(len(plan.rules), "rule")
        if plan.placements:
            counts += f" and {quantity(len(plan.placements), 'placement')}"
        views = [*lines, f"{file}: {counts}, valid"]
        session.output.show(document, *(Text(plain(line)) for line in views))


@plan_app.command()
@in_session
def show(
    session: Session,
    seeds: Annotated[
        bool, typer.Option("--seeds", help="Show the seed of each rule, as --json does.")
    ] = False,
) -> None:
    """Print the plan; with --json as a plan file."""
    held = session.target.plan()
    lines = _lines(held.document, seeded=seeds)
    session.output.show(held.document, *(Text(plain(line)) for line in lines))


@plan_app.command()
@in_session
def apply(
    session: Session,
    file: FileArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Apply even if the plan changes meanwhile.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove rules that other users armed; do not ask.")
    ] = False,
) -> None:
    """Replace the plan with a plan file.

    This replaces all rules that were armed over HTTP or in a store. Rules from the environment
    and the service's own plan file stay. If it removes rules that other users armed, the command
    lists them and asks; where it cannot ask, it needs --replace.
    """
    plan = load_plan(file)
    refuse_placements(plan)
    tag = None if force else session.target.plan().tag
    removed = session.target.taken_away(plan)
    for rule in removed:
        session.output.say(
            f"this removes {rule.get('rule')}, armed by {rule.get('by') or 'an unknown user'} at "
            f"{rule.get('armed_at')}"
        )
    others = [rule for rule in removed if not rule.get("own")]
    if others and not replace:
        _confirm(file, others, session)
    answer = session.target.put_plan(plan, tag=tag)
    summary = f"{file}: {quantity(len(plan.rules), 'rule')}, {tables.acknowledged(answer)}"
    session.show_write(answer, Text(plain(summary)))


@plan_app.command()
@in_session
def diff(session: Session, file: FileArgument) -> None:
    """Compare the plan with a plan file.

    Exits with 1 if they differ, as diff does.
    """
    plan = load_plan(file)
    held = session.target.plan()
    file_seeds = seeds(plan)
    rules = [_with_seed(rule, seed) for rule, seed in zip(plan.rules, file_seeds, strict=True)]
    lines = [
        *unified_diff(
            _lines(held.document, seeded=any(seed is not None for seed in file_seeds)),
            [str(rule) for rule in rules],
            fromfile=session.target.where,
            tofile=str(file),
            lineterm="",
        )
    ]
    document = {"different": bool(lines), "diff": lines}
    session.output.show(document, *(Text(plain(line), style=_style(line)) for line in lines))
    if lines:
        raise typer.Exit(ExitCode.REFUSED)


def _confirm(file: Path, others: list[Json], session: Session) -> None:
    """Ask on a terminal whether to remove the rules of others; raise `Failure` elsewhere."""
    if not session.output.as_json and on_terminal():
        if typer.confirm("remove the rules that other users armed?", err=True):
            return
        raise typer.Exit(ExitCode.REFUSED)
    raise problem(
        ExitCode.REFUSED,
        "armed-by-others",
        f"{file} lacks {quantity(len(others), 'rule')} that other users armed",
        cure="add them to the file, or apply it with --replace",
        takes_away=others,
    )


def on_terminal() -> bool:
    """Return whether a user can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _with_seed(rule: Rule, seed: int | None) -> Rule:
    return rule.model_copy(update={"seed": seed})


def _lines(document: dict[str, Any], *, seeded: bool) -> list[str]:
    """Return the text of each rule, or its JSON if its fault kind is not installed here.

    ``seeded`` keeps the seeds. A plan file without seeds is compared without them, because each
    rule then gets a seed when it is armed.
    """
    lines = []
    for data in document.get("rules") or ():
        try:
            rules = parse_rules(data)
            lines += [str(rule if seeded else _with_seed(rule, None)) for rule in rules]
        except InvalidPlan:
            lines.append(json.dumps(data, sort_keys=True))
    return lines


def _style(line: str) -> str:
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
