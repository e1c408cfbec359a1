"""The commands that change what is in force: each exits with 4 if a worker does not run it yet."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from chaospoint.cli import tables
from chaospoint.cli.output import plain
from chaospoint.cli.rule_keys import read_pattern, read_rule
from chaospoint.cli.session import Session, in_session

__all__ = ["arm", "disable", "disarm", "enable", "release", "renew"]

PatternArgument = Annotated[
    str, typer.Argument(metavar="PATTERN", help="The name of a point, or a glob: db.*")
]


@in_session
def arm(
    session: Session,
    point: Annotated[
        str,
        typer.Argument(metavar="POINT", help="A point name or glob, or a complete rule as text."),
    ],
    keys: Annotated[
        str | None,
        typer.Argument(metavar="KEYS", help="The rule: 'latency(200ms)', or its keys as JSON."),
    ] = None,
    latency: Annotated[str | None, typer.Option(help="Delay the call: 200ms, 1.5s.")] = None,
    exception: Annotated[
        str | None, typer.Option(help="Raise this: TimeoutError, httpx.ReadTimeout.")
    ] = None,
    failure_rate: Annotated[
        str | None, typer.Option(help="Fail this share of calls: 0.3 or 30%.")
    ] = None,
    returns: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Return this value instead of making the call."),
    ] = None,
    hang: Annotated[
        str | None, typer.Option(help="Block the call: true, or a time such as 30s.")
    ] = None,
    probability: Annotated[
        str | None, typer.Option(help="Fire at this share of calls: 0.3 or 30%.")
    ] = None,
    skip: Annotated[int | None, typer.Option(help="Let the first n calls pass.")] = None,
    every: Annotated[int | None, typer.Option(help="After that, fire at each n-th call.")] = None,
    times: Annotated[int | None, typer.Option(help="Fire at most n times.")] = None,
    max_active: Annotated[
        int | None, typer.Option(help="Affect at most n calls at the same time.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Match only these calls; can be repeated."),
    ] = None,
    when: Annotated[
        str | None, typer.Option(help="Fire before or after the call: 'before', 'after'.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Make the firings reproducible.")] = None,
    expires_after: Annotated[
        str | None, typer.Option(help="The lifetime of the rule; 10m if not given.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what the rule would do; needs a service."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write to the store even if no worker has the point.")
    ] = False,
) -> None:
    """Arm a rule at a point.

    The rule replaces rules of the same name that were armed over HTTP or in the store.

    chaospoint arm payment.charge 'latency(200ms)'

    chaospoint arm 'payment.charge=30%raise(TimeoutError) [tenant=acme]'

    chaospoint arm payment.charge --latency 200ms --times 3 --expires-after 5m
    """
    options = {
        "latency": latency,
        "exception": exception,
        "failure_rate": failure_rate,
        "returns": returns,
        "hang": hang,
        "probability": probability,
        "skip": skip,
        "every": every,
        "times": times,
        "max_active": max_active,
        "where": where,
        "when": when,
        "seed": seed,
        "expires_after": expires_after,
    }
    name, rule = read_rule(point, keys, options)
    if force and not session.has_store:
        raise typer.BadParameter("--force needs --store: a service arms only points that it has")
    if dry_run:
        preview = session.target.dry_run(name, rule)
        session.output.show(preview, *tables.preview(preview))
        for remark in preview.get("remarks") or ():
            session.output.say(str(remark))
        return
    answer = session.target.put(name, rule, force=force)
    summary = Text(f"{name}: armed, {tables.acknowledged(answer)}")
    session.show_write(answer, summary, tables.rules(answer.get("rules") or ()))


@in_session
def disarm(session: Session, pattern: PatternArgument = "*") -> None:
    """Disarm a point, a glob, or everything.

    Rules are disarmed whatever armed them: code, tests, the environment, a file, HTTP or a store.
    """
    answer = session.target.disarm(read_pattern(pattern))
    summary = f"{pattern}: {answer.get('disarmed')} disarmed, {tables.acknowledged(answer)}"
    session.show_write(answer, Text(plain(summary)))


@in_session
def release(session: Session, pattern: PatternArgument) -> None:
    """Release the calls that rules have paused."""
    answer = session.target.release(read_pattern(pattern))
    count = answer.get("released")
    released = "released" if count is None else f"{count} released"
    summary = f"{pattern}: {released}, {tables.acknowledged(answer)}"
    session.show_write(answer, Text(plain(summary)))


@in_session
def renew(
    session: Session,
    pattern: PatternArgument,
    expires_after: Annotated[
        str | None,
        typer.Option(help="The lifetime from now; by default the rule's original lifetime."),
    ] = None,
) -> None:
    """Extend the lifetime of rules and keep their counts.

    chaospoint renew payment.charge --expires-after 30m
    """
    answer = session.target.renew(read_pattern(pattern), expires_after)
    summary = f"{pattern}: {answer.get('renewed')} renewed, {tables.acknowledged(answer)}"
    session.show_write(answer, Text(plain(summary)), tables.rules(answer.get("rules") or ()))


@in_session
def enable(session: Session) -> None:
    """Turn the master switch on."""
    answer = session.target.enable()
    session.show_write(answer, Text(f"enabled, {tables.acknowledged(answer)}"))


@in_session
def disable(
    session: Session,
    reason: Annotated[str, typer.Option(help="The reason; `status` shows it until `enable`.")] = "",
) -> None:
    """Turn the master switch off: end every fault at once.

    This disarms every rule. Nothing can be armed until `chaospoint enable`.
    """
    answer = session.target.disable(reason)
    if reached := answer.get("reached"):
        session.output.say(str(reached))
    session.show_write(answer, Text(f"disabled, {tables.acknowledged(answer)}"))
